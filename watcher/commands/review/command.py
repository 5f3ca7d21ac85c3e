"""The command `alphadrop review`."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from inference.review.doubts import Doubt
from watcher.commands.command import Command, ExitCode, require_torch
from watcher.commands.review.items import Item, Listing, list_items
from watcher.commands.review.output_flags import output_flags
from watcher.commands.terminal import counted, make_table, number_of, printable, shorten
from watcher.config.flags import add_settings_arguments
from watcher.config.load import load_settings
from watcher.config.settings import OUTPUT_SETTINGS, Group, Settings
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError
from watcher.stores import open_store
from watcher.stores.base import Store
from watcher.stores.decisions import Decision, Verdict, write_decision
from watcher.wiring import Wiring

SHOWN = 30
"""Images that are listed, and stand on the sheet, unless --limit says otherwise."""


def review(args: argparse.Namespace) -> ExitCode:
    """List the least sure cut-outs, or decide about some."""
    settings = _settings(args)
    wiring = Wiring.of(settings)
    sink = open_store(wiring.sink, wiring.sink_s3, Counts())
    source = wiring.open_source(Counts()) if args.images else None
    listing = list_items(sink)
    chosen = choose(listing.items, args)
    if args.accept or args.reject or args.redo:
        verdict = Verdict.ACCEPTED if args.accept else Verdict.REJECTED
        code = _redo(settings, chosen, source, sink) if args.redo else _decide(sink, chosen, verdict)
        print(left_alone(listing.items, chosen, args), end="", file=sys.stderr)
        return code
    shown = chosen[: args.limit]
    if shown:
        Console().print(table(shown))
    print(summary(listing, chosen, shown))
    if args.csv:
        write_csv(chosen, args.csv)
        print(f"{args.csv} has {number_of(len(chosen))}.")
    if args.sheet and shown:
        from watcher.commands.review.sheet import write_sheet

        write_sheet(shown, source, sink, args.sheet)
        print(f"{args.sheet} shows {number_of(len(shown))}.")
    return ExitCode.OK


def choose(items: Sequence[Item], args: argparse.Namespace) -> list[Item]:
    """The items that the arguments name. Raises ConfigurationError where a decision names none in particular."""
    selection = (args.pattern, args.below, args.above, args.doubt)
    if (args.accept or args.reject or args.redo) and selection == (None, None, None, None):
        raise ConfigurationError(
            "A decision needs images: name them with --pattern, by their confidence with --below or --above, or by a "
            "doubt with --doubt."
        )
    return [
        item
        for item in items
        if fnmatchcase(item.key, args.pattern or "*")
        and (args.below is None or item.review.confidence < args.below)
        and (args.above is None or item.review.confidence >= args.above)
        and (args.doubt is None or args.doubt in item.review.doubts)
        and (args.all or item.decision is None)
    ]


def left_alone(items: Sequence[Item], chosen: Sequence[Item], args: argparse.Namespace) -> str:
    """A line about images that the arguments name, too, but about which somebody has decided; else nothing."""
    everything = argparse.Namespace(**{**vars(args), "all": True})
    decided = len(choose(items, everything)) - len(chosen)
    return f"{counted(decided)} decided already, and left alone; --all includes them.\n" if decided else ""


def left_outputs(left: Mapping[str, Item]) -> str:
    """A warning about outputs of images that were made again, by key, that an earlier model has made; or nothing."""
    if not left:
        return ""
    flags = output_flags(left.values()) or "and --preset, --output and --output-name as for the daemon"
    return (
        f"{counted(len(left), 'output')} left as before: {shorten(list(left)[:3], len(left))}. --redo makes only the "
        f"outputs that the flags ask for. For all outputs of these images, add: --all {flags}\n"
    )


def table(items: Sequence[Item]) -> Table:
    """The items in their order, for people."""
    result = make_table("confidence", "image", "doubts", "model", "decision")
    for item in items:
        doubts = ", ".join(doubt.replace("_", " ") for doubt in item.review.doubts)
        words = (f"{item.review.confidence:.2f}", item.key, doubts, item.model.partition(" ")[0], item.decided)
        result.add_row(*(Text(printable(word)) for word in words))
    return result


def summary(listing: Listing, chosen: Sequence[Item], shown: Sequence[Item]) -> str:
    """What the list leaves out, in a sentence or two."""
    decided, total = sum(item.decision is not None for item in listing.items), len(listing.items)
    parts = [f"{len(shown):,} of {number_of(total)}{', the least sure first' if chosen else ': nothing to review'}."]
    if len(shown) < len(chosen) < total:
        selected = f"{len(shown):,} of {len(chosen):,} selected images, the least sure first"
        parts = [f"{selected}; there are {total:,} in all."]
    if not listing.items and not listing.unknown:
        parts = ["There are no outputs of alphadrop here: name the SINK of `once` or `run`."]
    parts += [f"{counted(decided)} decided."] if decided else []
    parts += [f"{number_of(listing.unknown, 'output')} without a confidence."] if listing.unknown else []
    return " ".join(parts)


def write_csv(items: Sequence[Item], path: Path) -> None:
    """Write all items, a line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "output", "confidence", "doubts", "model", "decision", "job"])
        for item in items:
            recorded = item.review
            numbers = (recorded.confidence_text, recorded.doubts_text)
            writer.writerow([item.key, item.output, *numbers, item.model, item.decided, item.job])


def _decide(sink: Store, items: Sequence[Item], verdict: Verdict) -> ExitCode:
    for item in items:
        write_decision(sink, Decision(item.key, item.job, verdict, item.review.confidence))
        print(printable(item.key))
    print(f"{counted(len(items))} {verdict}", file=sys.stderr)
    return ExitCode.OK


def _redo(settings: Settings, items: Sequence[Item], source: Store | None, sink: Store) -> ExitCode:
    if source is None:
        raise ConfigurationError("--redo reads the images: say where they are with --source.")
    require_torch("review --redo")
    from watcher.commands.evaluate import LeftOut
    from watcher.commands.model_files import ensure_model
    from watcher.commands.review.redo import redo
    from watcher.wiring import find_model

    ensure_model(settings)
    left_out, done, left = LeftOut(), 0, dict[str, Item]()
    for item, keys in redo(settings, find_model(settings), items, source, sink, left_out):
        print(printable(item.key))
        done += 1
        left |= dict.fromkeys(keys, item)
    left_out.print()
    print(f"made again with {settings.model}: {done} of {len(items)}", file=sys.stderr)
    print(left_outputs(left), end="", file=sys.stderr)
    return ExitCode.REJECTED if left_out else ExitCode.OK


def _settings(args: argparse.Namespace) -> Settings:
    """The settings, of which the source is optional here."""
    given = argparse.Namespace(**{name: value for name, value in vars(args).items() if name != "source"})
    given.source = args.images or "."
    return load_settings(given)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings_arguments(parser, "sink", Group.S3, *OUTPUT_SETTINGS, "devices", "threads", "model_source", "offline")
    parser.add_argument(
        "--source", dest="images", metavar="SOURCE", help="where the images are: for pictures on the sheet, and --redo"
    )
    parser.add_argument("--limit", type=int, default=SHOWN, metavar="N", help=f"images to list (default: {SHOWN})")
    parser.add_argument("--pattern", metavar="GLOB", help="only images whose key matches; * matches slashes too")
    parser.add_argument("--below", type=float, metavar="0-1", help="only images with a lower confidence")
    parser.add_argument("--above", type=float, metavar="0-1", help="only images with this confidence or a higher one")
    parser.add_argument("--doubt", choices=[doubt.value for doubt in Doubt], help="only images with this doubt")
    parser.add_argument("--all", action="store_true", help="also images about which somebody has decided")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="draw a contact sheet, a PNG or JPEG file")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all of them, not only the first, as a table")
    decision = parser.add_mutually_exclusive_group()
    decision.add_argument("--accept", action="store_true", help="record that these cut-outs are good enough")
    decision.add_argument("--reject", action="store_true", help="record that these cut-outs must not be used")
    decision.add_argument(
        "--redo",
        action="store_true",
        help="make these cut-outs again with --model, and --preset and --output of the daemon",
    )


COMMAND = Command(
    """\
Every output records how sure its matte is, and why not. This command reads that
from the sink. Decisions are kept in the sink below _alphadrop/review/; an image
about which somebody has decided is not listed again until its output is made
anew.""",
    """\
examples:
  alphadrop review cutouts
  alphadrop review cutouts --source photos --sheet review.png
  alphadrop review s3://shop/out --csv review.csv --below 0.5
  alphadrop review cutouts --accept --above 0.9
  alphadrop review cutouts --reject --pattern 'shoes/7*.jpg'
  alphadrop review cutouts --redo --source photos --model u2net --below 0.5 \\
      --output cutout --output jpeg,background=white    the flags of the daemon

Exit code:
  0  done
  2  wrong usage or configuration
  3  some images could not be made again
  4  could not finish, for example because the sink is missing or the model
     could not be fetched""",
    _add_arguments,
    review,
    "SINK",
)

"""`alphadrop reconcile`: compare source and sink once, and enqueue the images whose output is missing or outdated."""

from __future__ import annotations

import argparse
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.table import Table

from watcher.commands.command import Command, ExitCode, prepare
from watcher.commands.terminal import make_table, number_of, printable
from watcher.config.flags import add_settings_arguments
from watcher.config.settings import OUTPUT_SETTINGS, Group, Settings
from watcher.core.batches import in_batches
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import ImageRef, Mode
from watcher.ingest.enqueue import Enqueuer
from watcher.ingest.listing_comparison import OUTSTANDING, ListingComparison, OutputState
from watcher.ingest.setup import clock_tolerance
from watcher.queues import open_queue
from watcher.sources.base import Arrival, DiscoveredVia
from watcher.stores.base import Store
from watcher.wiring import Wiring

BATCH = 500
MEANINGS = {
    OutputState.DONE: "every output is there",
    OutputState.REJECTED: "an error record is there; `alphadrop retry` tries again",
    OutputState.MISSING: "an output is missing",
    OutputState.OUTDATED: "an output is of an older version, or of another model or option",
}


def reconcile(args: argparse.Namespace) -> ExitCode:
    """Compare, enqueue unless --dry-run, and print how many images were found in which state."""
    settings = prepare(args, Mode.ONCE, quiet=True)
    with ComparisonProgress(sys.stderr) as progress:
        found = compare_all(
            settings,
            deep=args.deep,
            enqueue=not args.dry_run,
            on_image=_print_image if args.dry_run else lambda ref, state: None,
            on_batch=progress.show,
        )
    Console(stderr=args.dry_run).print(states_table(found, enqueued=not args.dry_run))
    return ExitCode.OK


def _print_image(ref: ImageRef, state: OutputState) -> None:
    print(f"{state}\t{printable(ref.key)}")


def compare_all(
    settings: Settings,
    *,
    deep: bool,
    enqueue: bool,
    on_image: Callable[[ImageRef, OutputState], None],
    on_batch: Callable[[Counter[OutputState]], None],
) -> Counter[OutputState]:
    """Compare every image of the source with its output; returns how many are in which state.

    Calls `on_image` with each image whose output is missing or outdated, and `on_batch` with the counts so far. What is
    enqueued goes to the daemon that is running, or to the next one. Raises ConfigurationError or Unavailable.
    """
    _require_sink(settings, enqueue)
    wiring, counts = Wiring.of(settings), Counts()
    source, sink = wiring.open_source(counts), wiring.open_sink(counts)
    deep = deep or settings.sink_path is not None  # reading a local output costs next to nothing
    tolerance = clock_tolerance(wiring)
    comparison = ListingComparison(wiring.recipe, source, sink, wiring.names, deep=deep, clock_tolerance=tolerance)
    with ExitStack() as stack:
        accept = _open_acceptor(settings, wiring, source, sink, stack) if enqueue else lambda arrivals: None
        for batch in in_batches(comparison.outstanding(threading.Event()), BATCH):
            for ref, state in batch:
                on_image(ref, state)
            accept([Arrival(ref, DiscoveredVia.RECONCILE) for ref, _ in batch])
            on_batch(comparison.found)
    return comparison.found


def _require_sink(settings: Settings, enqueue: bool) -> None:
    if settings.sink_path is None:
        return
    if enqueue:
        settings.sink_path.mkdir(parents=True, exist_ok=True)
    elif not settings.sink_path.exists():
        raise ConfigurationError(f"SINK {settings.sink_path} does not exist yet: no image has an output.")


def _open_acceptor(
    settings: Settings, wiring: Wiring, source: Store, sink: Store, stack: ExitStack
) -> Callable[[list[Arrival]], object]:
    """A function that puts arrivals into the queue, which `stack` closes."""
    if wiring.shared:
        queue = wiring.open_queue(Counts())
        stack.callback(queue.close)
        return Enqueuer(wiring.recipe, source, sink, queue, None).accept
    settings.state_path.mkdir(parents=True, exist_ok=True)
    embedded = open_queue(wiring.queue)
    stack.callback(embedded.close)
    return Enqueuer(wiring.recipe, source, sink, embedded, embedded).accept


class ComparisonProgress:
    """How many images have been compared; prints nothing where the stream is not a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._status = Console(file=stream).status("listing ...") if stream.isatty() else None

    def show(self, found: Mapping[OutputState, int]) -> None:
        """Update the line with the counts so far."""
        if self._status:
            outstanding = sum(found.get(state, 0) for state in OUTSTANDING)
            self._status.update(f"{number_of(sum(found.values()))} compared, {outstanding:,} missing or outdated")

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()


def states_table(found: Mapping[OutputState, int], *, enqueued: bool) -> Table:
    """Images by state, and which of them are in the queue now."""
    table = make_table("state", "images", "meaning")
    for state in OutputState:
        note = "; enqueued" if enqueued and state in OUTSTANDING and found.get(state) else ""
        table.add_row(state, f"{found.get(state, 0):,}", MEANINGS[state] + note)
    return table


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    places = ("source", "sink", "state", "queue", "visibility", Group.S3, "exclude_sink", "exclude", "after")
    add_settings_arguments(parser, *places, *OUTPUT_SETTINGS)
    parser.add_argument(
        "--deep",
        action="store_true",
        help="read from every output which job made it, instead of comparing names and times",
    )
    parser.add_argument("--dry-run", action="store_true", help="list the images to be cut out, and enqueue nothing")


COMMAND = Command(
    """\
`run` and `watch` do this every --rescan seconds, and deeply after a change of
model or options. Use the command to see what is left to do, or to have it done
without waiting.""",
    """\
examples:
  alphadrop reconcile s3://shop/in s3://shop/out --dry-run    only list them
  alphadrop reconcile s3://shop/in s3://shop/out --deep
  alphadrop reconcile s3://shop/in s3://shop/out --queue sqs://alphadrop""",
    _add_arguments,
    reconcile,
    "SOURCE SINK",
)

"""`alphadrop once`: cut out every image that is there now, with a progress bar and a summary."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from inference.compose import PRESETS
from watcher.commands.command import Command, ExitCode, prepare, require_torch
from watcher.commands.model_files import ensure_model
from watcher.commands.terminal import OUTCOMES, counted, make_table, outcomes_in, shorten
from watcher.config.flags import add_settings_arguments
from watcher.config.settings import Group, Settings
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError, Unavailable
from watcher.core.jobs import PLAIN, Job, Mode, Outcome, Rejection
from watcher.core.reasons import Reason
from watcher.queues.base import QueueStats
from watcher.sources.source_filter import READ
from watcher.telemetry.run_summary import EXAMPLES, RunSummary
from watcher.wiring import Wiring


def once(args: argparse.Namespace) -> ExitCode:
    """Work until every image is cut out or rejected, and print what became of them."""
    from watcher.supervisor import Supervisor  # with the web server, which other commands do not need

    settings = prepare(args, Mode.ONCE, quiet=True)
    if settings.queue:
        raise ConfigurationError(
            "`once` uses a queue of its own: leave --queue out, or use `alphadrop work` to empty a message queue."
        )
    require_torch(Mode.ONCE)
    ensure_model(settings, *filter(None, (settings.model, settings.strong)))
    with Progress(sys.stderr) as progress:
        supervisor = Supervisor(settings, progress.show, mode=Mode.ONCE)
        finished = supervisor.run()
    rejected = supervisor.rejected()
    if supervisor.undelivered:
        Console(stderr=True).print(
            f"alphadrop: {counted(supervisor.undelivered, 'notification')} not delivered yet. The next `once` or `run` "
            "with the same source, sink and --state delivers what is left; the log says what the receiver answers.",
            markup=False,
        )
    skipped = supervisor.run_summary.unreadable_folders
    if finished or supervisor.run_summary.outcomes or rejected:
        outcomes = outcomes_in(settings)
        Console().print(summary_table(supervisor.run_summary, rejected, lambda: _has_images(settings), outcomes))
    if not finished:
        why = supervisor.why or "It was stopped; the same command goes on from there."
        Console(stderr=True).print(f"alphadrop: could not finish. {why}", markup=False)
        return ExitCode.UNFINISHED
    if supervisor.undelivered:
        return ExitCode.UNFINISHED
    return ExitCode.REJECTED if rejected or skipped else ExitCode.OK


class Progress:
    """The progress bar; prints nothing where the stream is not a terminal."""

    def __init__(self, stream: TextIO) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            TimeRemainingColumn(),
        )
        self._bar = Bar(*columns, console=Console(file=stream), disable=not stream.isatty(), transient=True)
        self._task = self._bar.add_task("starting", total=None, pace="")
        self.total = 0
        """Images that the run is known to have."""

    def show(self, run: RunSummary, stats: QueueStats) -> None:
        """Update the bar with what is finished and what is left in the queue."""
        finished = run.outcomes.total()
        task = self._bar.tasks[0]
        # An image leaves the queue shortly before its outcome is counted: the total must not fall in between.
        self.total = max(self.total, finished + stats.open)
        self._bar.update(
            self._task,
            completed=finished,
            total=self.total,
            description="cutting out" if finished else "warming up",
            pace=f"{task.speed * 3600:,.0f} an hour" if task.speed else "",
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


def summary_table(
    run: RunSummary,
    rejected: Sequence[tuple[Job, Rejection]],
    has_images: Callable[[], bool],
    outcomes: Mapping[Outcome, str] = OUTCOMES,
) -> Table:
    """Images of this run by outcome, and every rejected image of the source by reason.

    `has_images` is asked whether the source has any image only if there is nothing else to show. `outcomes` says what
    each outcome means.
    """
    table = make_table("outcome", "images", "meaning")
    for outcome in Outcome:
        count = len(rejected) if outcome is Outcome.REJECTED else run.outcomes[outcome]
        if count:
            table.add_row(outcome, f"{count:,}", outcomes[outcome])
        if outcome is Outcome.WRITTEN and run.unsure:
            table.add_row(
                "  unsure", f"{run.unsure:,}", "more likely bad than good; `alphadrop review SINK` lists them"
            )
        if outcome is Outcome.WRITTEN and run.empty:
            names = shorten(run.first_empty, run.empty)
            table.add_row("  empty", f"{run.empty:,}", Text(f"show hardly anything: {names}"))
    reasons: dict[str, list[Job]] = {}
    for job, rejection in rejected:
        reasons.setdefault(rejection.reason, []).append(job)
    for reason, jobs in sorted(reasons.items()):
        keys = [job.ref.key for job in jobs[:EXAMPLES]]
        table.add_row(f"  {reason}", f"{len(jobs):,}", Text(shorten(keys, len(jobs))))
    if run.unreadable_folders:
        remedy = "folders were skipped; let this user read them, the log names them"
        table.add_row(Reason.UNREADABLE.value, f"{run.unreadable_folders:,}", remedy)
    if not table.row_count and has_images():
        table.add_row("nothing to do", "0", "every image of the source has its output")
    elif not table.row_count:
        table.add_row("no images", "0", f"no file in the source has one of these extensions: {', '.join(sorted(READ))}")
    return table


def _has_images(settings: Settings) -> bool:
    """Whether the source holds any image, as far as it can be listed."""
    wiring = Wiring.of(settings)
    try:
        return any(wiring.names.accepts(ref.key) for ref in wiring.open_source(Counts()).list())
    except Unavailable:
        return True


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    groups = [group for group in Group if group not in (Group.OPERATION, Group.PAGE)]
    add_settings_arguments(parser, *groups, "drain", "log_format", "log_level")


PRESETS_TEXT = textwrap.fill(f"Presets: {', '.join((PLAIN, *PRESETS))}.", 79)
COMMAND = Command(
    """\
Each image becomes a PNG with an alpha channel, at the same path below the sink.
--preset and --output ask for other outputs instead, as many as you like from
one run of the model. What is already there is not made again, so the same
command continues where a stopped one left off.""",
    f"""\
examples:
  alphadrop once photos cutouts
  alphadrop once s3://shop/in s3://shop/out
  alphadrop once photos out --preset amazon-main,shopify
                                          a folder for each marketplace
  alphadrop once photos out --preset cutout --output webp,quality=85,trim
                                          the PNG, and a trimmed WebP
  alphadrop once photos cutouts --model mine.onnx --model-contract modnet
  alphadrop once photos cutouts --output-name '{{dir}}{{name}}.png'
                                          x.jpg and x.webp get an output each

{PRESETS_TEXT}
docs/outputs.md shows them, and the fields that --output can set.

Exit code:
  0  every image has its outputs
  2  wrong usage or configuration
  3  finished, but some images were rejected or folders could not be read;
     the summary says why
  4  could not finish, or notifications are not delivered""",
    _add_arguments,
    once,
    "SOURCE SINK",
)

"""What a person at a terminal sees: progress, tables."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from inference.errors import ModelError
from inference.models.catalogue import CATALOGUE, resolve
from watcher.doctor import Check
from watcher.queues.base import QueueStats
from watcher.tally import Tally
from watcher.work import Job, Outcome, Rejection

MEANING = {
    Outcome.WRITTEN: "cut out",
    Outcome.ALREADY_DONE: "the output was there already",
    Outcome.STALE: "replaced meanwhile; the new version counts",
    Outcome.GONE: "deleted meanwhile",
    Outcome.REJECTED: "see _failed/ in the sink; `alphadrop retry` tries again",
}


class Progress:
    """The progress bar of `once`; silent where nobody looks on."""

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

    def show(self, tally: Tally, stats: QueueStats) -> None:
        """What has happened so far, and what is left."""
        done = tally.outcomes.total()
        task = self._bar.tasks[0]
        self._bar.update(
            self._task,
            completed=done,
            total=done + stats.open,
            description="cutting out" if done else "warming up",
            pace=f"{task.speed * 3600:,.0f} an hour" if task.speed else "",
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


def summary(tally: Tally, rejected: Sequence[tuple[Job, Rejection]]) -> Table:
    """What became of the images in this run, and every image of the source that stands rejected."""
    table = _table("outcome", "images", "meaning")
    for outcome in Outcome:
        count = len(rejected) if outcome is Outcome.REJECTED else tally.outcomes[outcome]
        if count:
            table.add_row(outcome, f"{count:,}", MEANING[outcome])
    reasons: dict[str, list[Job]] = {}
    for job, rejection in rejected:
        reasons.setdefault(rejection.reason, []).append(job)
    for reason, jobs in sorted(reasons.items()):
        table.add_row(f"  {reason}", f"{len(jobs):,}", Text(_some(jobs)))
    if not table.row_count:
        table.add_row("nothing to do", "0", "every image of the source has its output")
    return table


def queue_table(stats: QueueStats, rejected: Sequence[tuple[Job, Rejection]]) -> Table:
    """The queue now, with the newest rejections."""
    table = _table("state", "images", "")
    table.add_row("pending", f"{stats.pending:,}", f"{stats.pending_bytes / 1e6:,.1f} MB")
    if stats.suspects:
        table.add_row("  suspects", f"{stats.suspects:,}", "in hand when a worker died; replayed one at a time")
    table.add_row("in flight", f"{stats.in_flight:,}", "")
    for outcome, count in sorted(stats.ended.items()):
        table.add_row(outcome, f"{count:,}", MEANING.get(Outcome(outcome), ""))
    for job, rejection in rejected:
        table.add_row("", "", Text(f"{job.ref.key}: {rejection.reason}, {rejection.detail}"))
    return table


def checks_table(checks: Sequence[Check]) -> Table:
    """The doctor's findings."""
    table = _table("", "what", "finding")
    for check in checks:
        table.add_row("[green]OK[/]" if check.ok else "[red]TO DO[/]", check.what, Text(check.finding))
    return table


def models_table() -> Table:
    """Every named model and the state of its weights."""
    table = _table("model", "weights", "about")
    for size in CATALOGUE:
        try:
            entry = resolve(size.name)
            found = f"shipped, canvas {entry.canvas}, sha256 {entry.digest[:12]}"
        except ModelError as error:
            found = str(error)
        table.add_row(size.name, Text(found), f"{size.about} ({size.megabytes} MB at 32 bits)")
    table.add_row("PATH", "a .safetensors file that `python -m inference.training export` wrote", "your own training")
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column == "images" else "left", overflow="fold")
    return table


def _some(jobs: Sequence[Job], most: int = 3) -> str:
    names = ", ".join(job.ref.key for job in jobs[:most])
    return names if len(jobs) <= most else f"{names} and {len(jobs) - most} more"

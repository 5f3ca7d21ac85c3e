"""What a person at a terminal sees: progress, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from inference.errors import ModelError
from inference.models.registry import CATALOGUE, known_files, resolve
from inference.models.thirdparty.contracts import CONTRACTS, REMBG
from watcher.commands.doctor_remote import Check
from watcher.core.jobs import Job, Outcome, Rejection
from watcher.ingest.comparison import UNDONE, Finding
from watcher.queues.base import QueueStats
from watcher.telemetry.run_summary import EXAMPLES, RunSummary

MEANING = {
    Outcome.WRITTEN: "cut out",
    Outcome.ALREADY_DONE: "the output was there already",
    Outcome.STALE: "replaced meanwhile; the new version counts",
    Outcome.GONE: "deleted meanwhile",
    Outcome.REJECTED: "see _failed/ in the sink; `alphadrop retry` tries again",
}


def printable(text: str) -> str:
    """Text from outside, such as a key, that can neither steer a terminal nor begin a line of its own."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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

    def show(self, run: RunSummary, stats: QueueStats) -> None:
        """What has happened so far, and what is left."""
        done = run.outcomes.total()
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


class Search:
    """How far a comparison has come; silent where nobody looks on."""

    def __init__(self, stream: TextIO) -> None:
        self._status = Console(file=stream).status("listing ...") if stream.isatty() else None

    def show(self, found: Mapping[Finding, int]) -> None:
        """What has been found so far."""
        if self._status:
            undone = sum(found.get(finding, 0) for finding in UNDONE)
            self._status.update(f"{sum(found.values()):,} images compared, {undone:,} to be done")

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()


def summary(run: RunSummary, rejected: Sequence[tuple[Job, Rejection]]) -> Table:
    """What became of the images in this run, and every image of the source that stands rejected."""
    table = _table("outcome", "images", "meaning")
    for outcome in Outcome:
        count = len(rejected) if outcome is Outcome.REJECTED else run.outcomes[outcome]
        if count:
            table.add_row(outcome, f"{count:,}", MEANING[outcome])
        if outcome is Outcome.WRITTEN and run.empty:
            names = _some(run.first_empty, run.empty)
            table.add_row("  empty", f"{run.empty:,}", Text(f"show hardly anything: {names}"))
    reasons: dict[str, list[Job]] = {}
    for job, rejection in rejected:
        reasons.setdefault(rejection.reason, []).append(job)
    for reason, jobs in sorted(reasons.items()):
        keys = [job.ref.key for job in jobs[:EXAMPLES]]
        table.add_row(f"  {reason}", f"{len(jobs):,}", Text(_some(keys, len(jobs))))
    if not table.row_count:
        table.add_row("nothing to do", "0", "every image of the source has its output")
    return table


def queue_table(stats: QueueStats, rejected: Sequence[tuple[str, Rejection]]) -> Table:
    """The queue now, with the newest rejections."""
    table = _table("state", "images", "")
    table.add_row(
        "pending", f"{stats.pending:,}", f"{stats.pending_bytes / 1e6:,.1f} MB" if stats.pending_bytes else ""
    )
    if stats.suspects:
        table.add_row("  suspects", f"{stats.suspects:,}", "in hand when a worker died; replayed one at a time")
    table.add_row("in flight", f"{stats.in_flight:,}", "")
    for outcome, count in sorted(stats.ended.items()):
        table.add_row(outcome, f"{count:,}", MEANING.get(Outcome(outcome), ""))
    for key, rejection in rejected:
        table.add_row("", "", Text(printable(f"{key}: {rejection.reason}, {rejection.detail}")))
    return table


FOUND = {
    Finding.DONE: "the output is there",
    Finding.REJECTED: "an error record is there; `alphadrop retry` tries again",
    Finding.MISSING: "there is no output",
    Finding.OUTDATED: "the output is of an older version, or of another model or option",
}


def findings_table(found: Mapping[Finding, int], *, enqueued: bool) -> Table:
    """What a comparison of source and sink has found."""
    table = _table("finding", "images", "meaning")
    for finding in Finding:
        what_now = "; enqueued" if enqueued and finding in UNDONE and found.get(finding) else ""
        table.add_row(finding, f"{found.get(finding, 0):,}", FOUND[finding] + what_now)
    return table


def checks_table(checks: Sequence[Check]) -> Table:
    """The doctor's findings."""
    table = _table("", "what", "finding")
    for check in checks:
        table.add_row("[green]OK[/]" if check.ok else "[red]TO DO[/]", check.what, Text(check.finding))
    return table


def models_table(folder: Path) -> Table:
    """Every named model and the state of its weights, those of rembg's in `folder` among them, and every contract."""
    table = _table("model", "weights", "about")
    for size in CATALOGUE:
        try:
            entry = resolve(size.name)
            found = f"shipped, canvas {entry.canvas}, sha256 {entry.digest[:12]}"
        except ModelError as error:
            found = str(error)
        table.add_row(size.name, Text(found), f"{size.about} ({size.megabytes} MB at 32 bits)")
    files = known_files(folder)
    for name, path in files.items():
        table.add_row(name, Text(_found(path, REMBG[name])), Text(f"rembg's, {path}"))
    if not files:
        table.add_row("rembg's", Text(f"none in {folder}"), ", ".join(REMBG))
    table.add_row("PATH", ".safetensors", "your own training: `python -m inference.training export` wrote it")
    for contract in CONTRACTS.values():
        table.add_row("PATH", f".onnx, .pt2, .pt with --model-contract {contract.name}", contract.about)
    return table


def _found(path: Path, contract: str) -> str:
    try:
        entry = resolve(str(path), contract=contract)
    except ModelError as error:
        return str(error)
    return f"{entry.contract}, sha256 {entry.digest[:12]}" + (f"; {entry.limits}" if entry.limits else "")


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column == "images" else "left", overflow="fold")
    return table


def _some(keys: Sequence[str], count: int) -> str:
    """The first of `count` keys, and how many more there are."""
    names = printable(", ".join(keys))
    return names if count <= len(keys) else f"{names} and {count - len(keys):,} more"

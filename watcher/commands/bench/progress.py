"""The progress bar of `alphadrop bench`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class ProgressDisplay:
    """A progress bar with one step per section; prints nothing unless the stream is a terminal."""

    def __init__(self, stream: TextIO, sections: Sequence[str]) -> None:
        columns = (TextColumn("{task.fields[section]:>9}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        console = Console(file=stream)
        self._bar = Progress(
            *columns,
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=console,
            disable=not stream.isatty(),
        )
        self._task = self._bar.add_task("starting", total=len(sections), completed=-1, section="")

    def begin(self, section: str) -> None:
        """Advance to the next section."""
        self._bar.update(self._task, advance=1, section=section, description="")

    def show(self, text: str) -> None:
        """Show which measurement of the section is running."""
        self._bar.update(self._task, description=text)

    def __enter__(self) -> ProgressDisplay:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

"""The report: plain values, written as JSON (which they are checked against) and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from watcher.commands.bench.stats import Spread, number

Cell = int | float | str | Spread | None
"""None: it does not apply here."""


class _Value(BaseModel):
    # Infinity and NaN have no JSON: a report that holds one is wrong, and fails here.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Table(_Value):
    """Rows under named columns."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    @model_validator(mode="after")
    def _is_rectangular(self) -> Table:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.name}: {len(row)} cells under {len(self.columns)} columns: {row}")
        return self


class Series(_Value):
    """One line, or the bars of one colour."""

    label: str
    values: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()

    @classmethod
    def of(cls, label: str, found: Sequence[Spread]) -> Series:
        """Medians, with how far they reach."""
        return cls(
            label=label,
            values=tuple(one.median for one in found),
            low=tuple(one.low for one in found),
            high=tuple(one.high for one in found),
        )


class Chart(_Value):
    """What a chart shows; `charts.draw` makes the picture."""

    name: str
    title: str
    kind: Literal["line", "bar", "stack"]
    """`stack`: horizontal bars, the series side by side in each; `bar`: vertical ones; `line`: over numbers."""
    x: tuple[str, ...]
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    ideal: Series | None = None
    """Drawn dashed: what would be perfect."""
    log: bool = False

    @property
    def file(self) -> str:
        """The picture's name in the report's folder."""
        return f"{self.name}.png"


class Section(_Value):
    """One thing that was measured."""

    key: str
    title: str
    text: tuple[str, ...] = ()
    """Paragraphs: what was measured and how."""
    findings: tuple[str, ...] = ()
    """What came out, a sentence each."""
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """What it took to measure."""


class Machine(_Value):
    """What was measured on."""

    cpu: str
    cores: float
    """Those that this process may use: affinity and the cgroup's quota, whichever is less."""
    quota: str
    """The quota in words."""
    memory_gib: float
    gpus: tuple[str, ...]
    driver: str
    system: str
    versions: dict[str, str]


class Report(_Value):
    """All of it."""

    schema_: Literal["alphadrop.bench/1"] = "alphadrop.bench/1"
    title: str
    started: str
    """UTC, ISO 8601."""
    seconds: float
    options: dict[str, str]
    machine: Machine
    others: float | None = None
    """Cores that other processes of this machine kept busy meanwhile; None where the system does not say."""
    sections: tuple[Section, ...]

    def section(self, key: str) -> Section:
        """The section of that key. Raises KeyError."""
        for section in self.sections:
            if section.key == key:
                return section
        raise KeyError(key)


def write(report: Report, folder: Path) -> None:
    """`report.json` and `report.md`; the charts are `charts.draw_all`'s."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(report.model_dump_json(indent=1) + "\n", "utf-8")
    (folder / "report.md").write_text("\n".join(markdown(report)), "utf-8")


def read(folder: Path) -> Report:
    """What `write` has written. Raises pydantic's ValidationError for anything else."""
    return Report.model_validate_json((folder / "report.json").read_text("utf-8"))


def markdown(report: Report) -> Iterator[str]:
    """The lines of the page."""
    yield from (f"# {report.title}", "", *_head(report), "")
    for section in report.sections:
        yield from _section(section)
    took = tuple((section.title, section.seconds, section.cpu_seconds) for section in report.sections)
    yield from ("## What it took", "", *_table(("section", "seconds", "CPU seconds"), took), "")


def _head(report: Report) -> Iterator[str]:
    machine = report.machine
    yield from _list(
        (
            ("measured", f"{report.started}, {report.seconds:.0f} s in all"),
            ("options", ", ".join(f"{name} {value}" for name, value in report.options.items())),
            ("processor", f"{machine.cpu}; {machine.cores:g} cores allowed ({machine.quota})"),
            ("memory", f"{machine.memory_gib:.1f} GiB"),
            ("GPU", ", ".join(machine.gpus) or "none"),
            ("driver", machine.driver or "none"),
            ("system", machine.system),
            ("versions", ", ".join(f"{name} {version}" for name, version in machine.versions.items())),
        ),
    )
    if report.others is None:
        return
    shared = report.others > 0.05 * machine.cores
    warning = " **The machine was shared: trust ratios, not seconds.**" if shared else ""
    yield from ("", f"Other processes kept {report.others:.2f} cores busy meanwhile.{warning}")


def _list(pairs: tuple[tuple[str, str], ...]) -> Iterator[str]:
    yield from ("| | |", "|---|---|")
    yield from (f"| {name} | {show(text)} |" for name, text in pairs)


def _section(section: Section) -> Iterator[str]:
    yield from (f"## {section.title}", "")
    for paragraph in section.text:
        yield from (paragraph, "")
    for table in section.tables:
        yield from (f"**{table.title}**", "", *_table(table.columns, table.rows), "")
        if table.note:
            yield from (table.note, "")
    if section.findings:
        yield from (*(f"- {finding}" for finding in section.findings), "")
    for chart in section.charts:
        yield from (f"![{chart.title}]({chart.file})", "")


def _table(columns: tuple[str, ...], rows: tuple[tuple[Cell, ...], ...]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'|'.join('---' if index == 0 else '---:' for index in range(len(columns)))}|"
    for row in rows:
        yield f"| {' | '.join(map(show, row))} |"


def show(cell: Cell) -> str:
    """A cell as people read it."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return number(cell)
    return f"{cell:,}" if isinstance(cell, int) else str(cell).replace("|", "\\|")

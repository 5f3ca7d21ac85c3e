"""The report as a pydantic model, written as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from watcher.commands.bench.stats import Spread, number

Cell = int | float | str | Spread | None
"""None where a value does not apply."""


class _Value(BaseModel):
    # JSON has no infinity and no NaN, so a value like that is refused when the report is made.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Table(_Value):
    """Rows of cells under named columns."""

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
    """One line of a chart, or the bars of one colour."""

    label: str
    values: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()

    @classmethod
    def of(cls, label: str, spreads: Sequence[Spread]) -> Series:
        """A series of medians with lowest and highest values."""
        return cls(
            label=label,
            values=tuple(one.median for one in spreads),
            low=tuple(one.low for one in spreads),
            high=tuple(one.high for one in spreads),
        )


class Chart(_Value):
    """The data of a chart; `charts.draw` draws it."""

    name: str
    title: str
    kind: Literal["line", "bar", "stack"]
    """`stack` is horizontal bars, each made of all series; `bar` is vertical bars; `line` is lines over numbers."""
    x: tuple[str, ...]
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    ideal: Series | None = None
    """The optimum, drawn as a dashed line."""
    log: bool = False

    @property
    def file(self) -> str:
        """Name of the PNG file in the report's folder."""
        return f"{self.name}.png"


class Section(_Value):
    """The results of one measurement."""

    key: str
    title: str
    text: tuple[str, ...] = ()
    """Paragraphs: what was measured and how."""
    findings: tuple[str, ...] = ()
    """Results, one sentence each."""
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """CPU seconds that the measurement took."""


class Machine(_Value):
    """The machine that was measured on."""

    cpu: str
    cores: float
    """Cores that this process may use: its affinity or the cgroup's quota, whichever is lower."""
    quota: str
    """Why it may use that many, as text."""
    memory_gib: float
    gpus: tuple[str, ...]
    driver: str
    system: str
    versions: dict[str, str]


class Report(_Value):
    """A whole report, the schema of report.json."""

    schema_: Literal["alphadrop.bench/1"] = "alphadrop.bench/1"
    title: str
    started: str
    """UTC, ISO 8601."""
    seconds: float
    options: dict[str, str]
    machine: Machine
    others: float | None = None
    """Mean number of cores that other processes kept busy meanwhile; None where it is not known."""
    sections: tuple[Section, ...]

    def section(self, key: str) -> Section:
        """The section with this key. Raises KeyError."""
        for section in self.sections:
            if section.key == key:
                return section
        raise KeyError(key)


def write(report: Report, folder: Path) -> None:
    """Write `report.json` and `report.md`; `charts.draw_all` draws the charts."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(report.model_dump_json(indent=1) + "\n", "utf-8")
    (folder / "report.md").write_text("\n".join(markdown(report)), "utf-8")


def read(folder: Path) -> Report:
    """Read a report that `write` has written. Raises pydantic's ValidationError for any other content."""
    return Report.model_validate_json((folder / "report.json").read_text("utf-8"))


def markdown(report: Report) -> Iterator[str]:
    """Lines of the report as Markdown."""
    yield from (f"# {report.title}", "", *_head(report), "")
    for section in report.sections:
        yield from _section(section)
    durations = tuple((section.title, section.seconds, section.cpu_seconds) for section in report.sections)
    yield from ("## Duration of the measurements", "", *_table(("section", "seconds", "CPU seconds"), durations), "")


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
    warning = " **The machine was shared: trust ratios, not absolute times.**" if shared else ""
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
    """Format a cell for readers."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return number(cell)
    return f"{cell:,}" if isinstance(cell, int) else str(cell).replace("|", "\\|")

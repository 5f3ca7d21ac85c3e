"""The report as JSON, as Markdown and as charts."""

from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

from watcher.commands.bench.charts import draw
from watcher.commands.bench.report import (
    Cell,
    Chart,
    Machine,
    Report,
    Section,
    Series,
    Table,
    markdown,
    read,
    show,
    write,
)
from watcher.commands.bench.stats import spread

MACHINE = Machine(
    cpu="Somebody's processor",
    cores=2,
    quota="no quota",
    memory_gib=15.5,
    gpus=(),
    driver="",
    system="Linux",
    versions={"Python": "3.11"},
)
TABLE = Table(name="t", title="Times", columns=("size", "ms"), rows=(("a|b", spread([1.0, 2.0, 4.0])), ("c", None)))


def report(*sections: Section, others: float | None = 0.0) -> Report:
    return Report(
        title="bench",
        started="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        options={"workload": "tiny"},
        machine=MACHINE,
        others=others,
        sections=sections,
    )


def chart(kind: str, **more: object) -> Chart:
    series = (
        Series(label="ours", values=(1.0, None, 3.0), low=(0.5, None, 2.0), high=(1.5, None, 3.5)),
        Series(label="theirs", values=(2.0, 2.0, 2.0)),
    )
    return Chart.model_validate(
        {
            "name": kind,
            "title": "A",
            "kind": kind,
            "x": ("a", "b", "c"),
            "x_label": "x",
            "y_label": "y",
            "series": series,
        }
        | more
    )


def test_what_is_written_reads_back_the_same(tmp_path: Path):
    written = report(Section(key="s", title="S", tables=(TABLE,), charts=(chart("line"),)))
    write(written, tmp_path / "out")
    assert read(tmp_path / "out") == written


def test_a_report_of_another_shape_is_refused(tmp_path: Path):
    write(report(), tmp_path)
    path = tmp_path / "report.json"
    path.write_text(path.read_text().replace('"cores"', '"kernels"'))
    with pytest.raises(ValidationError, match="kernels"):
        read(tmp_path)


def test_a_row_that_is_too_short_is_refused():
    with pytest.raises(ValidationError, match="1 cells under 2 columns"):
        Table(name="t", title="t", columns=("a", "b"), rows=((1,),))


def test_a_value_that_is_not_finite_is_refused():
    with pytest.raises(ValidationError, match="finite"):
        Series(label="a", values=(float("nan"),))


def test_the_page_holds_machine_tables_findings_and_charts():
    section = Section(key="s", title="S", text=("How.",), findings=("So.",), tables=(TABLE,), charts=(chart("bar"),))
    page = "\n".join(markdown(report(section)))
    for line in (
        "| processor | Somebody's processor; 2 cores allowed (no quota) |",
        "## S",
        "| size | ms |",
        "|---|---:|",
        "| a\\|b | 2 (1 to 4) |",
        "| c | - |",
        "- So.",
        "![A](bar.png)",
    ):
        assert line in page.splitlines()


def test_a_machine_that_others_used_gets_a_warning():
    assert "trust ratios" in "\n".join(markdown(report(others=0.5)))
    assert "trust ratios" not in "\n".join(markdown(report(others=0.05)))


@pytest.mark.parametrize(
    ("cell", "text"), [(None, "-"), (12345, "12,345"), (1.23456, "1.23"), ("yes", "yes"), (spread([2.0]), "2")]
)
def test_cells_are_formatted_for_readers(cell: Cell, text: str):
    assert show(cell) == text


@pytest.mark.parametrize("kind", ["line", "bar", "stack"])
def test_every_kind_of_chart_is_drawn(kind: str, tmp_path: Path):
    ideal = Series(label="best", values=(1.0, 2.0, 3.0))
    path = draw(chart(kind, ideal=ideal), tmp_path)
    with Image.open(path) as image:
        assert image.width > 900
        colours = image.convert("RGB").getcolors(1 << 20)
    assert colours is not None and {(0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)} <= {colour for _, colour in colours}

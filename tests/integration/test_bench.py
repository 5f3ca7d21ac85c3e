"""`alphadrop bench` with a tiny workload: a whole report with every section and row, and a comparison with a peer."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from watcher.commands.bench.engine.stage_times import STAGES
from watcher.commands.bench.peers.pipeline_comparison import PipelineComparison, compare_pipelines
from watcher.commands.bench.peers.pipelines import OURS, alphadrop, sequential_script
from watcher.commands.bench.peers.section import peers_section
from watcher.commands.bench.photos import draw_photos, fill_folder
from watcher.commands.bench.png_filters import CHOICES, WINDOWS
from watcher.commands.bench.report import Report, read
from watcher.commands.bench.runner import BenchOptions, bench
from watcher.commands.bench.sections import SECTIONS
from watcher.commands.bench.sections.encoders import ENCODERS
from watcher.commands.bench.sections.outputs import KINDS
from watcher.commands.bench.workload import QUICK

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TINY = replace(
    QUICK,
    name="tiny",
    sizes=((80, 80), (120, 120), (160, 90)),
    hd=(160, 90),
    square=(80, 80),
    distinct=2,
    repeats=2,
    folder_images=8,
    daemon_images=16,
    batches=(1, 2, 4),
    batch_images=16,
    stage_sizes=((96, 54), (160, 90)),
    canvases=(64, 128),
    cutouts=3,
    cutout_sizes=((96, 64), (64, 96)),
    sweep_batches=(1, 2),
    process_images=4,
    simulated=(1, 2),
    simulated_images=12,
    simulated_delay=0.02,
    overhead_jobs=20,
    api_clients=(1, 2),
    api_requests=2,
    api_backlog=8,
)


def test_a_report_of_all_sections_is_complete(tmp_path: Path) -> None:
    """One test, because making the report takes longest; each check is a function below."""
    # Given a device with memory for batches of three
    folder = tmp_path / "report"
    # When all sections are measured
    bench(BenchOptions(TINY, folder, devices="cpu", model="fake:oom_above=3,delay=0.01"))
    # Then
    report = read(folder)
    every_section_is_there_with_a_page_and_its_charts(folder, report)
    the_machine_is_described(report)
    every_row_is_there(report)
    the_articles_figures_are_beside_ours(report)
    a_batch_that_does_not_fit_into_memory_is_a_row_that_says_so(report)
    no_device_exceeds_its_maximum(report)


def rows(report: Report, section: str, table: str) -> list[str]:
    """First cell of every row of a table."""
    [found] = [one for one in report.section(section).tables if one.name == table]
    return [str(row[0]) for row in found.rows]


def every_section_is_there_with_a_page_and_its_charts(folder: Path, report: Report) -> None:
    assert [section.key for section in report.sections] == list(SECTIONS)
    page = (folder / "report.md").read_text("utf-8")
    charts = {chart.file for section in report.sections for chart in section.charts}
    assert {path.name for path in folder.iterdir()} == {"report.md", "report.json", *charts}
    for chart in charts:
        assert f"({chart})" in page
        with Image.open(folder / chart) as image:
            image.verify()
    assert json.loads((folder / "report.json").read_text("utf-8"))["schema_"] == "alphadrop.bench/1"


def the_machine_is_described(report: Report) -> None:
    machine = report.machine
    assert machine.cpu and machine.memory_gib > 0 and machine.cores > 0
    assert {"Python", "torch", "pillow", "isal"} <= machine.versions.keys()
    assert report.options["workload"] == "tiny"


ROWS = [
    ("single", "table1", ["80x80", "120x120", "160x90"]),
    ("single", "table2", ["80x80", "120x120", "160x90"]),
    ("batches", "table4", ["1", "2", "4"]),
    ("stages", "stages", [*STAGES, "all"]),
    ("stages", "sizes", ["96x54", "160x90"]),
    ("stages", "kernels", [*STAGES, "all"]),
    ("daemon", "ceiling", [*STAGES, "all"]),
    ("daemon", "near", ["cpu"]),
    ("daemon", "overhead", ["queue", "metrics", "together"]),
    ("api", "api", ["1", "2", "1", "2"]),
    ("sweeps", "batch-sweep", ["1", "2"]),
    ("sweeps", "canvas-sweep", ["64", "128"]),
    ("outputs", "outputs", list(KINDS)),
    ("encoders", "encoders", list(ENCODERS)),
    ("encoders", "filters", [choice for choice in CHOICES for _ in WINDOWS]),
    ("simulated", "simulated", ["1", "2"]),
    ("roofline", "roofline", ["coarse", "refine", "decontaminate"]),
]
"""Section, table, and the first cell of each row."""


def every_row_is_there(report: Report) -> None:
    for key, table, wanted in ROWS:
        assert sorted(rows(report, key, table)) == sorted(wanted), (key, table)


def the_articles_figures_are_beside_ours(report: Report) -> None:
    [table] = report.section("batches").tables
    assert [row[-2:] for row in table.rows] == [(0.70, 0.72), (0.75, 0.80), (0.82, 0.90)]
    assert rows(report, "folder", "table3")[:3] == ["seconds", "images a second", "gain"]


def a_batch_that_does_not_fit_into_memory_is_a_row_that_says_so(report: Report) -> None:
    [table] = report.section("batches").tables
    assert [str(row[1]).startswith("out of memory") for row in table.rows] == [False, False, True]


def no_device_exceeds_its_maximum(report: Report) -> None:
    [table] = report.section("simulated").tables
    for devices, rate, *_ in table.rows:
        assert isinstance(devices, int) and isinstance(rate, float)
        # Images are timed when they are written. On a busy machine, those that wait behind the device are so at once.
        in_a_burst = 1 + 13 / TINY.simulated_images
        assert 0 < rate <= 1.05 * in_a_burst * devices / TINY.simulated_delay


def test_the_plain_script_makes_the_same_cut_outs_as_the_daemon(tmp_path: Path) -> None:
    # Given two pipelines with the same network
    fill_folder(draw_photos(tmp_path / "photos", (320, 320), 3), tmp_path / "source", 4)
    work = tmp_path / "work"
    work.mkdir()
    pipelines = [alphadrop("nano", 320), sequential_script("nano")]
    core = min(os.sched_getaffinity(0))
    # When both have run on one core
    results, alphas = compare_pipelines(
        PipelineComparison(pipelines, tmp_path / "source", work, [(core,)], 1, lambda text: None)
    )
    # Then each has its times, and nearly the same alpha
    assert all(result.wall[0] > 0 and result.cpu[0] > 0 for result in results.values())
    assert alphas[OURS] == 0 and 0 < alphas["sequential script"] < 0.08
    # And on one core no pipeline has had more CPU time than time
    assert all(result.cpu[0] <= 1.1 * result.wall[0] + 20 for result in results.values())
    assert [row[0] for row in peers_section(results, alphas, "4 pictures", "").tables[0].rows] == [
        OURS,
        "sequential script",
    ]

"""The comparison with other pipelines, and its section of the report."""

from pathlib import Path

import pytest
from PIL import Image

from tests.equipment.pictures import place
from watcher.commands.bench.peers.pipeline_comparison import PipelineResult, Results, add_run, alpha_difference
from watcher.commands.bench.peers.pipelines import OURS, rembg
from watcher.commands.bench.peers.section import PeerOptions, peers_section, prepare_pictures
from watcher.commands.bench.process_monitor import CommandFailed, CommandRecord
from watcher.commands.bench.report import Section


def written(times: list[float]) -> CommandRecord:
    events = [(1.0, {"event": "worker_ready"})]
    events += [(at, {"event": "image", "outcome": "written"}) for at in times]
    return CommandRecord(events=events, samples=[(0.0, 5.0, 0.0), (1.0, 6.0, 0.0), (3.0, 9.0, 0.0), (4.0, 20.0, 0.0)])


def test_start_up_and_shutdown_do_not_count():
    result = PipelineResult()
    add_run(written([2.0, 3.0]), 2, result)
    assert (result.wall, result.cpu) == ([1000.0], [1500.0])


def test_a_pipeline_that_misses_an_image_has_failed():
    with pytest.raises(CommandFailed, match="1 of 2 images"):
        add_run(written([2.0]), 2, PipelineResult())


def test_the_difference_of_alpha_is_the_mean_over_pixels(tmp_path: Path):
    for name, alpha in (("a", 255), ("b", 204)):
        (tmp_path / name).mkdir()
        Image.new("RGBA", (8, 4), (9, 9, 9, alpha)).save(tmp_path / name / "x.png")
    assert alpha_difference(tmp_path / "a", tmp_path / "b") == pytest.approx(0.2)
    assert alpha_difference(tmp_path / "a", tmp_path / "a") == 0


def section_of(missing: str = "") -> Section:
    results: Results = {
        (cores, name): PipelineResult([10.0 * factor, 20.0 * factor], [5.0 * factor, 5.0 * factor], 10**9)
        for cores in (1, 2)
        for name, factor in ((OURS, 1.0), ("rembg", 4.0))
    }
    return peers_section(results, {OURS: 0.0, "rembg": 0.01}, "2 pictures", missing)


def test_peers_are_compared_by_ratios_of_the_same_repeat():
    found = section_of()
    assert [table.name for table in found.tables] == ["peers-1", "peers-2"]
    assert [row[0] for row in found.tables[0].rows] == [OURS, "rembg"]
    assert found.findings[0] == "On 1 core, rembg takes 4 (4 to 4) times our time and 4 (4 to 4) times our CPU time."


def test_a_missing_peer_is_reported():
    assert section_of("There was no network.").findings[-1] == "rembg is not in the table. There was no network."


def test_a_folder_without_pictures_is_refused(tmp_path: Path):
    place(tmp_path / "in", "notes.txt", b"none")
    with pytest.raises(CommandFailed, match="holds no"):
        prepare_pictures(PeerOptions(images=tmp_path / "in"), tmp_path)


def test_the_script_that_runs_rembg_exists():
    _, script, *_ = rembg(Path("python"), Path("model.onnx")).command(Path("in"), Path("out"))
    assert Path(script).is_file()

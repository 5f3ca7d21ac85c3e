"""What is measured, on which devices, and what is made of the figures."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.equipment.pictures import place
from watcher.cli import USAGE, build_parser, main
from watcher.commands.bench.command import choose, sections, setups_of
from watcher.commands.bench.daemon.overhead import overhead
from watcher.commands.bench.daemon.process_log import CommandFailed, History
from watcher.commands.bench.daemon.run_once import Once, Ran
from watcher.commands.bench.daemon.whole import simulated
from watcher.commands.bench.peers.race import OURS, Result, Results, _note, difference, section
from watcher.commands.bench.plan import QUICK, Bench
from watcher.commands.bench.report import Section
from watcher.commands.bench.sections import SECTIONS
from watcher.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("devices", "setups"),
    [
        ("cpu,cpu:2", {"cpu": 4, "cpu:2": 2}),
        ("cpu", {"cpu": 4}),
        ("cpu:4", {"cpu:4": 1}),
        ("cuda:0", {"cuda:0": 4}),
        ("cuda:0,cuda:1", {"cuda:0": 4, "cuda:0,cuda:1": 2}),
    ],
)
def test_one_device_is_compared_with_several_and_each_has_its_share_of_the_cores(devices: str, setups: dict[str, int]):
    found = setups_of(devices, cores=4)
    assert {setup.name: setup.threads for setup in found} == setups
    assert all(setup.name.count("cuda") in (0, len(setup)) for setup in found)


def test_every_section_that_is_named_is_measured():
    assert tuple(sections()) == tuple(SECTIONS)


def test_sections_keep_their_order():
    assert choose(("encoders", "single")) == ("single", "encoders")
    assert choose(()) == tuple(SECTIONS)


def test_an_unknown_section_is_refused_with_the_names_of_all():
    with pytest.raises(ConfigurationError, match="--only speed: there are single, folder"):
        choose(("speed",))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--only", "speed"], "--only speed"),
        (["--only", "encoders", "--model", "no-such-model"], "no model 'no-such-model'"),
        (["peers", "--count", "0"], "--count"),
        (["peers", "--images", "nowhere"], "--images nowhere"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *words]) == USAGE
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_peers_is_a_command_below_bench():
    args = build_parser().parse_args(["bench", "peers", "--count", "7"])
    assert args.count == 7 and args.run_command.__name__ == "run_peers"


def test_queue_and_metrics_cost_something(tmp_path: Path):
    found = overhead(tmp_path, 20)
    assert 0 < found.cpu < 1 and 0 < found.wall < 1
    assert found.wall == found.queue[0] + found.metrics[0]


def written(times: list[float]) -> History:
    events = [(1.0, {"event": "worker_ready"})]
    events += [(at, {"event": "image", "outcome": "written"}) for at in times]
    return History(events=events, looks=[(0.0, 5.0, 0.0), (1.0, 6.0, 0.0), (3.0, 9.0, 0.0), (4.0, 20.0, 0.0)])


def test_start_and_end_of_a_process_do_not_count():
    result = Result()
    _note(written([2.0, 3.0]), 2, result)
    assert (result.wall, result.cpu) == ([1000.0], [1500.0])


def test_a_pipeline_that_leaves_an_image_out_has_not_run():
    with pytest.raises(CommandFailed, match="1 of 2 images"):
        _note(written([2.0]), 2, Result())


def test_the_difference_of_alpha_is_that_of_the_pixels(tmp_path: Path):
    from PIL import Image

    for name, alpha in (("a", 255), ("b", 204)):
        (tmp_path / name).mkdir()
        Image.new("RGBA", (8, 4), (9, 9, 9, alpha)).save(tmp_path / name / "x.png")
    assert difference(tmp_path / "a", tmp_path / "b") == pytest.approx(0.2)
    assert difference(tmp_path / "a", tmp_path / "a") == 0


def peers_section(missing: str = "") -> Section:
    results: Results = {
        (cores, name): Result([10.0 * factor, 20.0 * factor], [5.0 * factor, 5.0 * factor], 10**9)
        for cores in (1, 2)
        for name, factor in ((OURS, 1.0), ("rembg", 4.0))
    }
    return section(results, {OURS: 0.0, "rembg": 0.01}, "2 pictures", missing)


def test_peers_are_told_by_ratios_of_the_same_repeat():
    found = peers_section()
    assert [table.name for table in found.tables] == ["peers-1", "peers-2"]
    assert [row[0] for row in found.tables[0].rows] == [OURS, "rembg"]
    assert found.findings[0] == "On 1 core, rembg takes 4 (4 to 4) times our time and 4 (4 to 4) times our CPU time."


def test_a_peer_that_is_missing_is_said_to_be():
    assert peers_section("There was no network.").findings[-1] == "rembg is not in the table. There was no network."


def test_a_folder_without_pictures_is_no_race(tmp_path: Path):
    from watcher.commands.bench.peers.race import PeerOptions, _pictures

    place(tmp_path / "in", "notes.txt", b"none")
    with pytest.raises(CommandFailed, match="holds no"):
        _pictures(PeerOptions(images=tmp_path / "in"), tmp_path)


def test_workers_that_have_too_little_time_in_common_get_more_images(tmp_path: Path):
    # Given a second worker that begins ten images late
    seen: list[int] = []

    def run(source: Path, how: Once) -> Ran:
        images = sum(1 for _ in source.iterdir())
        seen.append(images)
        workers = int(how.devices.partition(":")[2])
        late = 10 * (workers - 1)
        each = (images - late) // workers
        starts = [0.0] * (workers == 1) or [0.0, 1.0]
        numbers = [each] if workers == 1 else [each + late, each]
        lines = [
            (start + (index + 1) / 10, {"event": "image", "device": f"cpu:{device}"})
            for device, (start, number) in enumerate(zip(starts, numbers, strict=True))
            for index in range(number)
        ]
        return Ran(images, 1.0, 1.0, 0.1, 0, History(events=lines, looks=[(0.0, 0.0, 0.0), (9.0, 18.0, 0.9)]))

    plan = replace(QUICK, simulated=(1, 2), simulated_images=8)
    section = simulated(Bench(plan, setups_of("cpu", 1), "fake", None, 1, tmp_path), run)
    # Then it is tried again until they have
    assert seen == [8, 16, 32]
    assert [row[1] for row in section.tables[0].rows] == [pytest.approx(10.0), pytest.approx(20.0)]
    # And their CPU time is that of the same images: 2 of 2 cores, all the time
    assert [row[-1] for row in section.tables[0].rows] == [pytest.approx(200.0), pytest.approx(100.0)]


def test_workers_that_never_have_time_in_common_are_no_measurement(tmp_path: Path):
    def run(source: Path, how: Once) -> Ran:
        lines = [(index / 10, {"event": "image", "device": "cpu:0"}) for index in range(20)]
        return Ran(20, 1.0, 1.0, 0.1, 0, History(events=lines))

    plan = replace(QUICK, simulated=(2,), simulated_images=1)
    with pytest.raises(CommandFailed, match="1 workers were ready too late"):
        simulated(Bench(plan, setups_of("cpu", 1), "fake", None, 1, tmp_path), run)

"""Options of `alphadrop bench`: sections, devices, and what is refused."""

from importlib import import_module
from pathlib import Path

import pytest

from watcher.cli import build_parser, main
from watcher.commands.bench import arguments
from watcher.commands.bench.daemon.overhead import measure_overhead
from watcher.commands.bench.device_groups import device_groups
from watcher.commands.bench.runner import choose_sections
from watcher.commands.bench.sections import SECTIONS
from watcher.commands.command import ExitCode
from watcher.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("devices", "threads"),
    [
        ("cpu,cpu:2", {"cpu": 4, "cpu:2": 2}),
        ("cpu", {"cpu": 4}),
        ("cpu:4", {"cpu:4": 1}),
        ("cuda:0", {"cuda:0": 4}),
        ("cuda:0,cuda:1", {"cuda:0": 4, "cuda:0,cuda:1": 2}),
    ],
)
def test_one_device_is_compared_with_several_that_share_the_cores(devices: str, threads: dict[str, int]):
    found = device_groups(devices, cores=4)
    assert {group.name: group.threads for group in found} == threads
    assert all(group.name.count("cuda") in (0, len(group)) for group in found)


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_has_a_module_that_measures_it(name: str):
    assert callable(import_module(f"watcher.commands.bench.sections.{name}").measure)


def test_sections_keep_their_order():
    assert choose_sections(("encoders", "single")) == ("single", "encoders")
    assert choose_sections(()) == tuple(SECTIONS)


def test_an_unknown_section_is_refused_with_the_names_of_all():
    with pytest.raises(ConfigurationError, match="--only speed: there are single, folder"):
        choose_sections(("speed",))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--only", "speed"], "--only speed"),
        (["--only", "encoders", "--model", "no-such-model"], "no model 'no-such-model'"),
        (["peers", "--count", "0"], "--count"),
        (["peers", "--images", "nowhere"], "--images nowhere"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_measured(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *words]) == ExitCode.USAGE
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_the_drawing_code_bench_asks_for_a_checkout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(arguments, "find_spec", lambda name: None if name == "inference.synthetic" else object())
    assert main(["bench"]) == ExitCode.USAGE
    assert "Run it from a checkout of the repository" in capsys.readouterr().err


def test_peers_is_a_subcommand_of_bench():
    args = build_parser().parse_args(["bench", "peers", "--count", "7"])
    assert args.count == 7 and args.run_command.__name__ == "run_peers"


def test_queue_and_metrics_take_time(tmp_path: Path):
    found = measure_overhead(tmp_path, 20)
    assert 0 < found.cpu < 1 and 0 < found.wall < 1
    assert found.wall == found.queue[0] + found.metrics[0]

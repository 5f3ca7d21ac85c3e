"""The command line: help, exit codes, error messages and tables."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from inference.models.registry import shipped_path
from tests.equipment.pages import blocks
from tests.equipment.pictures import BACKGROUND, cut_short, flaws, photo, place
from tests.equipment.support import (
    ROOT,
    STUCK,
    Call,
    Finished,
    alphadrop,
    daemon,
    error_records,
    files_below,
    log_events,
    wait_until,
)
from watcher.cli import COMMANDS
from watcher.fleet.devices import plan_workers

pytestmark = pytest.mark.timeout(1200)

SIZE, RED = (96, 72), (200, 30, 40)
OBSERVABILITY = ROOT / "docs" / "observability.md"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A source with one valid picture."""
    place(tmp_path / "photos", "a.jpg", photo("a.jpg", SIZE, RED))
    return tmp_path / "photos"


# Help.


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_has_help_with_an_example(call: Call, command: str) -> None:
    help = call(command, "--help")
    assert (help.code, help.err) == (0, "")
    assert "example" in help.out and f"\n  alphadrop {command}" in help.out


def test_the_help_lists_every_command(call: Call) -> None:
    help = call("--help")
    assert help.code == 0
    names = [command.name for command in COMMANDS]
    assert all(re.search(rf"^ +{name}(?: +\w|\n)", help.out, re.MULTILINE) for name in names)


def test_the_help_waits_for_nothing_that_only_commands_need() -> None:
    code = "import sys, watcher.cli; watcher.cli.build_parser('--help').format_help(); print(*sys.modules)"
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "pydantic", "rich", "boto3", "torch", "importlib.metadata"} & set(listed.stdout.split())


def test_without_a_command_the_usage_is_printed() -> None:
    bare = alphadrop()
    assert bare.code == 2
    assert bare.err.startswith("usage: alphadrop") and "COMMAND" in bare.err


def test_the_version_is_printed(call: Call) -> None:
    assert re.fullmatch(r"alphadrop \d+\.\d+\.\d+\n", call("--version").out)


# Refusals: exit code 2, a sentence, and no file touched.


def test_a_source_that_does_not_exist_is_named(call: Call, tmp_path: Path) -> None:
    refused = call("once", tmp_path / "nowhere", tmp_path / "cutouts", "--state", tmp_path / "state")
    assert refused.code == 2
    assert f"alphadrop: SOURCE {tmp_path / 'nowhere'} does not exist" in refused.err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_source_and_sink_are_reported(call: Call) -> None:
    refused = call("once")
    assert refused.code == 2
    assert "SOURCE is missing" in refused.err and "SINK is missing" in refused.err


def test_a_sink_inside_the_source_is_refused(call: Call, photos: Path) -> None:
    refused = call("once", photos, photos / "cutouts")
    assert refused.code == 2
    assert "is inside SOURCE" in refused.err and "--exclude-sink" in refused.err
    assert not (photos / "cutouts").exists()


def test_an_unknown_flag_and_a_wrong_value_are_refused(call: Call, photos: Path, tmp_path: Path) -> None:
    assert call("once", photos, tmp_path / "cutouts", "--modell", "fake").code == 2
    refused = call("once", photos, tmp_path / "cutouts", "--png-level", "9")
    assert refused.code == 2
    assert "--png-level" in refused.err


def test_a_misspelled_flag_is_named_with_the_nearest_one_and_the_way_to_the_help(
    call: Call, photos: Path, tmp_path: Path
) -> None:
    refused = call("once", photos, tmp_path / "cutouts", "--bacth", "3")
    assert refused.code == 2
    assert "--bacth is not a flag of `alphadrop once`; the nearest one is --batch." in refused.err
    assert "See `alphadrop once --help`." in refused.err
    assert not (tmp_path / "cutouts").exists()


def test_a_flag_before_the_command_is_refused_with_its_right_place(call: Call) -> None:
    refused = call("--batch", "3", "once", "photos", "cutouts")
    assert refused.code == 2
    assert "--batch must stand after the command, for example `alphadrop once" in refused.err


@pytest.mark.parametrize("rows", ["x", "0", "-3"])
def test_the_rows_of_a_sheet_are_counted_from_one(call: Call, rows: str) -> None:
    refused = call("compare", "nano", "lite", "images", f"--rows={rows}")
    assert refused.code == 2
    assert f"--rows: must be an integer of 1 or more, not '{rows}'" in refused.err


def test_an_unknown_model_is_refused_with_the_names_of_the_known(photos: Path, tmp_path: Path) -> None:
    refused = alphadrop("once", photos, tmp_path / "cutouts", "--state", tmp_path / "state", "--model", "huge")
    assert refused.code == 2
    assert "--model: There is no model 'huge'" in refused.err and "nano, lite, full" in refused.err
    assert not (tmp_path / "cutouts").exists()


def test_a_model_without_weights_is_refused_with_the_way_to_get_them(photos: Path, tmp_path: Path) -> None:
    if shipped_path("lite").is_file():
        pytest.skip("lite is shipped here")
    refused = alphadrop("once", photos, tmp_path / "cutouts", "--state", tmp_path / "state", "--model", "lite")
    assert refused.code == 2
    assert "The weights of 'lite' are not included" in refused.err
    assert "inference.training train --size lite" in refused.err and "--model nano" in refused.err


# Commands that only read.


def test_models_are_listed_with_the_state_of_their_weights(call: Call) -> None:
    listed = call("models")
    assert listed.code == 0
    assert all(listed.words(name) for name in ("nano", "lite", "full"))
    assert ".safetensors" in listed.out and "inference.training export" in listed.out


def test_the_doctor_checks_the_machine(call: Call) -> None:
    report = call("doctor", "--model", "fake", "--devices", "cpu")
    assert report.code == 0, report.out
    for check in ("python", "torch", "devices", "codecs", "weights", "open files"):
        assert re.search(rf"OK +{check}", report.out)


def test_the_doctor_says_which_workers_will_run(call: Call) -> None:
    report = call("doctor", "--model", "fake")
    assert re.search(rf"OK +devices +{plan_workers('auto', 0, third_party=False)}", report.out)


def test_the_doctor_says_which_of_source_and_sink_is_missing(call: Call, photos: Path) -> None:
    done = call("doctor", photos)
    assert done.code == 2 and "SINK is missing" in done.out
    done = alphadrop("doctor", ALPHADROP_SINK=str(photos))
    assert done.code == 2 and "SOURCE is missing" in done.out


def test_the_doctor_names_a_variable_that_is_no_setting() -> None:
    done = alphadrop("doctor", ALPHADROP_PRESETS="shopify")
    assert done.code == 0 and "ALPHADROP_PRESETS is not a setting; the nearest one is ALPHADROP_PRESET" in done.out


def test_the_doctor_checks_the_folders_that_are_given(call: Call, photos: Path, tmp_path: Path) -> None:
    well = call("doctor", photos, tmp_path / "cutouts", "--model", "fake", "--devices", "cpu")
    assert well.code == 0, well.out
    for check in ("source and sink", "events", "space"):
        assert re.search(rf"OK +{check}", well.out)
    assert not (tmp_path / "cutouts").exists()
    ill = call("doctor", tmp_path / "no [where]", tmp_path / "cutouts", "--model", "lite", "--devices", "cuda:77")
    assert ill.code == 2
    assert re.search(r"TO DO +source and sink .*no \[where\] does not exist", ill.out)
    assert re.search(r"TO DO +devices .*cuda:77", ill.out)


@pytest.mark.parametrize("command", ["status", "retry"])
def test_before_the_first_run_the_missing_queue_is_reported(
    call: Call, photos: Path, tmp_path: Path, command: str
) -> None:
    asked = call(command, photos, tmp_path / "cutouts", "--state", tmp_path / "state")
    assert asked.code == 2
    assert "There is no queue for these folders" in asked.err and str(tmp_path / "state") in asked.err
    assert not (tmp_path / "state").exists()


# Retrying.


@dataclass(frozen=True)
class Retried:
    """Two rejected images; first one of them is retried, then both."""

    sink: Path
    status: Finished
    one: Finished
    records_after_one: set[str]
    status_after_one: Finished
    second_run: Finished
    both: Finished
    nothing: Finished
    third_run: Finished


@pytest.fixture(scope="module")
def retried(tmp_path_factory: pytest.TempPathFactory) -> Retried:
    root = tmp_path_factory.mktemp("retry")
    source, sink = root / "photos", root / "cutouts"
    place(source, "fine/c.png", photo("c.png", SIZE, RED))
    for key in ("shoes/a.jpg", "hats/b.jpg"):
        place(source, key, photo(key, SIZE, RED))
        place(sink, key.replace(".jpg", ".png"), b"somebody else's")
    folders = (source, sink, "--state", root / "state")
    alphadrop("once", *folders, "--model", "fake", "--settle", "0")
    status = alphadrop("status", *folders)
    (sink / "shoes/a.png").unlink()
    one = alphadrop("retry", *folders, "--pattern", "shoes/*.jpg")
    records_after_one, status_after_one = {*error_records(sink)}, alphadrop("status", *folders)
    second_run = alphadrop("once", *folders, "--model", "fake")
    (sink / "hats/b.png").unlink()
    both, nothing = alphadrop("retry", *folders), alphadrop("retry", *folders)
    third_run = alphadrop("once", *folders, "--model", "fake")
    return Retried(sink, status, one, records_after_one, status_after_one, second_run, both, nothing, third_run)


def test_status_counts_the_images_and_names_the_rejected_ones(retried: Retried) -> None:
    assert retried.status.code == 0
    assert retried.status.words("pending")[:2] == ["pending", "0"]
    assert retried.status.words("written")[:2] == ["written", "1"]
    assert retried.status.words("rejected")[:2] == ["rejected", "2"]
    assert "shoes/a.jpg: output_exists" in retried.status.out and "hats/b.jpg: output_exists" in retried.status.out


def test_retry_makes_matching_images_pending_and_removes_their_error_records(retried: Retried) -> None:
    assert (retried.one.code, retried.one.out) == (0, "shoes/a.jpg\n")
    assert retried.records_after_one == {"hats/b.jpg"}
    assert retried.status_after_one.words("pending")[:2] == ["pending", "1"]
    assert retried.status_after_one.words("rejected")[:2] == ["rejected", "1"]


def test_the_next_run_cuts_out_the_retried_images_and_no_others(retried: Retried) -> None:
    assert retried.second_run.code == 3
    assert retried.second_run.outcomes == {"shoes/a.jpg": "written"}
    assert flaws(retried.sink / "shoes/a.png", SIZE, RED) == []


def test_retry_without_a_pattern_retries_every_rejected_image(retried: Retried) -> None:
    assert (retried.both.code, retried.both.out) == (0, "hats/b.jpg\n")
    assert (retried.nothing.code, retried.nothing.out) == (0, "")
    assert retried.third_run.code == 0
    assert retried.third_run.outcomes == {"hats/b.jpg": "written"}
    assert files_below(retried.sink) == {"fine/c.png", "shoes/a.png", "hats/b.png"}


def test_status_and_once_name_the_error_records_only_where_they_are(photos: Path, tmp_path: Path) -> None:
    place(photos, "bad.jpg", cut_short("bad.jpg"))
    folders = (photos, tmp_path / "cutouts", "--state", tmp_path / "state")
    assert "see _failed/ in the sink" in alphadrop("once", *folders, "--model", "fake", "--settle", "0").out
    assert "see _failed/ in the sink" in alphadrop("status", *folders).out
    shutil.rmtree(tmp_path / "cutouts")
    for asked in (alphadrop("status", *folders), alphadrop("once", *folders, "--model", "fake", "--settle", "0")):
        assert "_failed/" not in asked.out
        assert re.search(r"rejected +1 +their error records are gone; `alphadrop retry` tries again", asked.out)


# Empty cut-outs.


def test_an_empty_image_is_cut_out_and_named_in_summary_log_and_output(photos: Path, tmp_path: Path) -> None:
    place(photos, "shoes/a.png", photo("a.png", SIZE, colour=BACKGROUND))
    folders = (photos, tmp_path / "cutouts", "--state", tmp_path / "state")
    run = alphadrop("once", *folders, "--model", "fake", "--settle", "0")
    assert run.code == 0, run.err[-2000:]
    assert " ".join(run.words("empty")) == "empty 1 show hardly anything: shoes/a.png"
    assert [event["key"] for event in run.events if event.get("empty")] == ["shoes/a.png"]
    assert asked_as_the_page_says(tmp_path) == ["coverage", "0.0000"]


def asked_as_the_page_says(folder: Path) -> list[str]:
    """The coverage of `cutouts/shoes/a.png`, read with the command of docs/observability.md."""
    lines = [line for block in blocks(OBSERVABILITY, "sh") for line in block.text.splitlines()]
    (line,) = [line for line in lines if line.startswith("alphadrop inspect ")]
    return alphadrop(*shlex.split(line)[1:], cwd=folder).words("coverage")


# Settings.


def test_settings_from_variables_and_from_the_file_reach_the_run(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "alphadrop.toml").write_text(
        f'source = "{photos}"\nsink = "wrong"\nmodel = "fake:side=192"\nsettle = 0\noutput_name = "wrong/{{stem}}.png"',
        "utf-8",
    )
    run = alphadrop(
        "once",
        "--state",
        tmp_path / "state",
        cwd=tmp_path,
        ALPHADROP_SINK=str(tmp_path / "cutouts"),
        ALPHADROP_OUTPUT_NAME="{stem}.cutout.png",
        ALPHADROP_STATE=str(tmp_path / "wrong"),
        ALPHADROP_DEVICES="cpu:2",
        ALPHADROP_MODLE="nano",
    )
    assert run.code == 0, run.err[-2000:]
    started = next(event for event in run.events if event["event"] == "started")
    assert (started["model"], started["devices"]) == ("fake:side=192", ["cpu:0", "cpu:1"])
    assert files_below(tmp_path / "cutouts") == {"a.cutout.png"}
    assert (tmp_path / "state/queue.sqlite").is_file() and not (tmp_path / "wrong").exists()
    assert [event["name"] for event in run.events if event["event"] == "unknown_variable"] == ["ALPHADROP_MODLE"]


# Runs that cannot finish.


def test_a_second_daemon_on_the_same_folders_is_refused_and_the_first_keeps_running(
    photos: Path, tmp_path: Path
) -> None:
    state, sink, log = tmp_path / "state", tmp_path / "cutouts", tmp_path / "log"
    place(photos, "bad.jpg", cut_short("bad.jpg"))
    folders = (photos, sink, "--state", state)
    record = sink / "_failed/bad.jpg.json"
    with daemon(*folders, "--model", "fake", "--http", "off", "--settle", "0", log=log) as first:
        wait_until(lambda: (sink / "a.png").exists() and record.exists(), STUCK)
        for command in ("once", "run"):
            second = alphadrop(command, *folders, "--model", "fake")
            assert second.code == 2
            assert f"Another alphadrop (process {first.pid}) works on these folders" in second.err
        written = record.stat().st_mtime_ns
        assert alphadrop("retry", *folders).out == "bad.jpg\n"
        wait_until(lambda: record.exists() and record.stat().st_mtime_ns != written, STUCK)
    assert first.returncode == 0, log.read_text("utf-8")
    assert log_events(log.read_text("utf-8"))[-1]["event"] == "stopped"
    assert alphadrop("status", *folders).words("rejected")[:2] == ["rejected", "1"]


def test_once_reports_that_every_worker_died(photos: Path, tmp_path: Path) -> None:
    command = ("once", photos, tmp_path / "cutouts", "--state", tmp_path / "state", "--settle", "0")
    failed = alphadrop(*command, "--model", "fake:fail_at=1")
    assert failed.code == 4
    assert "could not finish. every worker died 5 times in a row; the last: worker died: device_lost" in failed.err
    assert files_below(tmp_path / "cutouts") == set()
    assert alphadrop("status", *command[1:5]).words("pending")[:2] == ["pending", "1"]


def test_a_stopped_run_says_so_and_the_next_one_continues(photos: Path, tmp_path: Path) -> None:
    folders, log = (photos, tmp_path / "cutouts", "--state", tmp_path / "state", "--settle", "0"), tmp_path / "log"
    with daemon(*folders, "--model", "fake:load_delay=600", log=log, command="once") as stopped:
        wait_until((tmp_path / "state/queue.sqlite").exists, STUCK)
        wait_until(lambda: alphadrop("status", *folders[:4]).words("pending")[1:2] == ["1"], STUCK)
    assert stopped.returncode == 4
    assert "could not finish. It was stopped" in log.read_text("utf-8")
    assert "nothing to do" not in log.read_text("utf-8")
    assert alphadrop("once", *folders, "--model", "fake").outcomes == {"a.jpg": "written"}

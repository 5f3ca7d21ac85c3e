"""The systemd unit and the Compose files of docs/machine.md."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.equipment.pages import blocks
from tests.equipment.support import ROOT
from watcher import cli
from watcher.commands.command import ExitCode
from watcher.config.load import load_settings
from watcher.config.settings import Settings

COMPOSE, UNIT = ROOT / "deploy" / "compose", ROOT / "deploy" / "systemd" / "alphadrop.service"
PAGE = ROOT / "docs" / "machine.md"


def service(*names: str) -> dict[str, Any]:
    """The service `alphadrop` of these files, the later ones over the earlier ones."""
    found: dict[str, Any] = {}
    for name in names:
        found |= yaml.safe_load((COMPOSE / name).read_text("utf-8"))["services"]["alphadrop"]
    return found


def unit() -> dict[str, str]:
    """Every setting of the unit; its names are unique over the sections."""
    parser = RawConfigParser(delimiters="=", strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT, "utf-8")
    return {key: value for section in parser.sections() for key, value in parser.items(section)}


def settings_of(arguments: list[str], environment: dict[str, str]) -> Settings:
    return load_settings(cli.build_parser().parse_args(arguments), environ=environment)


@pytest.mark.parametrize(("files", "target"), [(["compose.yaml"], "cpu"), (["compose.yaml", "gpu.yaml"], "cuda")])
def test_the_container_runs_the_image_that_the_dockerfile_builds(files: list[str], target: str):
    found = service(*files)
    assert found["build"]["target"] == target and found["image"] == f"alphadrop:{target}"
    assert re.search(rf"^FROM .* AS {target}$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE | re.IGNORECASE)
    if target == "cpu":  # which the Dockerfile does not build without an index
        assert found["build"]["args"] == {"TORCH_INDEX": "${TORCH_INDEX:-}"}
    settings = settings_of(found["command"], found.get("environment", {}))
    assert settings.devices == ("cuda:0" if target == "cuda" else "auto")
    assert [volume.split(":")[1] for volume in found["volumes"]] == ["/photos", "/cutouts", "/var/lib/alphadrop"]
    assert int(found["stop_grace_period"].removesuffix("s")) >= settings.drain + 10
    assert found["read_only"] and found["cap_drop"] == ["all"]
    assert all(port.startswith("127.0.0.1:") for port in found["ports"])


def test_what_compose_mounts_is_there_and_scrapes_the_service():
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text("utf-8"))["services"]
    mounted = [v.split(":")[0] for s in services.values() for v in s["volumes"] if v.startswith("./deploy")]
    assert mounted and all((ROOT / path).exists() for path in mounted)
    [scrape] = yaml.safe_load((COMPOSE / "prometheus.yaml").read_text("utf-8"))["scrape_configs"]
    assert scrape["job_name"] == "alphadrop"  # which alerts and dashboard select
    assert scrape["static_configs"] == [{"targets": ["alphadrop:9464"]}]


def test_prometheus_accepts_its_configuration(tmp_path: Path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    text = (COMPOSE / "prometheus.yaml").read_text("utf-8")
    (tmp_path / "prometheus.yml").write_text(
        text.replace("/etc/prometheus/alerts.yaml", str(ROOT / "deploy" / "prometheus" / "alerts.yaml"))
    )
    subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], check=True, capture_output=True)


def test_systemd_accepts_the_unit(tmp_path: Path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    copy = tmp_path / UNIT.name
    # The check wants the program and the user to be there.
    text = UNIT.read_text("utf-8").replace("/opt/alphadrop/bin/alphadrop", "/bin/true")
    copy.write_text(re.sub(r"^(User|Group)=.*\n", "", text, flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if copy.name in line] == []


def test_the_unit_stops_in_time_and_gives_up_on_a_wrong_setting():
    found = unit()
    environment = dict(pair.split("=", 1) for pair in found["Environment"].split())
    program, *arguments = found["ExecStart"].split()
    assert program == "/opt/alphadrop/bin/alphadrop"
    folders = {"ALPHADROP_SOURCE": "/srv/alphadrop/photos", "ALPHADROP_SINK": found["ReadWritePaths"]}
    own = {name: value for name, value in environment.items() if name.startswith("ALPHADROP_")}
    settings = settings_of(arguments, own | folders)
    assert int(found["TimeoutStopSec"]) >= settings.drain + 10
    assert int(found["RestartPreventExitStatus"]) == ExitCode.USAGE
    assert str(settings.state_path) == f"/var/lib/{found['StateDirectory']}"
    assert environment["XDG_CACHE_HOME"] == f"/var/cache/{found['CacheDirectory']}"


def test_the_page_sets_up_the_folders_that_the_unit_names():
    [setup] = [block.text for block in blocks(PAGE, "sh") if "useradd" in block.text]
    found = unit()
    assert "/opt/alphadrop/bin/pip install '.[engine]'" in setup, "`run` needs torch"
    assert f'sink = "{found["ReadWritePaths"]}"' in setup and found["ReadWritePaths"] in setup
    assert "/etc/alphadrop/alphadrop.toml" in setup and found["WorkingDirectory"] == "/etc/alphadrop"
    assert f"useradd --system --home-dir /var/lib/alphadrop --shell /usr/sbin/nologin {found['User']}" in setup

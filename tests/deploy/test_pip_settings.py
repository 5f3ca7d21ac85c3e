"""What pip is told here also holds inside a build."""

from __future__ import annotations

from configparser import RawConfigParser
from pathlib import Path

import pytest

from scripts import pip_settings
from scripts.pip_settings import has_cpu_torch, parse_settings, write_pip_settings


def test_variables_beat_commands_and_commands_beat_the_rest():
    listed = (
        ":env:.timeout='30'\nglobal.cert='/a.pem'\nglobal.timeout='10'\ninstall.cert='/b.pem'\ninstall.timeout='20'\n"
    )
    assert parse_settings(listed) == {"timeout": "30", "cert": "/b.pem"}


def test_a_build_sees_the_index_the_certificates_and_the_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Given a machine whose pip has all of them, and some that only mean something there
    wheels, certificates = tmp_path / "wheels", tmp_path / "ours.pem"
    wheels.mkdir()
    (wheels / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").write_bytes(b"wheel")
    certificates.write_text("certificate")
    values = {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": "https://user:secret@mirror.example/simple",
        "PIP_EXTRA_INDEX_URL": "file:///srv/simple https://more.example/simple",
        "PIP_FIND_LINKS": f"{wheels} https://wheels.example/",
        "PIP_CERT": str(certificates),
        "PIP_CONSTRAINT": "/etc/constraints.txt",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    # When they are written down for a build
    write_pip_settings(tmp_path / "made")
    # Then pip finds each of them there
    found = RawConfigParser()
    found.read(tmp_path / "made" / "pip.conf")
    settings = dict(found["global"])
    assert settings["index-url"] == values["PIP_INDEX_URL"]
    assert settings["extra-index-url"] == "https://more.example/simple"
    assert settings["cert"] == "/run/pip/certificates.pem"
    assert (tmp_path / "made" / "certificates.pem").read_text() == "certificate"
    assert settings["find-links"] == "https://wheels.example/ /run/pip/wheels"
    assert has_cpu_torch(tmp_path / "made")
    # and nobody else may read the password, nor does what holds for this machine alone go along
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0
    assert "constraint" not in settings


def test_where_pip_is_told_nothing_a_build_is_told_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setattr(pip_settings, "pip_settings", dict)
    write_pip_settings(tmp_path / "made")
    assert (tmp_path / "made" / "pip.conf").read_text().split() == ["[global]", "find-links", "=", "/run/pip/wheels"]
    assert not has_cpu_torch(tmp_path / "made")

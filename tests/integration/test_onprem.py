"""docs/onprem.md, followed line by line on a real RabbitMQ and a real Ceph gateway: `make onprem` runs it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import pytest

from tests.equipment.ceph import Ceph, running_ceph
from tests.equipment.certificate import certify
from tests.equipment.pages import blocks
from tests.equipment.pictures import photo
from tests.equipment.rabbit import Rabbit
from tests.equipment.support import ROOT, STUCK, clean_environment, daemon, log_events, wait_until

PAGE = ROOT / "docs" / "onprem.md"
PASSWORDS = {"PASSWORD": "secret", "STORE_PASSWORD": "hidden"}
QUICK = {
    "ALPHADROP_MODEL": "fake",
    "ALPHADROP_DEVICES": "cpu",
    "ALPHADROP_LOG_FORMAT": "json",
    "ALPHADROP_RESCAN": "100000",  # the listing at the start is the only one
}


@dataclass
class Machine:
    """A machine on which the page's commands are typed, one after the other."""

    folder: Path
    ceph: Ceph
    rabbit: Rabbit
    _exports: dict[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a shell on this machine."""
        return {
            **self.ceph.variables,
            **PASSWORDS,
            **self._exports,
            "AWS_CONFIG_FILE": str(self.folder / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "credentials"),
            "AWS_CA_BUNDLE": str(self.ceph.certificate),
            "AWS_EC2_METADATA_DISABLED": "true",
            "PATH": f"{Path(sys.executable).parent}:{clean_environment()['PATH']}",
        }

    def type(self, text: str, *, check: bool = True) -> str:
        """Run commands of the page, with its host names replaced; what they print."""
        text = self.replaced(text)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder,
            env=clean_environment(**self.variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=STUCK,
        )
        print(f"$ {text}\n{done.stdout}{done.stderr}")
        assert not check or done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        self._exports |= {
            name: Template(value).substitute(self.variables)
            for name, value in (
                word.split("=", 1) for line in re.findall(r"^export (.*)$", text, re.M) for word in shlex.split(line)
            )
        }
        return done.stdout + done.stderr

    def replaced(self, text: str) -> str:
        """The text with the addresses of this machine's servers."""
        text = text.replace("https://ceph.example", self.ceph.endpoint)
        return re.sub(r"rabbit\.example(:5672)?", f"127.0.0.1:{self.rabbit.port}", text)


@pytest.fixture
def machine(tmp_path: Path, rabbit: Rabbit) -> Iterator[Machine]:
    certificate, key = certify(tmp_path)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    with running_ceph(certificate, key) as ceph:
        yield Machine(tmp_path, ceph, rabbit)


def block(label: str) -> str:
    """The page's block of that label."""
    [found] = [block.text for block in blocks(PAGE, "bash") if block.label == label]
    return found


def line(start: str) -> str:
    """The page's line that begins so."""
    [found] = [line for block in blocks(PAGE, "sh") for line in block.text.splitlines() if line.startswith(start)]
    return found


def arguments(start: str) -> list[str]:
    """What follows the command's name in the page's line that begins so, without its port."""
    return re.sub(r"--http \S+", "", line(start)).split()[2:]


@pytest.mark.onprem
@pytest.mark.timeout(1800)
def test_the_page_works_as_it_is_pasted(machine: Machine):
    # Given RabbitMQ, the users and the bucket as the page makes them
    machine.rabbit.administer(block("rabbitmq"), **PASSWORDS)
    machine.type(line("export ALPHADROP_QUEUE="))
    machine.type(block("cephusers"))
    [settings] = [block.text for block in blocks(PAGE, "toml")]
    text = settings.replace("https://minio.example:9000", machine.ceph.endpoint)
    (machine.folder / "alphadrop.toml").write_text(text, "utf-8")
    (machine.folder / "photo.jpg").write_bytes(photo("photo.jpg"))
    # and an image from before there were events
    put = line('aws --profile shop --endpoint-url "$RGW" s3 cp')
    machine.type(block("cephuploads") + put.replace("in/photo.jpg", "in/before.jpg"))
    # When the queue is opened for the first time
    machine.type(block("watchonce"))
    # Then the doctor misses the events, until they are set up
    assert "announces no new objects below in/" in machine.type(block("cephdoctor"), check=False)
    machine.type(block("ceph"))
    # Then the doctor finds nothing to do
    said = machine.type(line("alphadrop doctor"))
    assert "TO DO" not in said and "run this as the owner of the bucket" in said
    said = machine.type(block("cephdoctor"))
    assert (
        "TO DO" not in said and "sends its events to the exchange bucket-events of the virtual host alphadrop" in said
    )
    # And a worker makes a cut-out of what is uploaded, without any listing
    listing = line('aws --profile shop --endpoint-url "$RGW" s3 ls')
    variables = {**machine.variables, **QUICK, "ALPHADROP_HTTP": "127.0.0.1:0"}
    logs = {half: machine.folder / f"{half}.jsonl" for half in ("work", "watch")}
    config = ["--config", str(machine.folder / "alphadrop.toml")]
    with daemon(*config, *arguments("alphadrop work"), log=logs["work"], command="work", **variables):
        machine.type(block("cephuploads") + put)
        wait_until(
            lambda: "out/photo.png" in machine.type(listing, check=False), STUCK, "no cut-out came by an event", pause=1
        )
        assert "out/before.png" not in machine.type(listing, check=False)
        # and `watch` finds what was there before
        with daemon(*config, *arguments("alphadrop watch"), log=logs["watch"], command="watch", **variables):
            wait_until(
                lambda: "out/before.png" in machine.type(listing, check=False),
                STUCK,
                "the listing found nothing",
                pause=1,
            )
        assert "photo" not in machine.type(line("alphadrop status"))
    # And nobody was denied anything
    for log in logs.values():
        warnings = [event for event in log_events(log.read_text()) if event["level"] in ("warning", "error")]
        assert warnings == []
    bindings = machine.rabbit.administer(line("rabbitmqctl list_bindings"))
    assert "bucket-events\texchange\talphadrop\tqueue\t#" in bindings

"""A real Ceph gateway for tests: a monitor, a store in memory and a gateway on free ports, gone afterwards."""

from __future__ import annotations

import http.client
import ssl
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.equipment.rabbit import free_port
from tests.equipment.requirements import require_program
from tests.equipment.support import wait_until

STARTED = 300.0
"""Seconds after which the cluster is taken for stuck: far more than the slowest machine needs."""
PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw")
_KEYS = {
    "mon.": ["mon", "allow *"],
    "client.admin": ["mon", "allow *", "osd", "allow *", "mgr", "allow *"],
    "osd.0": ["mon", "allow profile osd", "osd", "allow *"],
}
"""Capabilities by the name of who has them."""


@dataclass
class Ceph:
    """One cluster with one gateway, which speaks TLS. Listens on 127.0.0.1 only; its data is in memory."""

    folder: Path
    certificate: Path
    key: Path
    port: int = field(default_factory=free_port)
    _monitor_port: int = field(default_factory=free_port)
    _id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def endpoint(self) -> str:
        """The gateway's address."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """An environment in which `radosgw-admin` finds the cluster."""
        return {"CEPH_CONF": str(self._config)}

    def start(self, running: ExitStack) -> None:
        """Start the cluster, which ends with `running`, and wait until the gateway answers."""
        self._config.write_text(self._settings(), "utf-8")
        self._make_keys()
        monitors = str(self.folder / "monitors")
        self._do("monmaptool", "--create", "--fsid", self._id, "--addv", "a", self._monitor, monitors)
        self._do("ceph-mon", "--mkfs", "-i", "a", "--monmap", monitors, "--keyring", str(self._keys))
        self._serve(running, "ceph-mon", "-i", "a")
        self._do("ceph", "--connect-timeout", str(int(STARTED)), "osd", "new", self._id)
        self._do("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", self._id)
        self._serve(running, "ceph-osd", "-i", "0")
        self._serve(running, "radosgw", "-n", "client.admin")
        wait_until(self._answers, STARTED, f"Ceph's gateway did not start, see {self.folder}", pause=0.1)

    @property
    def _config(self) -> Path:
        return self.folder / "ceph.conf"

    @property
    def _keys(self) -> Path:
        return self.folder / "keys"

    @property
    def _monitor(self) -> str:
        return f"[v2:127.0.0.1:{self._monitor_port}]"

    def _settings(self) -> str:
        return f"""
[global]
fsid = {self._id}
mon host = {self._monitor}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
osd objectstore = memstore
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
mon max pg per osd = 1000
run dir = {self.folder}
admin socket = {self.folder}/$name.$pid.socket
pid file = {self.folder}/$name.pid
log file = {self.folder}/$name.log
mon data = {self.folder}/mon
osd data = {self.folder}/osd
keyring = {self._keys}
mon data avail warn = 1
mon data avail crit = 1
rgw frontends = beast ssl_endpoint=127.0.0.1:{self.port} ssl_certificate={self.certificate} ssl_private_key={self.key}
rgw enable apis = s3, admin, notifications
"""

    def _make_keys(self) -> None:
        for folder in ("mon", "osd"):
            (self.folder / folder).mkdir()
        create = ["--create-keyring"]
        for name, capabilities in _KEYS.items():
            pairs = zip(capabilities[::2], capabilities[1::2], strict=True)
            words = [word for pair in pairs for word in ("--cap", *pair)]
            self._do("ceph-authtool", str(self._keys), *create, "--gen-key", "-n", name, *words)
            create = []

    def _do(self, program: str, *arguments: str) -> None:
        done = subprocess.run(self._line(program, arguments), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def _serve(self, running: ExitStack, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.output").open("wb") as output:
            line = [*self._line(program, arguments), "--foreground"]
            process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        running.enter_context(process)
        running.callback(process.kill)

    def _line(self, program: str, arguments: tuple[str, ...]) -> list[str]:
        known = program in ("monmaptool", "ceph-authtool")  # which read no configuration
        return [program, *([] if known else ["--conf", str(self._config)]), *arguments]

    def _answers(self) -> bool:
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        gateway = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=STARTED, context=trusted)
        try:
            gateway.request("GET", "/")
            return gateway.getresponse().status == 200
        except OSError:
            return False
        finally:
            gateway.close()


@contextmanager
def running_ceph(certificate: Path, key: Path) -> Iterator[Ceph]:
    """A cluster until the end of the block. Without Ceph it skips the test, or fails it with `--demand-all`."""
    for program in PROGRAMS:
        require_program(program, "run `make onprem`, or install the packages ceph-mon, ceph-osd and radosgw.")
    with ExitStack() as running:
        folder = Path(running.enter_context(TemporaryDirectory(prefix="ceph")))
        ceph = Ceph(folder, certificate, key)
        ceph.start(running)
        yield ceph

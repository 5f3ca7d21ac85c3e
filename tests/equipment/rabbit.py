"""A real RabbitMQ node for tests: a process of its own on free ports, below a temporary folder, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pika

from tests.equipment.requirements import require_program
from tests.equipment.support import wait_until

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # not the one in PATH, which becomes the user rabbitmq
STARTED = 300.0
"""Seconds after which a node is taken for stuck: far more than the slowest machine needs."""
CONFIG = """
loopback_users = none
log.file.level = warning
disk_free_limit.absolute = 1MB
"""


def free_port() -> int:
    """A free port outside of the range from which outgoing connections get theirs."""
    while True:
        port = secrets.randbelow(12_000) + 20_000  # below what Linux, macOS and IANA take for those
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def queue_name() -> str:
    """A name that no other test uses."""
    return f"jobs-{uuid.uuid4().hex[:12]}"


class Connection(pika.BlockingConnection):  # type: ignore[misc]  # pika has no types
    """pika's connection, which leaks no socket even if the server closes it in the moment in which it opens."""

    def close(self, *reason: object) -> None:
        """Close it. Raises AMQPConnectionError if the server was faster."""
        try:
            super().close(*reason)
        finally:
            self._impl.ioloop.close()

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(pika.exceptions.ConnectionWrongStateError):  # the server was faster
            self.close()


@dataclass
class Rabbit:
    """One node, whose data outlives a restart. Listens on 127.0.0.1 only."""

    folder: Path
    config: str = ""
    """Lines that are added to its configuration."""
    port: int = field(default_factory=free_port)
    epmd_port: int = field(default_factory=free_port)
    _dist_port: int = field(default_factory=free_port)
    _node: subprocess.Popen[bytes] | None = None

    def url(self, **query: str) -> str:
        """The address of the node, or with `queue=NAME` of a queue."""
        words = "&".join(f"{name}={value}" for name, value in query.items())
        return f"amqp://guest:guest@127.0.0.1:{self.port}/" + (f"?{words}" if words else "")

    def connect(self) -> Connection:
        """A connection for the test itself."""
        return Connection(pika.URLParameters(self.url()))

    def start(self) -> None:
        """Start the node, and wait until it answers."""
        with (self.folder / "output.log").open("ab") as log:
            self._node = subprocess.Popen(
                [SERVER], env=self._environment(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self._answers, STARTED, f"RabbitMQ did not start, see {self.folder}")

    def stop(self) -> None:
        """Stop the node as an administrator would, with a notice to its connections."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the node, as a power failure would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start the node: durable queues and messages survive."""
        self.stop()
        self.start()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Stop the node while the block runs."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the node while the block runs: it neither answers nor hangs up, as behind a broken network."""
        assert self._node is not None
        self._node.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._node.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # the signal alone may come late
        try:
            yield
        finally:
            self._node.send_signal(signal.SIGCONT)

    def administer(self, text: str, **variables: str) -> str:
        """Run commands as root on the server would, and return what they print. Fails if one of them fails."""
        environment = self._environment()
        path = f"{SERVER.parent}:{environment['PATH']}"  # where rabbitmqctl does not become the user rabbitmq first
        done = subprocess.run(
            ["bash", "-euc", text],
            env=environment | {"PATH": path} | variables,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def _end(self, signal_: signal.Signals) -> None:
        if self._node is not None:
            self._node.send_signal(signal_)  # does nothing to a node that has ended
            self._node.wait(STARTED)

    def _answers(self) -> bool:
        assert self._node is not None
        if self._node.poll() is not None:
            output = (self.folder / "output.log").read_text("utf-8", "replace")
            raise AssertionError(f"RabbitMQ ended:\n{output[-3000:]}")
        try:
            self.connect().close()
        except pika.exceptions.AMQPConnectionError:
            return False
        return True

    def _environment(self) -> dict[str, str]:
        config = self.folder / "rabbitmq.conf"
        config.write_text(CONFIG + self.config, "utf-8")
        nothing = str(self.folder / "none")
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),  # the Erlang cookie
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ADVANCED_CONFIG_FILE": nothing,
            "RABBITMQ_CONF_ENV_FILE": nothing,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RUNNING_UNDER_SYSTEMD": "true",  # else a shell stands between the node and our signals
        }


@contextmanager
def running_rabbit(config: str = "") -> Iterator[Rabbit]:
    """A node until the end of the block. Without RabbitMQ it skips the test, or fails it with `--demand-all`."""
    require_program(SERVER, "run `make services`, or install the package rabbitmq-server.")
    with ExitStack() as ending:
        rabbit = Rabbit(Path(ending.enter_context(TemporaryDirectory(prefix="rabbit"))), config)
        # Ours and in the foreground: the one that the node would start by itself stays behind for ever.
        epmd = ["epmd", "-port", str(rabbit.epmd_port), "-address", "127.0.0.1"]
        directory = ending.enter_context(subprocess.Popen(epmd, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        ending.callback(directory.kill)
        ending.callback(rabbit.stop)
        rabbit.start()
        yield rabbit

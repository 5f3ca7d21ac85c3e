"""Options and fixtures of all tests."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.equipment import requirements
from tests.equipment.daemon import Folders
from tests.equipment.rabbit import Rabbit, running_rabbit
from tests.equipment.support import Call, Finished
from watcher.cli import main

if TYPE_CHECKING:
    from inference.kernels.library import Kernels

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs like this, and the daemons that tests interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

FIGURES = pytest.StashKey[list[str]]()

# On a busy machine an example may stand still for longer than it takes: nothing is wrong with it. The same examples
# every time: who changes something else is not to be refused for what chance finds; `make torture` draws new ones.
settings.register_profile("same", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("new", settings.get_profile("same"), derandomize=False)
settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of our tests; `--campaign=full` is for `make torture`."""
    parser.addoption(
        "--campaign",
        choices=("short", "full"),
        default="short",
        help="how long the tests that kill, flood and starve the daemon go on (default: short)",
    )
    requirements.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Remember `--demand-all`, and compile the kernels before the first test needs them."""
    requirements.configure(config)
    if not hasattr(config, "workerinput"):
        requirements.compile_kernels()


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    """Skip modules whose packages are not installed, and say which."""
    module: pytest.Module = requirements.SkippableModule.from_parent(parent, path=module_path)
    return module


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """With `-n`, collect what the tests of another process have measured: it is in that process's last message."""
    node.config.stash.setdefault(FIGURES, []).extend(node.workeroutput.get("figures", ()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what was measured here to the process that prints it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["figures"] = session.config.stash.get(FIGURES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what tests have measured, at the end."""
    lines = config.stash.get(FIGURES, [])
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _its_own_leaks() -> Iterator[None]:
    """Collect garbage after each test, so that a socket or file that it leaves open is reported in this test.

    What outlives a test is frozen: later collections leave it out, so that each takes a millisecond.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def kernels() -> Kernels:
    """The compiled kernels."""
    return requirements.require_kernels()


@pytest.fixture(scope="session")
def full_campaign(pytestconfig: pytest.Config) -> bool:
    """Whether campaigns run in their long form."""
    return bool(pytestconfig.getoption("campaign") == "full")


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """A function that takes a line to print at the end."""
    return pytestconfig.stash.setdefault(FIGURES, []).append


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Empty folders for a daemon."""
    return Folders.below(tmp_path)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command within this process, which is quicker: for commands that start no process and set up no log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    for name in [name for name in os.environ if name.startswith("ALPHADROP_")]:
        monkeypatch.delenv(name)

    def run(*arguments: object) -> Finished:
        try:
            code: object = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        assert isinstance(code, int)
        return Finished(code, out, err)

    return run


@pytest.fixture(scope="session")
def rabbit() -> Iterator[Rabbit]:
    """A RabbitMQ node for all tests that ask for one."""
    with running_rabbit() as node:
        yield node

"""Options and fixtures of all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon import Folders

FIGURES = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--campaign=full` is what `make torture` runs."""
    parser.addoption(
        "--campaign",
        choices=("short", "full"),
        default="short",
        help="how long the tests that kill, flood and starve the daemon go on (default: short)",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What tests have measured, at the end."""
    lines = config.stash.get(FIGURES, [])
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def full_campaign(pytestconfig: pytest.Config) -> bool:
    """Whether this is the long form."""
    return bool(pytestconfig.getoption("campaign") == "full")


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Takes lines that are to be printed at the end."""
    return pytestconfig.stash.setdefault(FIGURES, []).append


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Empty folders for a daemon."""
    return Folders.below(tmp_path)

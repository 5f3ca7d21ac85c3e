"""Programs and packages that tests need: one that is missing is a skip, or an error with `--demand-all`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from inference.kernels.library import Kernels

OURS = frozenset({"watcher", "inference", "tests", "scripts"})
"""Packages of this repository: a module of theirs that cannot be imported is always an error."""
DEMAND_ALL = "--demand-all"
ROOT = Path(__file__).parents[2]
_demanding = False


def add_option(parser: pytest.Parser) -> None:
    """Add `--demand-all` to pytest's options."""
    parser.addoption(
        DEMAND_ALL,
        action="store_true",
        help="fail, instead of skipping, where a program or package that tests need is not installed; `make test` does",
    )


def configure(config: pytest.Config) -> None:
    """Remember whether a missing requirement is an error, for `require_program` and for the import of test modules."""
    global _demanding
    _demanding = bool(config.getoption(DEMAND_ALL))


def require_program(program: str | Path, remedy: str) -> None:
    """Skip the calling test if a program (a name in PATH, or a path) is missing; fail it with `--demand-all`."""
    if shutil.which(str(program)) is None:
        report_missing(f"{Path(program).name} is not installed: {remedy}")


def require_kernels() -> Kernels:
    """Return the compiled kernels; skip the calling test if they are missing, or fail it with `--demand-all`."""
    from inference.compiled import KernelsUnavailable, library_path
    from inference.kernels.library import load  # loads torch

    try:
        return load(library_path())
    except KernelsUnavailable as error:
        report_missing(str(error))


def compile_kernels() -> None:
    """Compile the kernels of the checkout, unless they are up to date or there is no compiler."""
    if find_spec("ziglang") is not None:
        subprocess.run([sys.executable, ROOT / "hatch_build.py"], check=True, stdout=subprocess.DEVNULL)


def report_missing(message: str) -> NoReturn:
    """Skip the calling test because of something that is missing; fail it with `--demand-all`."""
    if _demanding:
        pytest.fail(message, pytrace=False)
    pytest.skip(message, allow_module_level=True)


class SkippableModule(pytest.Module):
    """A test module that is skipped where a package that it imports is not installed."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Import the module and collect its tests. Raises CollectError, or skips the module."""
        try:
            return super().collect()
        except self.CollectError as error:
            name = missing_package(error)
            if name is None or _demanding:
                raise
        pytest.skip(f"the package {name} is not installed: pip install -e '.[dev]'", allow_module_level=True)


def missing_package(error: BaseException) -> str | None:
    """The top-level package whose absence caused an import to fail; None for any other cause, and for our packages."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ModuleNotFoundError):
        cause = cause.__cause__
    name = (cause.name or "").partition(".")[0] if cause is not None else ""
    return name if name and name not in OURS else None

"""What is not installed is skipped with a reason, and demanded by `make test`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.equipment.requirements import DEMAND_ALL, missing_package
from tests.equipment.support import ROOT, STUCK

CONFTEST = """
import pytest
from tests.equipment import requirements


def pytest_addoption(parser):
    requirements.add_option(parser)


def pytest_configure(config):
    requirements.configure(config)


def pytest_pycollect_makemodule(module_path, parent):
    return requirements.SkippableModule.from_parent(parent, path=module_path)
"""
NEEDS_A_PACKAGE = "import nowhere_to_be_found\n\n\ndef test_it():\n    pass\n"
NEEDS_A_PROGRAM = """
from tests.equipment.requirements import require_program


def test_it():
    require_program("no-such-program", "install it.")
"""
NEEDS_A_MODULE_OF_OURS = "import watcher.no_such_module\n\n\ndef test_it():\n    pass\n"


def run(folder: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on one test file with that code, in a folder of its own."""
    (folder / "conftest.py").write_text(CONFTEST, "utf-8")
    (folder / "test_one.py").write_text(code, "utf-8")
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-ra",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder),
        *options,
        "test_one.py",
    ]
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=STUCK, check=False, env={"PYTHONPATH": str(ROOT)}
    )


@pytest.mark.parametrize("code", [NEEDS_A_PACKAGE, NEEDS_A_PROGRAM], ids=["package", "program"])
def test_what_is_not_installed_is_skipped_with_a_reason(code: str, tmp_path: Path) -> None:
    done = run(tmp_path, code)

    assert "1 skipped" in done.stdout and "not installed" in done.stdout, done.stdout
    assert "failed" not in done.stdout and "error" not in done.stdout


@pytest.mark.parametrize("code", [NEEDS_A_PACKAGE, NEEDS_A_PROGRAM], ids=["package", "program"])
def test_what_is_not_installed_is_an_error_where_all_is_demanded(code: str, tmp_path: Path) -> None:
    done = run(tmp_path, code, DEMAND_ALL)

    assert done.returncode != 0 and "skipped" not in done.stdout, done.stdout


def test_a_module_of_ours_that_is_missing_is_always_an_error(tmp_path: Path) -> None:
    done = run(tmp_path, NEEDS_A_MODULE_OF_OURS)

    assert done.returncode != 0 and "skipped" not in done.stdout, done.stdout


def test_other_errors_name_no_package() -> None:
    assert missing_package(ValueError("no")) is None
    assert missing_package(ModuleNotFoundError("no", name="watcher.x")) is None
    assert missing_package(ModuleNotFoundError("no", name="flask.app")) == "flask"

"""Every reason for a rejection is a member of one enum that code, metrics and runbook share."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

import inference
import watcher
from inference import errors
from inference.errors import PictureError
from watcher.core import reasons
from watcher.core.jobs import Rejection
from watcher.core.reasons import Reason
from watcher.protocol import STAGES
from watcher.telemetry.metrics import definitions, labels

RUNBOOK = Path(__file__).parents[4] / "docs" / "runbook.md"
ORDINARY_WORDS = {
    watcher.__name__: {Reason.OTHER, Reason.PICTURE},
    inference.__name__: {Reason.OTHER, Reason.PICTURE, Reason.TRUNCATED, Reason.UNSUPPORTED},
}
"""Reasons that a package also uses as common words: there a literal need not mean a rejection."""


def literals(package: ModuleType, home: ModuleType) -> list[str]:
    """Where a reason's value is written as a literal in a package's code, outside of the module that is its home."""
    found = []
    reasons = set(Reason) - ORDINARY_WORDS[package.__name__]
    for path in sorted(Path(package.__path__[0]).rglob("*.py")):
        if path != Path(home.__file__ or ""):
            nodes = ast.walk(ast.parse(path.read_text()))
            values = [node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
            found += [f"{path}:{node.lineno}" for node in values if node.value in reasons]
    return found


def subclasses(kind: type[PictureError]) -> set[type[PictureError]]:
    return {kind}.union(*(subclasses(below) for below in kind.__subclasses__()))


def test_no_reason_is_written_outside_of_the_enum():
    assert literals(watcher, reasons) == []
    assert literals(inference, errors) == []


def test_every_error_of_a_picture_has_a_reason_that_the_enum_knows():
    assert {kind.reason for kind in subclasses(PictureError)} <= set(Reason)
    assert len(subclasses(PictureError)) >= 6


def test_metrics_know_every_reason_and_its_stage():
    assert tuple(labels.REJECTIONS) == tuple(Reason)
    assert set(labels.REJECTIONS.values()) <= {*STAGES, labels.OTHER}
    assert definitions.QUARANTINED.labels["reason"] == tuple(Reason)
    assert {(reason.stage, reason) for reason in Reason} <= set(definitions.FAILURES.label_sets())


def test_the_runbook_says_of_every_reason_what_it_means_and_what_to_do():
    section = RUNBOOK.read_text().split("\n## AlphadropRejecting\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "| `" in line]
    assert [(name.strip("`"), meaning) for name, meaning, _ in rows] == [(r.value, r.meaning) for r in Reason]
    assert all(remedy.endswith((".", "?")) for _, _, remedy in rows)


def test_a_stored_reason_that_no_version_here_knows_is_kept_in_the_detail():
    assert Rejection.parse("melted", "It was hot.") == Rejection(Reason.OTHER, "melted: It was hot.")


@pytest.mark.parametrize("reason", Reason)
def test_a_stored_reason_comes_back_as_its_member(reason: Reason):
    assert Rejection.parse(reason.value, "d") == Rejection(reason, "d")

"""`make gpu-check`: each step in its time, whatever happens, and without a card a report that says so."""

from __future__ import annotations

import sys

import pytest

from scripts import gpu_steps
from scripts.gpu_check import NO_CARD, STEPS, Step, rehearse, run, sections

MOST_SECONDS = 11 * 60
CHEAP = ("machine", "plans", "stranger", "accuracy")
"""Steps whose rehearsal starts no process."""


def test_all_steps_together_take_ten_minutes_and_a_half_at_most():
    assert sum(step.seconds for step in STEPS) <= 10.5 * 60
    assert {step.name for step in STEPS if not step.command} == set(gpu_steps.STEPS)


@pytest.mark.parametrize("name", CHEAP)
def test_a_step_of_ours_runs_over_the_stand_in(name: str):
    assert gpu_steps.STEPS[name](gpu_steps.STAND_IN)


def test_without_a_card_every_step_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu_steps, "STEPS", dict.fromkeys(gpu_steps.STEPS, lambda setup: "figures"))
    shown: list[str] = []
    title, explained, *parts = sections(False, shown.append)
    assert title.startswith("# GPU check") and "README.md" in explained
    assert len(parts) == len(shown) == len(STEPS)
    assert all(NO_CARD in part and "figures" not in part for part in parts)


def test_a_rehearsal_that_fails_is_reported():
    def fail(setup: gpu_steps.Setup) -> str:
        raise RuntimeError("no such kernel")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_steps, "STEPS", {"rate": fail})
        assert rehearse(Step("rate", "Rate", 1)) == (
            "no card: the rehearsal over the stand-in failed: RuntimeError: no such kernel"
        )


@pytest.mark.parametrize(
    ("code", "seconds", "said"),
    [
        ("import time; time.sleep(60)", 0.2, ["Not finished in 0 s"]),
        ("print('figures')", 60, ["figures"]),
        ("raise SystemExit('driver gone')", 60, ["driver gone"]),
    ],
)
def test_a_step_that_hangs_or_fails_is_reported_and_passed_over(code: str, seconds: float, said: list[str]):
    result = run(Step("step", "A step", seconds, ("-c", code)))
    assert all(part in result for part in said)


def test_the_report_of_a_command_becomes_part_of_ours():
    code = "import sys, pathlib; pathlib.Path(sys.argv[1], 'report.md').write_text('# Report\\n\\n## Table 1')"
    assert run(Step("article", "Tables", 60, ("-c", code, "FOLDER"), "report.md")) == "# Report\n\n### Table 1"


def test_a_failed_step_of_ours_shows_its_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert "Failed with exit code 1" in run(Step("rate", "Rate", 60))

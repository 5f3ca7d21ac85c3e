"""Damaged files of every format: the short form of `make fuzz`, and that it can fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inference.codec.decode import decode
from scripts.fuzz import BOUND, mutated, run_in_process
from tests.equipment.fuzz_files import fuzz_files

CASES = 20_000
BROKEN = "import os, scripts.fuzz as fuzz; fuzz.LIMIT = 1; fuzz.decode = lambda data, max_pixels: {}; fuzz.main()"


@pytest.mark.parametrize("name", fuzz_files())
def test_the_files_are_sound_before_they_are_damaged(name: str) -> None:
    picture = decode(fuzz_files()[name])
    assert {picture.width, picture.height} == {28, 20}


def test_no_damaged_file_crashes_hangs_or_takes_more_memory(figures: Callable[[str], None]) -> None:
    run = run_in_process(1, range(CASES))
    assert run.failure is None
    assert sum(run.outcomes.values()) == CASES
    assert run.outcomes["picture"] > CASES / 10, "some damage is harmless"
    figures(f"damaged files: {CASES:,} cases, {run.outcomes}")


def test_a_case_is_always_the_same_file() -> None:
    files = list(fuzz_files().values())
    assert mutated(1, 5, files) == mutated(1, 5, files) != mutated(2, 5, files)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("{}[0]", "failed KeyError: 0"),
        ("os.abort()", "the process ended with -6"),
        ("[... for _ in iter(int, 1)]", "the process ended with -24"),
        (f"bytearray({BOUND + (64 << 20)}).count(1)", "failed memory grew by more than 400 MiB"),
    ],
    ids=["error", "crash", "hang", "memory"],
)
def test_a_case_that_fails_is_found_and_named(call: str, problem: str) -> None:
    run = run_in_process(1, range(7, 9), ("-c", BROKEN.format(call)))
    assert run.failure is not None
    assert (run.failure.number, run.failure.problem) == (7, problem)

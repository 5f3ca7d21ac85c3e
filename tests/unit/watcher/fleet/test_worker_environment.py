"""The environment of a worker: it keeps memory between pictures, and waiting threads do not spin."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from watcher.commands.bench.engine import engine_process
from watcher.fleet import keeper
from watcher.fleet.worker_environment import WORKER_ENVIRONMENT

PICTURES = """
import resource, threading
import numpy as np

def picture():
    return [np.ones(8 << 20, np.uint8) for _ in range(10)]

def work():
    for _ in range(3):
        picture()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        picture()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
"""Prints the page faults of a thread that makes ten pictures of 80 MB, after the first three."""


def pages_given_anew(environment: dict[str, str]) -> int:
    plain = {name: value for name, value in os.environ.items() if name not in WORKER_ENVIRONMENT}
    command = [sys.executable, "-c", PICTURES]
    return int(subprocess.run(command, env=plain | environment, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library allocates by other rules")
def test_a_worker_does_not_allocate_its_memory_anew_for_each_picture() -> None:
    assert pages_given_anew({}) > 1000
    assert pages_given_anew(dict(WORKER_ENVIRONMENT)) < 100


def test_variables_that_are_set_already_take_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
    assert engine_process.environment()["MALLOC_ARENA_MAX"] == keeper.worker_environment()["MALLOC_ARENA_MAX"] == "7"
    monkeypatch.delenv("MALLOC_ARENA_MAX")
    assert engine_process.environment()["MALLOC_ARENA_MAX"] == keeper.worker_environment()["MALLOC_ARENA_MAX"] == "1"

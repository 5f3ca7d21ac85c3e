"""A bucket with more objects than anybody wants in memory: requests, seconds and memory of a comparison."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from urllib.parse import quote

import pytest

from tests.equipment.bigbucket import BigBucket, Contents, key_of
from tests.equipment.moto import CREDENTIALS
from tests.equipment.support import clean_environment
from watcher.config.settings import Settings
from watcher.core.jobs import ImageRef, OutputRecipe, Recipe
from watcher.wiring import Wiring

SLACK = 12.0
"""MiB that a comparison of more objects may take more: what the allocator happens to keep."""
COMMAND = """
import sys
from pathlib import Path
from watcher.cli import main
code = main(sys.argv[1:])
print(Path("/proc/self/status").read_text("ascii"), file=sys.stderr)
sys.exit(code)
"""
"""`alphadrop`, which also says how much memory it had. What wait4 says of a child begins with its parent's."""
SOURCE, SINK = "s3://big/in", "s3://big/out"

pytestmark = [pytest.mark.torture, pytest.mark.slow, pytest.mark.timeout(3600)]


@dataclass(frozen=True)
class Run:
    """One comparison by the command."""

    objects: int
    undone: dict[str, str]
    """What it found to be done, by key."""
    requests: dict[str, int]
    seconds: float
    peak: float
    """MiB of resident memory, of this process alone."""

    def __str__(self) -> str:
        asked = ", ".join(f"{number} x {what}" for what, number in sorted(self.requests.items()))
        return f"{self.objects:,} objects: {asked}, {self.seconds:.1f} s, {self.peak:.0f} MiB at the most"


def compare(contents: Contents, *options: str) -> Run:
    """Run `alphadrop reconcile --dry-run` as a process of its own."""
    with BigBucket(contents) as bucket:
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "reconcile", SOURCE, SINK, "--dry-run", "--model", "fake", *options],
            env=clean_environment(**CREDENTIALS, AWS_ENDPOINT_URL=bucket.url),
            capture_output=True,
            text=True,
            check=True,
        )
        lines = [line.partition("\t") for line in done.stdout.splitlines()]
        peak = re.search(r"VmHWM:\s*(\d+) kB", done.stderr)
        assert peak, done.stderr
        requests = {what: number for what, number in bucket.counts().items() if number}
    undone = {key: finding for finding, _, key in lines}
    return Run(contents.count, undone, requests, time.monotonic() - started, int(peak[1]) / 1024)


def key(number: int) -> str:
    return key_of("in", number).removeprefix("in/")


def test_a_shallow_comparison_takes_two_listings_and_no_more_memory_for_more_objects(
    full_campaign: bool, figures: Callable[[str], None]
) -> None:
    sizes = (20_000, 200_000, 1_000_000) if full_campaign else (2_000, 30_000)
    runs = []
    for size in sizes:
        missing, outdated = {0, 7, size // 2, size - 1}, {5, size // 3}
        run = compare(Contents(size, missing=frozenset(missing), outdated=frozenset(outdated)))
        assert run.undone == {key(n): "missing" for n in missing} | {key(n): "outdated" for n in outdated}
        assert run.requests.keys() == {"list"}
        assert run.requests["list"] <= 2 * size // 1000 + 2
        runs.append(run)
        figures(f"shallow comparison, {run}")
    assert runs[-1].peak <= runs[0].peak + SLACK


def metadata(recipe: Mapping[str, object], source_key: str, etag: str) -> dict[str, str]:
    """What an output of that recipe says of its job."""
    outputs = tuple(OutputRecipe(**output) for output in recipe["outputs"])  # type: ignore[attr-defined]
    job = Recipe(**{**recipe, "outputs": outputs}).job_id(ImageRef(source_key, etag, 0))  # type: ignore[arg-type]
    return {"alphadrop-job": job, "alphadrop-source": quote(source_key)}


def test_a_deep_comparison_asks_each_output_once(full_campaign: bool, figures: Callable[[str], None]) -> None:
    size = 200_000 if full_campaign else 2_000
    settings = Settings(source=SOURCE, sink=SINK, model="fake")
    recipe = json.loads(json.dumps(asdict(Wiring.of(settings).recipe)))
    missing, outdated = frozenset({3, size - 2}), frozenset({1})
    contents = Contents(size, missing, outdated, partial(metadata, recipe))

    same = compare(contents, "--deep")
    other = compare(contents, "--deep", "--png-level", "3") if not full_campaign else None

    assert same.undone == {key(3): "missing", key(size - 2): "missing", key(1): "outdated"}
    assert same.requests["head"] == size - len(missing)
    if other is not None:
        assert len(other.undone) == size, "another option makes every output outdated"
    figures(f"deep comparison, {same}")

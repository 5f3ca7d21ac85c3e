"""Decode mutated files of every format, for an hour by default: `make fuzz MINUTES=60`.

Each case must end as a picture or as a PictureError. The cases run in a process of its own: its death, a case that
takes more CPU seconds than LIMIT, and memory beyond BOUND are failures. The file of a failing case is written to
`runs/fuzz/`. Case N of a seed is always the same file: `--seed SEED --first N --cases 1` runs it again.
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.codec.decode import decode
from inference.errors import PictureError
from tests.equipment.fuzz_files import fuzz_files
from tests.equipment.support import ROOT, peak_memory

LIMIT = 20
"""CPU seconds that one case may take, after which the kernel ends the process; usual are milliseconds."""
BOUND = 400 << 20
"""Bytes by which memory may grow while pictures of MAX_PIXELS are decoded."""
MAX_PIXELS = 1_000_000
CHUNK = 20_000
"""Cases that one process decodes."""
FOLDER = Path("runs/fuzz")
_VALUES = (0, 1, 0x7F, 0x80, 0xFF)
_NUMBERS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000)


@dataclass(frozen=True)
class Failure:
    """A case that failed, and how."""

    number: int
    problem: str


def mutated(seed: int, number: int, files: Sequence[bytes]) -> bytes:
    """The file of one case: one of `files` with a few mutations."""
    chance = random.Random(f"{seed}:{number}")
    data = bytearray(files[number % len(files)])
    for _ in range(chance.choice((1, 1, 2, 4, 12))):
        chance.choice(_MUTATIONS)(data, chance, files)
    return bytes(data)


def _flip_bit(data: bytearray, chance: random.Random, files: Sequence[bytes]) -> None:
    if data:
        data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _set_byte(data: bytearray, chance: random.Random, files: Sequence[bytes]) -> None:
    if data:
        data[_place(data, chance)] = chance.choice((*_VALUES, chance.randrange(256)))


def _set_number(data: bytearray, chance: random.Random, files: Sequence[bytes]) -> None:
    if len(data) >= 4:
        at, order = min(_place(data, chance), len(data) - 4), chance.choice(("big", "little"))
        data[at : at + 4] = chance.choice(_NUMBERS).to_bytes(4, "big" if order == "big" else "little")


def _cut(data: bytearray, chance: random.Random, files: Sequence[bytes]) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _remove(data: bytearray, chance: random.Random, files: Sequence[bytes]) -> None:
    at = _place(data, chance)
    del data[at : at + chance.randrange(1, 65)]


def _repeat(data: bytearray, chance: random.Random, files: Sequence[bytes]) -> None:
    at = _place(data, chance)
    data[at:at] = data[at : at + chance.randrange(1, 257)] * chance.choice((1, 1, 2, 50))


def _insert(data: bytearray, chance: random.Random, files: Sequence[bytes]) -> None:
    at = _place(data, chance)
    data[at:at] = chance.randbytes(chance.randrange(1, 33))


def _splice(data: bytearray, chance: random.Random, files: Sequence[bytes]) -> None:
    other = chance.choice(files)
    at, start = _place(data, chance), chance.randrange(len(other))
    length = chance.randrange(1, 257)
    data[at : at + length] = other[start : start + length]


def _place(data: bytearray, chance: random.Random) -> int:
    """Anywhere, but in every other case near the beginning, where the headers are."""
    return chance.randrange(min(len(data), 256) if chance.random() < 0.5 else len(data)) if data else 0


_MUTATIONS: tuple[Callable[[bytearray, random.Random, Sequence[bytes]], None], ...] = (
    _flip_bit, _flip_bit, _set_byte, _set_byte, _set_number, _set_number, _cut, _remove, _repeat, _insert, _splice,
)  # fmt: skip


def run_cases(seed: int, numbers: range) -> None:
    """Decode the cases, and print how far it came. Prints and returns at the first one that fails."""
    files = fuzz_files()
    contents = list(files.values())
    outcomes: Counter[str] = Counter()
    memory = peak_memory() + BOUND
    for number in numbers:
        print(number, flush=True)
        data = mutated(seed, number, contents)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + LIMIT, resource.RLIM_INFINITY))
        try:
            decode(data, max_pixels=MAX_PIXELS)
            outcomes["picture"] += 1
        except PictureError as error:
            outcomes[error.reason] += 1
        except BaseException as error:
            print(f"failed {type(error).__name__}: {error}", flush=True)
            return
        if peak_memory() > memory:
            print(f"failed memory grew by more than {BOUND >> 20} MiB", flush=True)
            return
    print("done", " ".join(f"{name}={count}" for name, count in sorted(outcomes.items())), flush=True)


@dataclass(frozen=True)
class Run:
    """What became of the cases that one process decoded."""

    outcomes: dict[str, int]
    """How many cases ended as a picture, and how many with each reason."""
    failure: Failure | None = None


def run_in_process(seed: int, numbers: range, program: Sequence[str] = ("-m", "scripts.fuzz")) -> Run:
    """Decode the cases in a process of its own; what its libraries print is dropped."""
    span = ["--seed", str(seed), "--first", str(numbers.start), "--cases", str(len(numbers)), "--here"]
    done = subprocess.run(
        [sys.executable, *program, *span],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    last = lines[-1] if lines else ""
    if last.startswith("done"):
        return Run({name: int(count) for name, _, count in (word.partition("=") for word in last.split()[1:])})
    number = next((int(line) for line in reversed(lines) if line.isdigit()), numbers.start)
    return Run({}, Failure(number, last if last.startswith("failed") else f"the process ended with {done.returncode}"))


def write_case(seed: int, number: int) -> Path:
    """Write the file of a case, for a bug report."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{seed}-{number}"
    path.write_bytes(mutated(seed, number, list(fuzz_files().values())))
    return path


def campaign(seed: int, minutes: float) -> int:
    """Run cases until the time is over; returns the number of failures, each of which is printed."""
    ends, first, failures = time.monotonic() + minutes * 60, 0, 0
    outcomes: Counter[str] = Counter()
    print(f"seed {seed}", flush=True)
    while time.monotonic() < ends:
        numbers = range(first, first + CHUNK)
        run = run_in_process(seed, numbers)
        outcomes.update(run.outcomes)
        first = numbers.stop
        if run.failure:
            failures += 1
            path = write_case(seed, run.failure.number)
            print(f"case {run.failure.number}: {run.failure.problem}; see {path}", flush=True)
            first = run.failure.number + 1
        print(f"{first:,} cases, {failures} failures, {dict(sorted(outcomes.items()))}", flush=True)
    return failures


def main() -> int:
    """Parse the arguments and run; returns the exit code."""
    parser = argparse.ArgumentParser(description="Decode mutated files of every format.")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cases", type=int, default=0, help="run these cases only, whatever the time")
    parser.add_argument("--here", action="store_true", help="in this process, which prints each number")
    args = parser.parse_args()
    numbers = range(args.first, args.first + args.cases)
    if args.here:
        run_cases(args.seed, numbers)
        return 0
    if not args.cases:
        return min(1, campaign(args.seed, args.minutes))
    run = run_in_process(args.seed, numbers)
    print(run.failure or run.outcomes)
    return int(run.failure is not None)


if __name__ == "__main__":
    sys.exit(main())

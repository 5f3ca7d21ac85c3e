"""`python -m tests.torture`: the campaign of faults, round after round from a printed seed.

Exit code 1 if a property did not hold in some round; its folder stays, and `--only SEED` plays it again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.equipment.rabbit import SERVER
from tests.torture.draws import draw
from tests.torture.faults import FAULTS
from tests.torture.judge import Property, Violation
from tests.torture.plans import Arrangement, Plan
from tests.torture.rounds import Result, play
from tests.torture.system import Services


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the rounds and print their results and a summary."""
    options = _parser().parse_args(arguments)
    if any("RabbitMQ" in one for one in options.arrangements) and not SERVER.exists():
        print("RabbitMQ is not installed: run `make services`, or name other --arrangements", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    print(f"seed {options.seed}; failed rounds stay in {folder}", flush=True)
    seeds, results = _seeds(options), list[Result]()
    choosing, ending = threading.Lock(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())  # the rounds that are being played come to their end
    with Services() as services, ThreadPoolExecutor(options.jobs) as pool:

        def play_some() -> None:
            while True:
                with choosing:
                    seed = None if ending.is_set() else next(seeds, None)
                if seed is None:
                    return
                plan = draw(seed, options.arrangements)
                result = _play(plan, folder / str(seed), services, options.keep)
                with choosing:
                    results.append(result)
                    _report(result, options.results)

        for playing in [pool.submit(play_some) for _ in range(options.jobs)]:
            playing.result()
    print(*summary(results), sep="\n")
    return int(any(result.violations for result in results))


def summary(results: Sequence[Result]) -> Iterator[str]:
    """Rounds, images and faults in words."""
    images, opened = sum(one.images for one in results), sum(one.opened for one in results)
    failed = [one.plan.seed for one in results if one.violations]
    yield f"{len(results)} rounds, {len(failed)} with violations{f': seeds {failed}' if failed else ''}"
    yield f"{images:,} images put, {opened:,} files opened by the polling reader"
    if results:
        drained = sorted(one.drained for one in results)
        yield f"drained after the last fault: median {drained[len(drained) // 2]:.1f} s, longest {drained[-1]:.1f} s"
    families: Counter[str] = Counter()
    for one in results:
        for name, count in one.faults.items():
            families[FAULTS[name].family] += count
    yield f"{families.total()} faults: " + ", ".join(f"{count} x {name}" for name, count in families.most_common())
    for broken in Property:
        count = sum(broken in one.broken for one in results)
        yield f"{'FAILED in ' + str(count) + ' rounds' if count else 'held'}: {broken}"


def _play(plan: Plan, top: Path, services: Services, keep: bool) -> Result:
    """A round whose equipment fails has not shown anything, and must not end the campaign."""
    try:
        return play(plan, top, services, keep=keep)
    except Exception:
        return Result(plan, [Violation(Property.RECOVERY, "the round broke off: " + traceback.format_exc())])


def _seeds(options: argparse.Namespace) -> Iterator[int]:
    if options.only is not None:
        yield from options.only
        return
    until = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    for number in range(options.rounds or sys.maxsize):
        if time.monotonic() > until:
            return
        yield options.seed * 10_000 + number


def _report(result: Result, path: Path | None) -> None:
    print(f"{time.strftime('%H:%M:%S')} {result.seconds:5.1f} s  {result}", flush=True)
    if path:
        _append(path, result)


def _append(path: Path, result: Result) -> None:
    fields = {
        "seed": result.plan.seed,
        "arrangement": result.plan.arrangement.value,
        "model": result.plan.model,
        "faults": result.faults,
        "images": result.images,
        "opened": result.opened,
        "drained": round(result.drained, 1),
        "seconds": round(result.seconds, 1),
        "phases": result.phases,
        "violations": [str(violation) for violation in result.violations],
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(fields, ensure_ascii=False) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.torture", description=__doc__)
    parser.add_argument("--rounds", type=int, default=0, help="how many rounds (default: no limit)")
    parser.add_argument("--minutes", type=float, default=0, help="begin no round after this time (default: no limit)")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10_000, help="what the rounds are drawn from")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="rounds at a time (default: one a core)")
    parser.add_argument("--only", type=int, nargs="+", help="play the rounds with these seeds, as printed, again")
    parser.add_argument(
        "--arrangements",
        type=Arrangement,
        choices=[*Arrangement],
        nargs="+",
        default=[*Arrangement],
        help="leave out the others (default: all)",
    )
    parser.add_argument("--keep", action="store_true", help="keep the folders of rounds without violations, too")
    parser.add_argument("--results", type=Path, help="file that gets a line of JSON for each round")
    return parser


if __name__ == "__main__":
    sys.exit(main())

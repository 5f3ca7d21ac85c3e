"""`python -m tests.torture.mutations`: deliberate errors in alphadrop, each of which the judge must find.

A judge that never complains proves nothing. Every property has an error that breaks it: `saboteur` puts the error into
the running processes, one round is played, and that property must fail. Without the error the same round must be clean.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tests.torture.judge import Property
from tests.torture.plans import Arrangement, Plan
from tests.torture.producer import Mixture
from tests.torture.rounds import play
from tests.torture.system import Services

PATIENCE = 20.0
"""Seconds for what will never happen."""


@dataclass(frozen=True)
class Mutation:
    """An error, and the property that it breaks."""

    name: str
    breaks: Property
    faults: Sequence[str] = ()
    """What must happen for the error to show."""

    def plan(self, mutation: str) -> Plan:
        """A round with this error, or with "" without it."""
        mixture = Mixture(poisoned=15, replaced=0, deleted=0, slow=0)
        plan = Plan(17, Arrangement.RUN, self.faults, changes=30, seconds=1.5, mixture=mixture, mutation=mutation)
        return replace(plan, patience=PATIENCE) if mutation else plan


MUTATIONS = (
    Mutation("lose-an-output", Property.COMPLETE),
    Mutation("swap-two-outputs", Property.COMPLETE),
    Mutation("name-a-wrong-reason", Property.COMPLETE),
    Mutation("write-a-copy", Property.NO_SURPLUS),
    Mutation("write-in-place", Property.WHOLE),
    Mutation("blame-the-image", Property.NO_BLAME, ("device full",)),
    Mutation("keep-dead-leases", Property.RECOVERY, ("kill at put",)),
    Mutation("stay-unready", Property.RECOVERY, ("device full",)),
    Mutation("leak-descriptors", Property.LEVELS),
    Mutation("leave-temporary-files", Property.LEVELS, ("kill at written",)),
)


@dataclass
class Trial:
    """The rounds with and without errors, several at a time; one without errors for each choice of faults."""

    top: Path
    services: Services

    def run(self, jobs: int, mutations: Sequence[Mutation] = MUTATIONS) -> list[str]:
        """Play the rounds of these mutations, and return what was missed."""
        with ThreadPoolExecutor(jobs) as pool:
            clean = [pool.submit(self._is_clean, plan) for plan in clean_plans(mutations)]
            found = [pool.submit(self._is_found, mutation) for mutation in mutations]
            return [*filter(None, (played.result() for played in (*clean, *found)))]

    def _is_clean(self, plan: Plan) -> str:
        result = play(plan, self.top / f"clean {', '.join(plan.faults)}", self.services)
        print(f"without errors: {result}", flush=True)
        return str(result) if result.violations else ""

    def _is_found(self, mutation: Mutation) -> str:
        broken = play(mutation.plan(mutation.name), self.top / mutation.name, self.services)
        examples = [str(one) for one in broken.violations if one.property is mutation.breaks]
        print(f"{'found ' if examples else 'MISSED'} {mutation.name}: {examples[:1] or broken}", flush=True)
        return "" if examples else mutation.name


def clean_plans(mutations: Sequence[Mutation]) -> list[Plan]:
    """The rounds of the mutations without their errors, each once."""
    return [*{mutation.faults: mutation.plan("") for mutation in mutations}.values()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a round for each error and print whether the judge found it; exit code 1 if one was not found."""
    options = _parser().parse_args(arguments)
    chosen = [mutation for mutation in MUTATIONS if mutation.name in (options.only or [mutation.name])]
    with Services() as services:
        missed = Trial(Path(tempfile.mkdtemp(prefix="mutations-")), services).run(options.jobs, chosen)
    broken = {mutation.breaks for mutation in chosen}
    print(f"{len(chosen)} errors in alphadrop for {len(broken)} properties; not as it should be: {missed or 'none'}")
    return int(bool(missed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.torture.mutations", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[mutation.name for mutation in MUTATIONS], help="these errors")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="rounds at a time (default: one a core)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

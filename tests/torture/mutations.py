"""`python -m tests.torture.mutations`: deliberate errors in alphadrop, each of which the judge must find.

A judge that never complains proves nothing. Every property has an error that breaks it: `saboteur` puts the error into
the running processes, one round is played, and that property must fail. Without the error the same round must be clean.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.torture.judge import Property
from tests.torture.plans import Arrangement, Plan
from tests.torture.producer import Mixture
from tests.torture.rounds import play
from tests.torture.system import Services

PATIENCE = 40.0
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


def main() -> int:
    """Play a round for each error and print whether the judge found it; exit code 1 if one was not found."""
    top, missed = Path(tempfile.mkdtemp(prefix="mutations-")), 0
    with Services() as services:
        for number, mutation in enumerate(MUTATIONS):
            clean = play(mutation.plan(""), top / f"{number}-clean", services)
            broken = play(mutation.plan(mutation.name), top / f"{number}-broken", services)
            found = mutation.breaks in broken.broken and not clean.violations
            missed += not found
            example = next((str(one) for one in broken.violations if one.property is mutation.breaks), "nothing")
            print(f"{'found ' if found else 'MISSED'} {mutation.name}: {example}", flush=True)
            if clean.violations:
                print(f"       without it: {clean}")
    print(f"{len(MUTATIONS) - missed} of {len(MUTATIONS)} errors found, for {len(Property)} properties")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())

"""Draws the plan of a round from its seed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tests.torture.faults import FAULTS
from tests.torture.plans import MODELS, MOST_DEATHS, REAL_ENGINE, WEIGHTS, Arrangement, Plan
from tests.torture.producer import Mixture


def draw(seed: int, among: Sequence[Arrangement] = tuple(Arrangement)) -> Plan:
    """The plan of a seed, in one of these arrangements."""
    random = Random(seed)
    arrangement = random.choices(among, [WEIGHTS[one] for one in among])[0]
    real, killers = random.random() < 0.06, int(random.random() < 0.1)
    faults = _faults(random, arrangement, deaths=2 * real + 2 * killers, without="device" if real else "")
    together = random.random() < 0.35
    return Plan(
        seed,
        arrangement,
        tuple(_compatible(faults) if together else faults),
        together=together,
        model=REAL_ENGINE if real else random.choice(MODELS),
        changes=random.choice((20, 40, 40, 60)),
        seconds=random.uniform(2, 6),
        mixture=Mixture(killers=killers),
        two_outputs=random.random() < 0.3,
        rescan=random.choice((2.0, 5.0, 15.0)),
    )


def _faults(random: Random, arrangement: Arrangement, deaths: int, without: str) -> list[str]:
    """One to four faults: first a family, then one of it, so that rare families come as often as large ones."""
    possible = [name for name, fault in FAULTS.items() if fault.fits(arrangement) and fault.family != without]
    families = sorted({FAULTS[name].family for name in possible})
    faults: list[str] = []
    for _ in range(random.choice((1, 2, 2, 3, 3, 4))):
        family = random.choice(families)
        name = random.choice([name for name in possible if FAULTS[name].family == family])
        deaths += FAULTS[name].deaths
        if deaths <= MOST_DEATHS or not FAULTS[name].deaths:
            faults.append(name)
    return faults


def _compatible(faults: list[str]) -> list[str]:
    """Those that can strike at the same time: one of each family, and no sink is away while a daemon starts.

    It would make the folder again, as at the first start.
    """
    by_family = {FAULTS[name].family: name for name in faults if name != "sink renamed away"}
    return [*by_family.values()]

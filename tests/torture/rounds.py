"""One round: calm, a storm of faults while pictures arrive, then peace in which everything must come right."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar

from tests.equipment.support import STUCK
from tests.torture.faults import FAULTS, Strike
from tests.torture.judge import Judge, Property, Reader, Violation
from tests.torture.levels import Level, complaints
from tests.torture.pictures import SECOND
from tests.torture.plans import Arrangement, Plan
from tests.torture.producer import Producer
from tests.torture.record import Record
from tests.torture.system import Services, System

LEVEL_SECONDS = 40.0
"""So long may processes take to come back to their level, on an idle machine."""
CALM_SECONDS = 4.0
"""How long the first pictures take on an idle machine: where they take longer, everything may."""
PAUSE = 0.1
"""Seconds between two looks at the sink."""
WARM_UP = 6
"""Healthy pictures before the first fault, after which the level is measured."""
DONE = (0, 3)
"""Exit codes of `once` that has finished; 3 if images were rejected."""
T = TypeVar("T")


@dataclass
class Result:
    """What became of a round."""

    plan: Plan
    violations: list[Violation] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    """The faults that struck."""
    images: int = 0
    """Changes of the source, warm-up included."""
    opened: int = 0
    """Files that the polling reader opened."""
    drained: float = 0.0
    """Seconds from the end of the last fault until everything was done and ready."""
    seconds: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds by phase."""

    @property
    def broken(self) -> set[Property]:
        """The properties that did not hold."""
        return {violation.property for violation in self.violations}

    def __str__(self) -> str:
        verdict = "; ".join(map(str, self.violations[:5])) or "clean"
        return f"{self.plan}: {self.images} images, drained in {self.drained:.1f} s: {verdict}"


def play(plan: Plan, top: Path, services: Services, *, keep: bool = False) -> Result:
    """Play one round below the folder `top`, which is deleted afterwards, unless something was wrong or with `keep`."""
    started = time.monotonic()
    disks = frozenset(FAULTS[name].disk for name in plan.faults)
    with System(plan, top, services, disks) as system:
        result = Round(plan, system).play()
    result.seconds = time.monotonic() - started
    if not result.violations and not keep:
        shutil.rmtree(top)
    return result


class Round:
    """One round on a system."""

    def __init__(self, plan: Plan, system: System) -> None:
        self.plan, self.system, self.result = plan, system, Result(plan)
        record = Record(system.top / "record.jsonl")
        self.judge = Judge(record, system.sink, ("", SECOND) if plan.two_outputs else ("",))
        self.reader = Reader(self.judge, 0.5 if plan.arrangement.sink_is_bucket else 0.05)
        self.producer = Producer(system.source, record, plan.seed, plan.changes, plan.seconds, plan.mixture)
        self._random = Random(plan.seed)

    def play(self) -> Result:
        """Play it."""
        self.reader.start()
        try:
            calm = self._timed(self._calm)
            if calm is not None:
                self._timed(self._storm)
                self._timed(self._peace)
                self._timed(lambda: self._compare_levels(calm), "levels")
            self._timed(self._stop)
        finally:
            self.reader.finish()
        result = self.result
        result.violations += [*self.reader.violations, *self.judge.violations()]
        result.images, result.opened = self._acknowledged(), self.reader.opened
        return result

    @property
    def patience(self) -> float:
        """Seconds until everything must be done: those of the plan, or more where the machine is busy."""
        calm = self.result.phases.get("calm", STUCK / self.plan.patience * CALM_SECONDS)
        return self.plan.patience * max(1.0, calm / CALM_SECONDS)

    def _timed(self, phase: Callable[[], T], name: str = "") -> T:
        started = time.monotonic()
        try:
            return phase()
        finally:
            self.result.phases[name or phase.__name__.strip("_")] = round(time.monotonic() - started, 1)

    def _calm(self) -> Mapping[str, Level] | None:
        """Start, work on a few pictures; what the processes hold then. None if that failed: the round is over."""
        self.system.revive()
        self.producer.warm_up(WARM_UP)
        if not self._drained(self.system.revive):
            self._complain(Property.RECOVERY, "not even the first pictures were done")
            return None
        return self.system.levels()

    def _storm(self) -> None:
        """Let one fault after the other strike while the producer works."""
        self.producer.start()
        with self._repeating_once():
            self._strike()
        self.producer.finish()

    @contextmanager
    def _repeating_once(self) -> Iterator[None]:
        """Start `once` again whenever it has finished, as a timer would: faults need somebody to strike at."""
        over = threading.Event()

        def repeat() -> None:
            while not over.wait(0.2):
                self.system.revive()

        thread = threading.Thread(target=repeat, name="timer")
        if self.plan.arrangement is Arrangement.ONCE:
            thread.start()
        try:
            yield
        finally:
            over.set()
            if thread.ident:
                thread.join()

    def _strike(self) -> None:
        faults = self.plan.faults
        for names in [faults] if self.plan.together else [(name,) for name in faults]:
            with ThreadPoolExecutor(max(1, len(names)), thread_name_prefix="fault") as pool:
                for name, struck in zip(names, pool.map(self._strike_one, names), strict=True):
                    self.result.faults[name] += struck
            for role, code in self.system.revive():
                if role != "once" and not any(FAULTS[name].ends for name in names):
                    self._complain(Property.RECOVERY, f"{role} has ended with {code} because of: {names}")
            time.sleep(self._random.uniform(0, 0.7))

    def _strike_one(self, name: str) -> bool:
        random = Random(f"{self.plan.seed} {name}")
        return FAULTS[name].strike(Strike(self.system, self.producer, random)) is not False

    def _peace(self) -> None:
        """All faults are over: everything must be done and ready in time."""
        started = time.monotonic()
        if not self._drained(self._keep_running):
            unfinished = self.judge.unfinished()
            self._complain(
                Property.RECOVERY,
                f"after {self.patience:.0f} s {len(unfinished)} images are not done: {unfinished[:3]}; "
                f"ready: {self.system.ready()}",
            )
        self.result.drained = time.monotonic() - started

    def _keep_running(self) -> None:
        for role, code in self.system.revive():
            if role != "once":
                self._complain(Property.RECOVERY, f"{role} ended by itself with {code} in peace")

    def _drained(self, keep_running: Callable[[], object]) -> bool:
        """Whether all is done and ready in time."""
        until = time.monotonic() + self.patience
        while time.monotonic() < until:
            looked = time.monotonic()
            if self._at_rest() and not self.judge.unfinished():
                return True
            keep_running()
            time.sleep(max(PAUSE, 3 * (time.monotonic() - looked)))  # a judge that looks all the time is a load
        return False

    def _at_rest(self) -> bool:
        """Whether `once` has finished, or every daemon is ready."""
        if self.plan.arrangement is Arrangement.ONCE:
            return self.system.daemons["once"].process.poll() in DONE
        return self.system.ready()

    def _compare_levels(self, calm: Mapping[str, Level]) -> None:
        until = time.monotonic() + LEVEL_SECONDS * self.patience / self.plan.patience
        while problems := complaints(calm, self.system.levels()):
            if time.monotonic() > until:
                for problem in problems:
                    self._complain(Property.LEVELS, problem)
                return
            time.sleep(0.3)

    def _stop(self) -> None:
        """Stop in good order, which leaves nothing behind."""
        for role, daemon in self.system.daemons.items():
            code = daemon.stop() if role != "once" else daemon.wait()
            if code not in (DONE if role == "once" else (0,)):
                self._complain(Property.RECOVERY, f"{role} stopped with exit code {code}")
        for what in self.system.litter():
            self._complain(Property.LEVELS, f"left behind {what}")

    def _acknowledged(self) -> int:
        return sum(change.acknowledged for change in self.judge.record.changes())

    def _complain(self, broken: Property, what: str) -> None:
        self.result.violations.append(Violation(broken, what))

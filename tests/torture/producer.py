"""Puts, replaces, copies slowly and deletes pictures, good and bad ones, and records each change."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from botocore.exceptions import BotoCoreError, ClientError

from tests.equipment.producer import key_of
from tests.equipment.support import STUCK, wait_until
from tests.torture.pictures import contents
from tests.torture.places import Place
from tests.torture.record import POISONED, Kind, Record

SETTLE = 2.0
"""The daemon's default: a copy that pauses longer may be taken for whole."""
AFTERWARDS = 0.3
"""Mean time between two further changes, in seconds: faults need work to strike at."""


@dataclass(frozen=True)
class Mixture:
    """Of a hundred changes, so many are other than a new healthy picture."""

    poisoned: int = 10
    replaced: int = 12
    deleted: int = 6
    slow: int = 6
    killers: int = 0
    """How many pictures in all kill their worker."""


class Producer(threading.Thread):
    """Makes a number of changes within about so many seconds, and then further ones until it is to finish."""

    def __init__(self, place: Place, record: Record, seed: int, changes: int, seconds: float, mixture: Mixture) -> None:
        super().__init__(name="producer", daemon=True)
        self.place, self.record, self.changes, self.mixture = place, record, changes, mixture
        self.error: BaseException | None = None
        self._random = Random(seed)
        self._pause = seconds / max(1, changes)
        self._ending = threading.Event()
        self._gate = threading.Lock()
        self._numbers = itertools.count(1)
        self._keys: list[str] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is put meanwhile, because the source is not there."""
        with self._gate:
            yield

    def warm_up(self, count: int) -> None:
        """Put a few healthy pictures."""
        for _ in range(count):
            self._change(self._new_key(), Kind.HEALTHY)

    def run(self) -> None:
        """Make the changes."""
        try:
            for left in range(self.changes, 0, -1):
                self._change_something(killer=left <= self.mixture.killers)
                self._ending.wait(self._random.uniform(0, 2 * self._pause))
            while not self._ending.wait(self._random.uniform(0, 2 * AFTERWARDS)):
                self._change_something(killer=False)
        except BaseException as error:
            self.error = error

    def finish(self) -> None:
        """Wait for the last change, without further pauses; raises the producer's error."""
        self._ending.set()
        self.join(STUCK)
        if self.error:
            raise self.error

    def _change_something(self, *, killer: bool) -> None:
        drawn, mixture, random = self._random.uniform(0, 100), self.mixture, self._random
        if killer:
            self._change(self._new_key(of_killer=True), Kind.KILLER)
            return
        for share, change in (
            (mixture.poisoned, lambda: self._change(self._new_key(), random.choice(POISONED[:-1]))),
            (mixture.replaced, lambda: self._change(self._old_key(), self._kind_of_replacement())),
            (mixture.deleted, lambda: self._change(self._old_key(), Kind.DELETED)),
            (mixture.slow, lambda: self._change(self._new_key(), Kind.SLOW)),
        ):
            if drawn < share:
                change()
                return
            drawn -= share
        self._change(self._new_key(), Kind.HEALTHY)

    def _kind_of_replacement(self) -> Kind:
        return Kind.HEALTHY if self._random.random() < 0.7 else self._random.choice(POISONED[:-1])

    def _new_key(self, *, of_killer: bool = False) -> str:
        key = f"killer {len(self._keys)}.png" if of_killer else key_of(len(self._keys))
        self._keys.append(key)
        return key

    def _old_key(self) -> str:
        usual = [key for key in self._keys if not key.startswith("killer")]
        return self._random.choice(usual) if usual else self._new_key()

    def _change(self, key: str, kind: Kind) -> None:
        number = next(self._numbers)
        with self._gate:
            if kind is Kind.SLOW:
                self._copy_slowly(key, number)
                return
            self.record.begin(key, number, kind)
            if kind is Kind.DELETED:
                self._insist(lambda: self.place.delete(key))
            else:
                self._insist(lambda: self.place.put(key, contents(kind, number)))
            self.record.acknowledge(key, number, kind)

    def _copy_slowly(self, key: str, number: int) -> None:
        """A copy that was faster than the settle time is like any other; nobody may have taken it for whole."""
        self.record.begin(key, number, Kind.SLOW)
        pause, data = self._random.uniform(0.1, 0.4), contents(Kind.SLOW, number)
        longest = self.place.copy_slowly(key, data, lambda: time.sleep(pause))
        self.record.acknowledge(key, number, Kind.SLOW if longest > SETTLE / 2 else Kind.HEALTHY)

    @staticmethod
    def _insist(change: Callable[[], None]) -> None:
        """Until it has happened."""

        def happened() -> bool:
            try:
                change()
            except FileNotFoundError:  # deleted before
                return True
            except (OSError, ClientError, BotoCoreError):
                return False
            return True

        wait_until(happened, STUCK, "the source takes nothing", pause=0.1)

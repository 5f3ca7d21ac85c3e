"""The judge: it reads the producer's record and the sink, and knows nothing of alphadrop's code, queue or log."""

from __future__ import annotations

import json
import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tests.torture.pictures import is_cutout, key_of_output
from tests.torture.places import Place
from tests.torture.record import History, Kind, Record, histories

RECORDS = "_failed/"
INTERNAL = "_alphadrop/"
"""Where alphadrop may keep something small of its own."""
SMALL = 4096


class Property(StrEnum):
    """What must hold, whatever happens."""

    COMPLETE = "every acknowledged input has exactly its outputs, or one error record with a true reason"
    NO_SURPLUS = "no output without an input"
    WHOLE = "no partial output is ever visible"
    NO_BLAME = "no healthy image is quarantined"
    RECOVERY = "the backlog drains and /readyz recovers in time"
    LEVELS = "memory, threads, descriptors and temporary files return to their level"


@dataclass(frozen=True)
class Violation:
    """A property that did not hold."""

    property: Property
    what: str

    def __str__(self) -> str:
        return f"{self.property.name}: {self.what}"


@dataclass(frozen=True)
class Judge:
    """Compares the record with the sink. `prefixes` are those of an image's outputs, "" for the plain one."""

    record: Record
    sink: Place
    prefixes: Sequence[str]
    _right: set[tuple[str, Hashable, int]] = field(default_factory=set)
    """Outputs that were right when they were looked at, with their identity and the picture that they show."""

    def unfinished(self) -> list[str]:
        """The keys whose last version does not have its outputs or its error record yet."""
        known = histories(self.record.changes())
        present = self.sink.identities()
        return [key for key, history in known.items() if any(self._complaints(key, history, present))]

    def violations(self) -> list[Violation]:
        """Everything that is wrong with the sink as it is now, at the end."""
        known = histories(self.record.changes())
        present = self.sink.identities()
        return [
            *(
                self._of_missing(history, what)
                for key, history in known.items()
                for what in self._complaints(key, history, present)
            ),
            *(Violation(Property.NO_SURPLUS, f"{key} has no input") for key in self._surplus(known, present)),
        ]

    @staticmethod
    def _of_missing(history: History, what: str) -> Violation:
        blamed = history.last.kind is Kind.HEALTHY and "error record" in what
        return Violation(Property.NO_BLAME if blamed else Property.COMPLETE, what)

    def _complaints(self, key: str, history: History, present: Mapping[str, Hashable]) -> Iterator[str]:
        record = f"{RECORDS}{key}.json"
        last = history.last
        reason = self._reason(record) if record in present else ""
        if last.kind in (Kind.HEALTHY, Kind.SLOW):
            if reason:
                yield f"{key} is healthy and has an error record: {reason}"
            for prefix in self.prefixes:
                yield from self._of_output(key, prefix, {last.number}, present, needed=True)
            return
        if last.kind is not Kind.DELETED and reason != last.kind.reason:
            yield f"{key} is {last.kind} and has {f'the reason {reason}' if reason else 'no error record'}"
        if last.kind is Kind.DELETED and reason and reason not in history.reasons:
            yield f"{key} was deleted, and an error record says {reason}"
        for prefix in self.prefixes:  # an earlier version may have left one
            yield from self._of_output(key, prefix, history.colours, present, needed=False)

    def _of_output(
        self, key: str, prefix: str, numbers: set[int], present: Mapping[str, Hashable], *, needed: bool
    ) -> Iterator[str]:
        output = key_of_output(key, prefix)
        if output not in present:
            if needed:
                yield f"{key} has no output {output}"
            return
        if any((output, present[output], number) in self._right for number in numbers):
            return
        data = self.sink.read(output)
        shown = next((number for number in numbers if data and is_cutout(data, number, prefix)), None)
        if shown is None:
            yield f"{output} does not show {key}, version {sorted(numbers)}"
        else:
            self._right.add((output, present[output], shown))

    def _reason(self, record: str) -> str:
        try:
            return str(json.loads(self.sink.read(record) or b"")["reason"])
        except (ValueError, KeyError):
            return "(damaged)"

    def _surplus(self, known: Mapping[str, History], present: Mapping[str, Hashable]) -> list[str]:
        expected = {key_of_output(key, prefix) for key in known for prefix in self.prefixes}
        expected |= {f"{RECORDS}{key}.json" for key in known}
        return [key for key in present if key not in expected and not self._is_internal(key)]

    def _is_internal(self, key: str) -> bool:
        return key.startswith(INTERNAL) and len(self.sink.read(key) or b"") <= SMALL


class Reader(threading.Thread):
    """A shop that polls the sink while all goes on, and opens whatever is new to it."""

    def __init__(self, judge: Judge, interval: float) -> None:
        super().__init__(name="reader", daemon=True)
        self.judge, self.interval = judge, interval
        self.violations: list[Violation] = []
        self.opened = 0
        """How many files it has opened."""
        self._seen: dict[str, Hashable] = {}
        self._ending = threading.Event()

    def run(self) -> None:
        """Poll until told to stop."""
        while not self._ending.wait(self.interval):
            self.look()

    def finish(self) -> None:
        """Look once more, and end."""
        self._ending.set()
        self.join()
        self.look()

    def look(self) -> None:
        """Open every file that is new or has changed."""
        sink = self.judge.sink
        new = {
            key: identity
            for key, identity in sink.identities().items()
            if self._seen.get(key) != identity and not key.startswith(INTERNAL)
        }
        self._seen |= new
        read = {key: data for key in new if (data := sink.read(key)) is not None}
        if read:
            self.opened += len(read)
            known = histories(self.judge.record.changes())  # afterwards: what was seen was begun before
            self.violations += self._of_files(read, known)

    def _of_files(self, files: Mapping[str, bytes], known: Mapping[str, History]) -> Iterator[Violation]:
        sources = {key_of_output(key, prefix): (key, prefix) for key in known for prefix in self.judge.prefixes}
        for key, data in files.items():
            if key.startswith(RECORDS):
                yield from self._of_record(key, data, known.get(key.removeprefix(RECORDS).removesuffix(".json")))
            elif key not in sources:
                yield Violation(Property.NO_SURPLUS, f"a reader saw {key}, which has no input")
            else:
                source, prefix = sources[key]
                if not any(is_cutout(data, number, prefix) for number in known[source].colours):
                    yield Violation(Property.WHOLE, f"a reader saw {len(data)} bytes of {key}, no cut-out of it")

    @staticmethod
    def _of_record(key: str, data: bytes, history: History | None) -> Iterator[Violation]:
        try:
            reason = json.loads(data)["reason"]
        except (ValueError, KeyError):
            yield Violation(Property.WHOLE, f"a reader saw {len(data)} bytes of {key}, no error record")
            return
        if history is None:
            yield Violation(Property.NO_SURPLUS, f"a reader saw {key}, which has no input")
        elif not history.reasons:
            yield Violation(Property.NO_BLAME, f"a reader saw {key}, whose image was always healthy: {reason}")
        elif reason not in history.reasons:
            yield Violation(Property.COMPLETE, f"a reader saw {key} with the reason {reason}, which is not true")

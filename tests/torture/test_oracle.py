"""The oracle of the campaign on sinks that are written by hand: what is right, and each way to be wrong."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.fake_engine import cut_out
from tests.equipment.daemon import colour, photo
from tests.torture.draws import draw
from tests.torture.faults import FAULTS
from tests.torture.judge import Judge, Property, Reader
from tests.torture.levels import Level, complaints
from tests.torture.pictures import contents, key_of_output
from tests.torture.places import Folder
from tests.torture.plans import MOST_DEATHS, Arrangement
from tests.torture.producer import Mixture, Producer
from tests.torture.record import Kind, Record, histories


def cutout(number: int) -> bytes:
    """A right output of the picture with that number."""
    with Image.open(io.BytesIO(photo(colour(number)))) as image:
        pixels = cut_out(np.asarray(image))
    pixels[pixels[..., 3] == 0] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def error_record(reason: str) -> bytes:
    return json.dumps({"key": "a.png", "reason": reason}).encode()


@dataclass(frozen=True)
class Bench:
    """A record and a sink."""

    record: Record
    sink: Folder

    @property
    def judge(self) -> Judge:
        return Judge(self.record, self.sink, ("",))

    def put(self, key: str, number: int, kind: Kind = Kind.HEALTHY) -> None:
        self.record.begin(key, number, kind)
        self.record.acknowledge(key, number, kind)

    def verdict(self) -> list[Property]:
        return [violation.property for violation in self.judge.violations()]

    def seen(self) -> list[Property]:
        """What a reader complains of that looks once."""
        reader = Reader(self.judge, 1.0)
        reader.look()
        return [violation.property for violation in reader.violations]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "sink").mkdir()
    return Bench(Record(tmp_path / "record.jsonl"), Folder(tmp_path / "sink"))


def test_a_sink_with_everything_is_right(bench: Bench) -> None:
    bench.put("a.png", 1)
    bench.put("b.png", 2, Kind.TRUNCATED)
    bench.put("c.png", 3)
    bench.put("c.png", 4, Kind.DELETED)
    bench.put("d.png", 5)
    bench.put("d.png", 6, Kind.GARBAGE)
    bench.sink.put("a.png", cutout(1))
    bench.sink.put("_failed/b.png.json", error_record("truncated"))
    bench.sink.put("d.png", cutout(5))
    bench.sink.put("_failed/d.png.json", error_record("not_a_picture"))
    bench.sink.put("_alphadrop/recipe-1", b"small")
    assert (bench.verdict(), bench.seen(), bench.judge.unfinished()) == ([], [], [])


def put_with_a_false_reason(bench: Bench) -> None:
    bench.put("b.png", 2, Kind.EMPTY)
    bench.sink.put("_failed/b.png.json", error_record("truncated"))


WRONG: dict[str, tuple[Callable[[Bench], None], Property, Property | None]] = {
    "no output": (lambda bench: bench.put("b.png", 2), Property.COMPLETE, None),
    "output of an older version": (lambda bench: bench.put("a.png", 2), Property.COMPLETE, None),
    "output of another image": (
        lambda bench: bench.sink.put("a.png", cutout(7)),
        Property.COMPLETE,
        Property.WHOLE,
    ),
    "half an output": (lambda bench: bench.sink.put("a.png", cutout(1)[:-40]), Property.COMPLETE, Property.WHOLE),
    "output without an input": (
        lambda bench: bench.sink.put("x.png", cutout(1)),
        Property.NO_SURPLUS,
        Property.NO_SURPLUS,
    ),
    "something large of its own": (
        lambda bench: bench.sink.put("_alphadrop/large", bytes(5000)),
        Property.NO_SURPLUS,
        None,
    ),
    "healthy and rejected": (
        lambda bench: bench.sink.put("_failed/a.png.json", error_record("truncated")),
        Property.NO_BLAME,
        Property.NO_BLAME,
    ),
    "half an error record": (
        lambda bench: bench.sink.put("_failed/a.png.json", error_record("truncated")[:9]),
        Property.NO_BLAME,
        Property.WHOLE,
    ),
    "poisoned without an error record": (
        lambda bench: bench.put("b.png", 2, Kind.EMPTY),
        Property.COMPLETE,
        None,
    ),
    "a reason that is not true": (
        put_with_a_false_reason,
        Property.COMPLETE,
        Property.COMPLETE,
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_each_way_to_be_wrong_is_found(bench: Bench, what: str) -> None:
    bench.put("a.png", 1)
    bench.sink.put("a.png", cutout(1))
    make_wrong, broken, seen = WRONG[what]
    make_wrong(bench)
    assert bench.verdict() == [broken]
    assert bench.seen() == ([] if seen is None else [seen])


def test_what_is_not_acknowledged_may_be_there_or_not(bench: Bench) -> None:
    bench.record.begin("a.png", 1, Kind.HEALTHY)
    bench.sink.put("a.png", cutout(1))
    assert bench.seen() == []


def test_a_reader_opens_a_file_again_only_when_it_has_changed(bench: Bench) -> None:
    bench.put("a.png", 1)
    bench.sink.put("a.png", cutout(1))
    reader = Reader(bench.judge, 1.0)
    reader.look()
    reader.look()
    assert reader.opened == 1
    bench.sink.put("a.png", cutout(1))
    reader.look()
    assert reader.opened == 2


def test_levels_have_some_slack_and_no_more() -> None:
    before = Level(100 << 20, 10, 20)
    assert complaints({"worker": before}, {"worker": Level(140 << 20, 15, 30), "other": before}) == []
    assert complaints({"worker": before}, {"worker": Level(300 << 20, 40, 90)}) == [
        f"worker's rss: {300 << 20:,} after {100 << 20:,}",
        "worker's threads: 40 after 10",
        "worker's descriptors: 90 after 20",
    ]


def test_the_producer_records_what_it_does(tmp_path: Path) -> None:
    source, record = Folder(tmp_path / "source"), Record(tmp_path / "record.jsonl")
    producer = Producer(source, record, 5, 60, 0.0, Mixture(poisoned=30, replaced=20, deleted=10, slow=0, killers=1))
    producer.start()
    producer.finish()
    known = histories(record.changes())
    assert {key for key, history in known.items() if history.last.kind is not Kind.DELETED} == set(source.identities())
    for key, history in known.items():
        if history.last.kind is not Kind.DELETED:
            assert source.read(key) == contents(history.last.kind, history.last.number), key
    assert {change.kind for change in record.changes()} > {Kind.HEALTHY, Kind.KILLER, Kind.DELETED, Kind.TRUNCATED}
    assert len({key_of_output(key) for key in known}) == len(known), "each key has an output of its own"


def test_the_same_seed_draws_the_same_plan_and_many_draw_every_fault() -> None:
    assert draw(5) == draw(5) != draw(6)
    plans = [draw(seed) for seed in range(600)]
    assert {name for plan in plans for name in plan.faults} == {
        name for name, fault in FAULTS.items() if any(map(fault.fits, Arrangement))
    }
    assert {plan.arrangement for plan in plans} == set(Arrangement)
    assert all(sum(FAULTS[name].deaths for name in plan.faults) <= MOST_DEATHS for plan in plans)

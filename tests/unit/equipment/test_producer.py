"""The producer tells of every picture, in the ways that stores do."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.equipment.producer import Plan, key_of, produce
from tests.unit.equipment.clients import keys
from watcher.core.errors import SourceMissing
from watcher.sources.events import WriteEvent, parse
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.web.app import create_app
from watcher.web.events import events_route
from watcher.web.server import HttpServer

TOKEN = "s3cret"


class Desk:
    """Takes events, but not the first three times."""

    def __init__(self) -> None:
        self.events: list[WriteEvent] = []
        self.refusals = 3
        self._lock = threading.Lock()

    def accept(self, body: bytes) -> None:
        with self._lock:
            if self.refusals:
                self.refusals -= 1
                raise SourceMissing("not yet")
            self.events += parse(body)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def plan(moto: int, bucket: str, tmp_path: Path, desk: Desk) -> Iterator[Plan]:
    """Pictures of which a webhook is told."""
    server = HttpServer(create_app(Metrics(), Health(), [events_route(TOKEN, desk.accept)]), "127.0.0.1", 0)
    server.start()
    events, listing = f"http://127.0.0.1:{server.port}/events", tmp_path / "put.jsonl"
    yield Plan(f"http://127.0.0.1:{moto}", bucket, 24, listing, rate=1e6, events=events, token=TOKEN)
    server.stop()


def test_a_webhook_is_told_until_it_has_taken_every_event(plan: Plan, desk: Desk, behind: Any) -> None:
    produce(plan)

    assert sorted(event.key for event in desk.events) == keys(behind, plan.bucket)
    versions = {
        found["Key"]: found["ETag"].strip('"') for found in behind.list_objects_v2(Bucket=plan.bucket)["Contents"]
    }
    assert {event.key: event.version for event in desk.events} == versions
    assert not desk.refusals


def test_events_come_twice(plan: Plan, desk: Desk, behind: Any) -> None:
    produce(replace(plan, twice=True))

    told = Counter(event.key for event in desk.events)
    assert sorted(told) == keys(behind, plan.bucket)
    assert set(told.values()) == {2}


def test_events_come_in_another_order_and_none_is_lost(plan: Plan, desk: Desk, behind: Any) -> None:
    produce(replace(plan, shuffled=8, threads=1))

    told = [event.key for event in desk.events]
    assert told != [f"in/{key_of(number)}" for number in range(plan.count)]
    assert sorted(told) == keys(behind, plan.bucket)

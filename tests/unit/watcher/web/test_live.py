"""Who watches is told what changes; who does not read is dropped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from watcher.web import live as module
from watcher.web.errors import ApiError
from watcher.web.live import QUEUED_EVENTS, Client, Live


class Daemon:
    """What the events are about."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {"backlog": 0}
        self.reads: list[list[str]] = []

    def read_items(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        self.reads.append(list(ids))
        return [{"id": id} for id in ids]

    def read_status(self) -> dict[str, Any]:
        return dict(self.status)


async def fetch(function: Callable[..., Any], argument: Any) -> Any:
    return function(argument)


def parsed(text: str) -> tuple[str, Any]:
    """Name and content of an event."""
    name, data, *_ = text.splitlines()
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
def live(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Live:
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.01)
    monkeypatch.setattr(module, "STATUS_SECONDS", 0.05)
    return Live(daemon.read_items, daemon.read_status, fetch)


def test_a_client_hears_of_status_and_items(live: Live, daemon: Daemon) -> None:
    async def watch() -> list[tuple[str, Any]]:
        stream = await live.events()
        assert (await anext(stream)).startswith("retry:")
        seen = [parsed(await anext(stream))]
        for id in ("a", "b", "a"):
            live.changed(id)
        seen += [parsed(await anext(stream)) for _ in range(2)]
        daemon.status["backlog"] = 7
        seen.append(parsed(await anext(stream)))
        live.close()
        assert [text async for text in stream if text.startswith("event: item")] == []
        return seen

    assert asyncio.run(watch()) == [
        ("status", {"backlog": 0}),
        ("item", {"id": "a"}),
        ("item", {"id": "b"}),
        ("status", {"backlog": 7}),
    ]
    assert daemon.reads == [["a", "b"]], "changes are gathered"


def test_a_second_client_gets_the_status_at_once(live: Live) -> None:
    async def watch() -> tuple[str, Any]:
        first, second = await live.events(), await live.events()
        for stream in (first, second):
            await anext(stream)
        await anext(first)
        seen = parsed(await anext(second))
        live.close()
        return seen

    assert asyncio.run(watch()) == ("status", {"backlog": 0})


def test_nothing_is_read_while_nobody_watches(live: Live, daemon: Daemon) -> None:
    async def watch() -> None:
        live.changed("early")
        stream = await live.events()
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        assert live.clients == 0 and live._task is not None
        await live._task
        live.changed("late")
        assert live._changed == {}

    asyncio.run(watch())
    assert daemon.reads == []


def test_a_flood_of_changes_is_one_event(live: Live, daemon: Daemon) -> None:
    async def watch() -> tuple[str, Any]:
        stream = await live.events()
        await anext(stream)
        await anext(stream)
        for number in range(1000):
            live.changed(str(number))
        seen = parsed(await anext(stream))
        live.close()
        return seen

    assert asyncio.run(watch()) == ("reload", {"changed": 1000})
    assert daemon.reads == []


def test_a_client_that_does_not_read_is_dropped_and_the_others_are_served() -> None:
    async def fill() -> None:
        slow, quick = Client(), Client()
        for number in range(3 * QUEUED_EVENTS):
            for client in (slow, quick):
                if not client.is_dropped:
                    client.send(str(number))
            assert await quick.queue.get() == str(number)
        assert slow.is_dropped and slow.queue.qsize() == 1 and await slow.queue.get() is None

    asyncio.run(fill())


def test_too_many_clients_are_refused(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CLIENTS", 1)

    async def watch() -> ApiError:
        stream = await live.events()
        await anext(stream)
        with pytest.raises(ApiError) as caught:
            await live.events()
        live.close()
        return caught.value

    assert asyncio.run(watch()).status == 429

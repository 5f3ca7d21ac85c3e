"""What changes while somebody watches, as server-sent events.

Nothing of this runs while nobody watches. A client that does not read is dropped, and its browser connects again.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from watcher.web.errors import too_many

MOST_CLIENTS = 64
"""Clients that watch at a time."""
QUEUED_EVENTS = 256
"""Events that a client may be behind."""
STATUS_SECONDS = 1.0
"""Shortest time between two events of the status."""
GATHER_SECONDS = 0.2
"""Time in which changes of items are gathered into one look at the list."""
MOST_ITEMS = 100
"""Items that are sent at once; where more have changed, clients are asked to read the list again."""
PING_SECONDS = 15.0
"""Longest silence: proxies close a connection that is quiet for longer."""

Fetch = Callable[[Callable[..., Any], Any], Awaitable[Any]]


class Client:
    """One connection that watches."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str | None] = asyncio.Queue(QUEUED_EVENTS)
        self.is_dropped = False

    def send(self, text: str) -> None:
        """Queue an event; a client that is too far behind is dropped."""
        try:
            self.queue.put_nowait(text)
        except asyncio.QueueFull:
            self.end()

    def end(self) -> None:
        """Send nothing more, and close the connection once it reads again."""
        self.is_dropped = True
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class Live:
    """Sends clients what has changed. `changed` is for any thread; everything else is for the server's event loop."""

    def __init__(
        self,
        read_items: Callable[[Sequence[str]], list[dict[str, Any]]],
        read_status: Callable[[], dict[str, Any]],
        fetch: Fetch,
    ) -> None:
        """`read_items` and `read_status` are called in a thread by `fetch`."""
        self._read_items, self._read_status, self._fetch = read_items, read_status, fetch
        self._lock = threading.Lock()
        self._changed: dict[str, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clients: set[Client] = set()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def clients(self) -> int:
        """Clients that watch now."""
        return len(self._clients)

    def changed(self, id: str) -> None:
        """Announce that an item has changed. Costs nothing while nobody watches."""
        loop = self._loop
        if loop is None or not self._clients:
            return
        with self._lock:
            is_first = not self._changed
            self._changed[id] = None
        if is_first:
            with suppress(RuntimeError):  # the server has stopped
                loop.call_soon_threadsafe(self._wake.set)

    def close(self) -> None:
        """End every connection, because the server is about to stop. For any thread."""
        self._closed = True
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._end_all)

    def _end_all(self) -> None:
        for client in list(self._clients):
            client.end()

    async def events(self) -> AsyncIterator[str]:
        """The stream of one client, as text/event-stream. Raises ApiError where too many watch already."""
        if len(self._clients) >= MOST_CLIENTS:
            raise too_many("too_many_watchers", f"{MOST_CLIENTS} clients watch already")
        client = Client()
        self._join(client)
        return self._stream(client)

    async def _stream(self, client: Client) -> AsyncIterator[str]:
        try:
            yield "retry: 3000\n\n"
            while not self._closed:
                try:
                    async with asyncio.timeout(PING_SECONDS):
                        text = await client.queue.get()
                except TimeoutError:
                    text = ": still here\n\n"
                if text is None:
                    return
                yield text
        finally:
            self._clients.discard(client)
            self._wake.set()

    def _join(self, client: Client) -> None:
        self._loop = asyncio.get_running_loop()
        self._clients.add(client)
        if self._task is None or self._task.done():
            self._wake = asyncio.Event()
            self._task = self._loop.create_task(self._run())
        else:
            self._loop.create_task(self._greet(client))

    async def _greet(self, client: Client) -> None:
        """Send the status to a client that has just come."""
        client.send(_event("status", await self._fetch(lambda _: self._read_status(), None)))

    async def _run(self) -> None:
        """Send updates to the clients until none is left."""
        last, due = "", 0.0
        while self._clients and not self._closed:
            now = time.monotonic()
            if now >= due:
                due = now + STATUS_SECONDS
                text = _event("status", await self._fetch(lambda _: self._read_status(), None))
                if text != last:
                    self._send(text)
                last = text
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - time.monotonic())):
                    await self._wake.wait()
                    self._wake.clear()
                    await asyncio.sleep(GATHER_SECONDS)
            await self._send_items()

    async def _send_items(self) -> None:
        with self._lock:
            ids, self._changed = list(self._changed), {}
        if len(ids) > MOST_ITEMS:
            self._send(_event("reload", {"changed": len(ids)}))
        elif ids:
            for item in await self._fetch(self._read_items, ids):
                self._send(_event("item", item))

    def _send(self, text: str) -> None:
        for client in list(self._clients):
            if not client.is_dropped:
                client.send(text)


def _event(name: str, content: Any) -> str:
    """An event of a text/event-stream; ASCII, so that no line break but ours is in it."""
    return f"event: {name}\ndata: {json.dumps(content, separators=(',', ':'))}\n\n"

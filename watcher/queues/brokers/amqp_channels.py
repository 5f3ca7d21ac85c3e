"""What goes over a RabbitMQ connection. Messages are taken one by one: nothing is in hand that nobody asked for.

A queue counts how often it has handed out each message, and a message that lay unused in a process when that was killed
has been handed out like any other. So there is no prefetched heap: the taker gets what is there, and only where there
is nothing stands a consumer at the queue, for one message and for as long as it is waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pika
from pika.spec import Basic

from watcher.core.errors import Unavailable
from watcher.queues.brokers.amqp_line import Channel, Session
from watcher.queues.brokers.base import Message


@dataclass(frozen=True, slots=True)
class Delivery:
    """What RabbitMQ knows a delivery by: a number that is worth something in its own session only."""

    session: Session
    tag: int


class Taker:
    """Takes messages, and knows which of them are ours."""

    def __init__(self, session: Session, channel: Channel, queue: str) -> None:
        self.session, self.channel, self._queue = session, channel, queue
        self.held: set[int] = set()
        """The tags of what is delivered and not acknowledged."""
        self._turn = asyncio.Lock()
        self._bell: asyncio.Future[Message] | None = None
        self._got: asyncio.Future[Message | None] | None = None

    @classmethod
    async def open(cls, session: Session, queue: str) -> Taker:
        """On a channel of its own, whose end is the session's: with it goes all that is in hand."""
        channel = await session.channel()
        taker = cls(session, channel, queue)
        channel.closed.add_done_callback(lambda closed: session.end(closed.result()))
        channel.raw.add_on_cancel_callback(lambda _: session.end(Unavailable(f"the queue {queue} was taken away")))
        channel.raw.add_callback(lambda _: taker._answer(None), [Basic.GetEmpty], one_shot=False)
        await channel.ask("basic_qos", prefetch_count=1)
        return taker

    def holds(self, message: Message) -> bool:
        """Whether it is still ours."""
        delivery: Delivery = message.handle
        return delivery.session is self.session and delivery.tag in self.held

    async def take(self, limit: int, wait: float) -> list[Message]:
        """Up to `limit` messages; the first may be waited for."""
        if limit < 1:
            return []
        async with self._turn:
            messages = await self._take_there(limit)
            if not messages and wait > 0 and (rung := await self._ring(wait)):
                messages = [rung, *await self._take_there(limit - 1)]
            return messages

    async def _take_there(self, limit: int) -> list[Message]:
        messages: list[Message] = []
        while len(messages) < limit and (message := await self._take_one()):
            messages.append(message)
        return messages

    async def _take_one(self) -> Message | None:
        self._got = asyncio.get_running_loop().create_future()
        self.channel.raw.basic_get(self._queue, lambda _, *parts: self._answer(self._message(*parts)))
        return await self.channel.answer(self._got)

    def _answer(self, message: Message | None) -> None:
        if self._got and not self._got.done():
            self._got.set_result(message)

    async def _ring(self, wait: float) -> Message | None:
        """Wait for one message at a consumer. It uses up the prefetch, so nothing follows."""
        bell = self._bell = asyncio.get_running_loop().create_future()
        callback: Callable[..., None] = lambda _, *parts: bell.set_result(self._message(*parts))  # noqa: E731
        answer = await self.channel.ask("basic_consume", queue=self._queue, on_message_callback=callback)
        await self.channel.wait_for(bell, wait)
        await self._leave(answer.method.consumer_tag)
        return bell.result() if bell.done() else None

    async def _leave(self, consumer_tag: str) -> None:
        """Cancel the consumer: what it got while nobody asks would be nobody's.

        What is on its way to us comes before the answer, and in time. What has only just left the queue inside the
        server is taken back there, and counted as a delivery: less than a millisecond at the end of each wait.
        """
        left: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.channel.raw.basic_cancel(consumer_tag, left.set_result)
        # pika would refuse the former, which the queue counts as well: let it believe that nobody is leaving yet.
        self.channel.raw._cancelled.discard(consumer_tag)
        await self.channel.answer(left)

    def _message(self, method: Any, properties: Any, body: bytes) -> Message:
        self.held.add(method.delivery_tag)
        failed: int | None = (properties.headers or {}).get("x-delivery-count")
        deliveries = 1 + failed if failed is not None else 1 + bool(method.redelivered)
        return Message(body, Delivery(self.session, method.delivery_tag), deliveries, float(properties.timestamp or 0))


class Publisher:
    """Sends messages to the queue, and hears of each whether the server has it."""

    def __init__(self, session: Session, channel: Channel, queue: str) -> None:
        self.session, self._channel, self._queue = session, channel, queue
        self._sent = 0
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}

    @classmethod
    async def open(cls, session: Session, queue: str) -> Publisher:
        """On a channel of its own."""
        publisher = cls(session, await session.channel(), queue)
        publisher._channel.raw.add_on_return_callback(publisher._returned)
        await publisher._channel.ask("confirm_delivery", ack_nack_callback=publisher._confirmed)
        return publisher

    @property
    def broken(self) -> bool:
        """Whether another one is to be opened."""
        return self._channel.closed.done()

    async def publish(self, bodies: Sequence[bytes]) -> None:
        """Send them all, then wait for all the answers. Raises Unavailable, or pika's errors."""
        answers = [self._publish(body) for body in bodies]
        await self._channel.answer(asyncio.gather(*answers))

    def _publish(self, body: bytes) -> asyncio.Future[None]:
        self._sent += 1
        answer = self._unconfirmed[self._sent] = asyncio.get_running_loop().create_future()
        properties = pika.BasicProperties(
            delivery_mode=pika.DeliveryMode.Persistent,
            content_type="application/json",
            timestamp=int(time.time()),
            message_id=str(self._sent),
        )
        self._channel.raw.basic_publish("", self._queue, body, properties, mandatory=True)
        return answer

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        tags = [tag for tag in self._unconfirmed if tag <= method.delivery_tag] if method.multiple else None
        for tag in tags if tags is not None else [method.delivery_tag]:
            self._settle(tag, "the server did not take it" if isinstance(method, Basic.Nack) else "")

    def _returned(self, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        problem = f"the queue {self._queue} is not there any more"
        self._settle(int(properties.message_id), problem)
        self.session.end(Unavailable(problem))  # the next one declares it

    def _settle(self, tag: int, problem: str) -> None:
        answer = self._unconfirmed.pop(tag, None)
        if answer is None or answer.done():
            return
        if problem:
            answer.set_exception(Unavailable(f"a message for {self._queue} is not sent: {problem}"))
        else:
            answer.set_result(None)

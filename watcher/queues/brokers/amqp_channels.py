"""The channels of a RabbitMQ connection: one consumes messages, one publishes them.

A quorum queue counts the deliveries of each message. A message that lies prefetched in a process when the process is
killed counts as delivered, too, and would make its image a crash suspect. So nothing is prefetched: `Consumer` fetches
messages one by one with `basic.get`, and only while the queue is empty subscribes to it, for one message.
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
from watcher.queues.brokers.amqp_connection import Channel, Session
from watcher.queues.brokers.base import Message


@dataclass(frozen=True, slots=True)
class Delivery:
    """Identifies a delivery: a tag that is valid in its own session only."""

    session: Session
    tag: int


class Consumer:
    """Receives messages, and knows which of them are unacknowledged."""

    def __init__(self, session: Session, channel: Channel, queue: str) -> None:
        self.session, self.channel, self._queue = session, channel, queue
        self.unacknowledged: set[int] = set()
        """The tags of deliveries that are not acknowledged."""
        self._lock = asyncio.Lock()
        self._delivered: asyncio.Future[Message] | None = None
        self._got: asyncio.Future[Message | None] | None = None

    @classmethod
    async def open(cls, session: Session, queue: str) -> Consumer:
        """Open on a channel of its own. If it closes, the session ends, since its deliveries are lost."""
        channel = await session.channel()
        consumer = cls(session, channel, queue)
        channel.closed.add_done_callback(lambda closed: session.end(closed.result()))
        channel.raw.add_on_cancel_callback(lambda _: session.end(Unavailable(f"the queue {queue} was deleted")))
        channel.raw.add_callback(lambda _: consumer._answer(None), [Basic.GetEmpty], one_shot=False)
        await channel.ask("basic_qos", prefetch_count=1)
        return consumer

    def holds(self, message: Message) -> bool:
        """Whether a message is still ours."""
        delivery: Delivery = message.handle
        return delivery.session is self.session and delivery.tag in self.unacknowledged

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """Receive up to `limit` messages, and wait up to `wait` seconds for the first."""
        if limit < 1:
            return []
        async with self._lock:
            messages = await self._get_available(limit)
            if not messages and wait > 0 and (first := await self._wait_for_delivery(wait)):
                messages = [first, *await self._get_available(limit - 1)]
            return messages

    async def _get_available(self, limit: int) -> list[Message]:
        messages: list[Message] = []
        while len(messages) < limit and (message := await self._get_one()):
            messages.append(message)
        return messages

    async def _get_one(self) -> Message | None:
        self._got = asyncio.get_running_loop().create_future()
        self.channel.raw.basic_get(self._queue, lambda _, *parts: self._answer(self._message(*parts)))
        return await self.channel.answer(self._got)

    def _answer(self, message: Message | None) -> None:
        if self._got and not self._got.done():
            self._got.set_result(message)

    async def _wait_for_delivery(self, wait: float) -> Message | None:
        """Subscribe until one message is delivered. The prefetch count of 1 keeps a second one away."""
        delivered = self._delivered = asyncio.get_running_loop().create_future()
        callback: Callable[..., None] = lambda _, *parts: delivered.set_result(self._message(*parts))  # noqa: E731
        answer = await self.channel.ask("basic_consume", queue=self._queue, on_message_callback=callback)
        await self.channel.wait_for(delivered, wait)
        await self._cancel(answer.method.consumer_tag)
        return delivered.result() if delivered.done() else None

    async def _cancel(self, consumer_tag: str) -> None:
        """Cancel the subscription, so that no message is delivered while nobody waits for one.

        A message that was sent before arrives before the server's answer. One that leaves the queue inside the server
        during the cancellation, within less than a millisecond, is requeued there and counts as delivered.
        """
        left: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.channel.raw.basic_cancel(consumer_tag, left.set_result)
        # pika rejects messages of a cancelled consumer, which counts as a delivery: hide the cancellation from it.
        self.channel.raw._cancelled.discard(consumer_tag)
        await self.channel.answer(left)

    def _message(self, method: Any, properties: Any, body: bytes) -> Message:
        self.unacknowledged.add(method.delivery_tag)
        failed: int | None = (properties.headers or {}).get("x-delivery-count")
        deliveries = 1 + failed if failed is not None else 1 + bool(method.redelivered)
        return Message(body, Delivery(self.session, method.delivery_tag), deliveries, float(properties.timestamp or 0))


class Publisher:
    """Publishes messages to a queue, or to an exchange under a routing key, with publisher confirms."""

    def __init__(self, session: Session, channel: Channel, key: str, exchange: str) -> None:
        self.session, self._channel, self._key, self._exchange = session, channel, key, exchange
        self._place = f"exchange {exchange}" if exchange else f"queue {key}"
        self._sent = 0
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}

    @classmethod
    async def open(cls, session: Session, key: str, exchange: str = "") -> Publisher:
        """Open on a channel of its own. Without an exchange, `key` is the name of the queue."""
        publisher = cls(session, await session.channel(), key, exchange)
        publisher._channel.raw.add_on_return_callback(publisher._returned)
        await publisher._channel.ask("confirm_delivery", ack_nack_callback=publisher._confirmed)
        return publisher

    @property
    def broken(self) -> bool:
        """Whether the channel is closed, so that another publisher is needed."""
        return self._channel.closed.done()

    async def publish(self, bodies: Sequence[bytes]) -> None:
        """Publish all, then wait until all are confirmed. Raises Unavailable, or pika's errors."""
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
        self._channel.raw.basic_publish(self._exchange, self._key, body, properties, mandatory=True)
        return answer

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        tags = [tag for tag in self._unconfirmed if tag <= method.delivery_tag] if method.multiple else None
        for tag in tags if tags is not None else [method.delivery_tag]:
            self._settle(tag, "the server refused it" if isinstance(method, Basic.Nack) else "")

    def _returned(self, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        if self._exchange:
            self._settle(int(properties.message_id), f"no queue is bound to it for the routing key {self._key}")
            return
        problem = f"the {self._place} does not exist any more"
        self._settle(int(properties.message_id), problem)
        self.session.end(Unavailable(problem))  # the next session declares the queue

    def _settle(self, tag: int, problem: str) -> None:
        answer = self._unconfirmed.pop(tag, None)
        if answer is None or answer.done():
            return
        if problem:
            answer.set_exception(Unavailable(f"a message for the {self._place} was not sent: {problem}"))
        else:
            answer.set_result(None)

"""RabbitMQ: a durable quorum queue, which counts the deliveries of each message."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from watcher.queues.brokers.address import AmqpAddress
from watcher.queues.brokers.amqp_channels import Consumer, Publisher
from watcher.queues.brokers.amqp_connection import HEARTBEAT, NOT_FOUND, AmqpConnection, Session
from watcher.queues.brokers.base import Depth, Message

PRECONDITION_FAILED = 406
PUBLISH_BATCH = 200
"""Messages that are published before their confirmations are awaited."""
_QUORUM = {"x-queue-type": "quorum"}


class AmqpBroker:
    """A `Broker` on one queue of a RabbitMQ server, which need not run yet.

    A missing queue is declared: durable, quorum, with the queue NAME.dead for dead letters. An existing queue is used
    as it is. At most `max_unacknowledged` messages are in flight at a time.
    """

    def __init__(
        self, address: AmqpAddress, *, max_unacknowledged: int, heartbeat: int = HEARTBEAT, visible: bool = True
    ) -> None:
        self._address, self._max_unacknowledged = address, max_unacknowledged
        self._consumer: Consumer | None = None
        self._publisher: Publisher | None = None
        self._connection = AmqpConnection(address, self._prepare, heartbeat, visible=visible)

    @property
    def name(self) -> str:
        """See `Broker.name`."""
        return self._address.name

    @property
    def visibility(self) -> None:
        """See `Broker.visibility`: None, since deliveries are ours until we disconnect."""

    def receive(self, limit: int, wait: float) -> list[Message]:
        """See `Broker.receive`."""

        async def receive(session: Session) -> list[Message]:
            consumer = self._consumer_of(session)
            room = self._max_unacknowledged - len(consumer.unacknowledged)
            return await consumer.receive(min(limit, room), wait)

        return self._connection.call(receive)

    def acknowledge(self, messages: Sequence[Message]) -> list[Message]:
        """See `Broker.acknowledge`. RabbitMQ does not confirm: if it dies before it reads one, it redelivers."""
        return self._each(messages, lambda raw, tag: raw.basic_ack(tag))

    def requeue(self, messages: Sequence[Message]) -> None:
        """See `Broker.requeue`."""
        self._each(messages, lambda raw, tag: raw.basic_nack(tag, requeue=True))

    def dead_letter(self, message: Message) -> None:
        """See `Broker.dead_letter`."""
        self._each([message], lambda raw, tag: raw.basic_reject(tag, requeue=False))

    def extend(self, messages: Sequence[Message]) -> list[Message]:
        """See `Broker.extend`. There is no timeout; only the deliveries of a lost connection are no longer ours."""

        async def find_lost(session: Session) -> list[Message]:
            consumer = self._consumer_of(session)
            return [message for message in messages if not consumer.holds(message)]

        return self._connection.call(find_lost)

    def send(self, bodies: Sequence[bytes]) -> None:
        """See `Broker.send`. The server has confirmed each message when this returns."""

        async def send(session: Session) -> None:
            if self._publisher is None or self._publisher.session is not session or self._publisher.broken:
                self._publisher = await Publisher.open(session, self._address.queue)
            for start in range(0, len(bodies), PUBLISH_BATCH):
                await self._publisher.publish(bodies[start : start + PUBLISH_BATCH])

        self._connection.call(send)

    def depth(self) -> Depth:
        """See `Broker.depth`. `in_flight` counts this connection only: AMQP does not report the others."""

        async def depth(session: Session) -> Depth:
            channel = await session.channel()
            try:
                answer = await channel.ask("queue_declare", queue=self._address.queue, passive=True)
            except ChannelClosedByBroker as error:
                if error.reply_code == NOT_FOUND:
                    session.end(error)  # the next session declares the queue
                raise
            channel.raw.close()
            unacknowledged = len(self._consumer_of(session).unacknowledged)
            return Depth(answer.method.message_count, unacknowledged, in_flight_everywhere=False)

        return self._connection.call(depth)

    def routes_by_pattern(self) -> bool:
        """Whether the exchange of the address passes messages on to queues that are bound by a pattern.

        True where this user may not ask. Existing exchanges are not changed.
        """

        async def find_out(session: Session) -> bool:
            for kind, durable in itertools.product(("topic", "fanout"), (True, False)):
                try:
                    exchange = self._address.exchange
                    await _once(session, "exchange_declare", exchange=exchange, exchange_type=kind, durable=durable)
                except ChannelClosedByBroker as error:
                    if error.reply_code != PRECONDITION_FAILED:
                        return True
                else:
                    return True
            return False

        return self._connection.call(find_out)

    def close(self) -> None:
        """See `Broker.close`. Messages are redelivered at once."""
        self._connection.close()

    def _each(self, messages: Sequence[Message], do: Callable[[Any, int], None]) -> list[Message]:
        """Settle each message that is still ours, and return the others."""

        async def settle(session: Session) -> list[Message]:
            consumer = self._consumer_of(session)
            ours = [message for message in messages if consumer.holds(message)]
            for message in ours:
                do(consumer.channel.raw, message.handle.tag)
                consumer.unacknowledged.discard(message.handle.tag)
            return [message for message in messages if message not in ours]

        return self._connection.call(settle)

    def _consumer_of(self, session: Session) -> Consumer:
        assert self._consumer is not None and self._consumer.session is session, (
            "a session is prepared before it is used"
        )
        return self._consumer

    async def _prepare(self, session: Session) -> None:
        await declare(session, self._address)
        self._consumer = await Consumer.open(session, self._address.queue)


async def declare(session: Session, address: AmqpAddress) -> None:
    """Declare the queue, its dead-letter queue and its binding, if they are missing. Raises pika's errors."""
    dead = f"{address.queue}.dead"
    if not await _exists(session, "queue_declare", queue=address.queue):
        dead_lettering = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
        if not await _exists(session, "queue_declare", queue=dead):
            await _once(session, "queue_declare", queue=dead, durable=True, arguments=_QUORUM)
        await _once(session, "queue_declare", queue=address.queue, durable=True, arguments=_QUORUM | dead_lettering)
    if address.exchange:
        await declare_exchange(session, address.exchange)
        key = address.routing_key
        await _once(session, "queue_bind", queue=address.queue, exchange=address.exchange, routing_key=key)


async def declare_exchange(session: Session, exchange: str) -> None:
    """Declare a durable topic exchange, if there is none of that name. Raises pika's errors."""
    if not await _exists(session, "exchange_declare", exchange=exchange):
        await _once(session, "exchange_declare", exchange=exchange, exchange_type="topic", durable=True)


async def declare_queue(session: Session, queue: str) -> None:
    """Declare a durable quorum queue without dead letters, if there is none of that name. Raises pika's errors."""
    if not await _exists(session, "queue_declare", queue=queue):
        await _once(session, "queue_declare", queue=queue, durable=True, arguments=_QUORUM)


async def _exists(session: Session, method: str, **names: str) -> bool:
    try:
        await _once(session, method, **names, passive=True)
    except ChannelClosedByBroker as error:
        if error.reply_code != NOT_FOUND:
            raise
        return False
    return True


async def _once(session: Session, method: str, **arguments: Any) -> None:
    """Call one method on a channel of its own, because a refusal closes the channel."""
    channel = await session.channel()
    await channel.ask(method, **arguments)
    channel.raw.close()

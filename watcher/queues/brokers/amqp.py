"""RabbitMQ: a durable quorum queue, which counts how often it hands out each message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from watcher.queues.brokers.address import AmqpAddress
from watcher.queues.brokers.amqp_channels import Publisher, Taker
from watcher.queues.brokers.amqp_line import HEARTBEAT, NOT_FOUND, Line, Session
from watcher.queues.brokers.base import Depth, Message

CONFIRMS_AT_ONCE = 200
"""Messages that are sent before the first of them is confirmed."""
_QUORUM = {"x-queue-type": "quorum"}


class AmqpBroker:
    """A `Broker` on one queue of a RabbitMQ server, which need not be there yet.

    The queue is declared if it is missing: durable, quorum, with a queue NAME.dead for dead letters. One that exists is
    used as it is. At most `most` messages are held unacknowledged at a time.
    """

    def __init__(self, address: AmqpAddress, *, most: int, heartbeat: int = HEARTBEAT) -> None:
        self._address, self._most = address, most
        self._taker: Taker | None = None
        self._publisher: Publisher | None = None
        self._line = Line(address, self._prepare, heartbeat)

    @property
    def name(self) -> str:
        """See `Broker.name`."""
        return self._address.name

    @property
    def visibility(self) -> None:
        """See `Broker.visibility`: ours until we disconnect."""

    def receive(self, limit: int, wait: float) -> list[Message]:
        """See `Broker.receive`."""

        async def receive(session: Session) -> list[Message]:
            taker = self._taker_of(session)
            return await taker.take(min(limit, self._most - len(taker.held)), wait)

        return self._line.call(receive)

    def acknowledge(self, messages: Sequence[Message]) -> list[Message]:
        """See `Broker.acknowledge`. RabbitMQ does not answer: what it has not read when it dies comes again."""
        return self._each(messages, lambda raw, tag: raw.basic_ack(tag))

    def give_back(self, messages: Sequence[Message]) -> None:
        """See `Broker.give_back`."""
        self._each(messages, lambda raw, tag: raw.basic_nack(tag, requeue=True))

    def set_aside(self, message: Message) -> None:
        """See `Broker.set_aside`."""
        self._each([message], lambda raw, tag: raw.basic_reject(tag, requeue=False))

    def extend(self, messages: Sequence[Message]) -> list[Message]:
        """See `Broker.extend`. Nothing runs out; those of a connection that is lost are anyone's again."""

        async def void(session: Session) -> list[Message]:
            taker = self._taker_of(session)
            return [message for message in messages if not taker.holds(message)]

        return self._line.call(void)

    def send(self, bodies: Sequence[bytes]) -> None:
        """See `Broker.send`. Each is confirmed by the server when this returns."""

        async def send(session: Session) -> None:
            if self._publisher is None or self._publisher.session is not session or self._publisher.broken:
                self._publisher = await Publisher.open(session, self._address.queue)
            for start in range(0, len(bodies), CONFIRMS_AT_ONCE):
                await self._publisher.publish(bodies[start : start + CONFIRMS_AT_ONCE])

        self._line.call(send)

    def depth(self) -> Depth:
        """See `Broker.depth`. In flight is what we hold ourselves: RabbitMQ tells only its management of the others."""

        async def depth(session: Session) -> Depth:
            channel = await session.channel()
            try:
                answer = await channel.ask("queue_declare", queue=self._address.queue, passive=True)
            except ChannelClosedByBroker as error:
                if error.reply_code == NOT_FOUND:
                    session.end(error)  # the next one declares it
                raise
            channel.raw.close()
            held = len(self._taker_of(session).held)
            return Depth(answer.method.message_count, held, in_flight_everywhere=False)

        return self._line.call(depth)

    def close(self) -> None:
        """See `Broker.close`: at once."""
        self._line.close()

    def _each(self, messages: Sequence[Message], do: Callable[[Any, int], None]) -> list[Message]:
        """Tell the server something about each message that is still ours; the others."""

        async def tell(session: Session) -> list[Message]:
            taker = self._taker_of(session)
            ours = [message for message in messages if taker.holds(message)]
            for message in ours:
                do(taker.channel.raw, message.handle.tag)
                taker.held.discard(message.handle.tag)
            return [message for message in messages if message not in ours]

        return self._line.call(tell)

    def _taker_of(self, session: Session) -> Taker:
        assert self._taker is not None and self._taker.session is session, "a session is prepared before it is used"
        return self._taker

    async def _prepare(self, session: Session) -> None:
        await declare(session, self._address)
        self._taker = await Taker.open(session, self._address.queue)


async def declare(session: Session, address: AmqpAddress) -> None:
    """Make what is missing of queue, dead letters and binding. Raises pika's errors."""
    dead = f"{address.queue}.dead"
    if not await _exists(session, "queue_declare", queue=address.queue):
        letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
        if not await _exists(session, "queue_declare", queue=dead):
            await _once(session, "queue_declare", queue=dead, durable=True, arguments=_QUORUM)
        await _once(session, "queue_declare", queue=address.queue, durable=True, arguments=_QUORUM | letters)
    if address.exchange:
        if not await _exists(session, "exchange_declare", exchange=address.exchange):
            await _once(session, "exchange_declare", exchange=address.exchange, exchange_type="topic", durable=True)
        key = address.routing_key
        await _once(session, "queue_bind", queue=address.queue, exchange=address.exchange, routing_key=key)


async def _exists(session: Session, method: str, **names: str) -> bool:
    try:
        await _once(session, method, **names, passive=True)
    except ChannelClosedByBroker as error:
        if error.reply_code != NOT_FOUND:
            raise
        return False
    return True


async def _once(session: Session, method: str, **arguments: Any) -> None:
    """One question on a channel of its own: a refusal closes the channel."""
    channel = await session.channel()
    await channel.ask(method, **arguments)
    channel.raw.close()

"""A queue or an exchange of RabbitMQ, with publisher confirms."""

from __future__ import annotations

from collections.abc import Sequence

from watcher.core.notification import Notification
from watcher.notify.base import ACCEPTED, Answer
from watcher.queues.brokers.address import AmqpAddress
from watcher.queues.brokers.amqp import declare_exchange, declare_queue
from watcher.queues.brokers.amqp_channels import Publisher
from watcher.queues.brokers.amqp_connection import HEARTBEAT, AmqpConnection, Session
from watcher.queues.outbox import Waiting


class AmqpTarget:
    """A `Target` on a RabbitMQ server, which need not run yet. What is missing there is declared.

    A message that no queue takes, because none is bound to the exchange, counts as not delivered.
    """

    batch = 100

    def __init__(self, address: AmqpAddress) -> None:
        """Starts to connect, and returns at once."""
        self.name = address.name
        self._address = address
        self._publisher: Publisher | None = None
        self._connection = AmqpConnection(address, self._prepare, HEARTBEAT)

    def send(self, waiting: Sequence[Waiting]) -> list[Answer]:
        """See `Target.send`. The server has confirmed each message when this returns."""

        async def publish(session: Session) -> None:
            if self._publisher is None or self._publisher.session is not session or self._publisher.broken:
                address = self._address
                key = address.routing_key if address.exchange else address.queue
                self._publisher = await Publisher.open(session, key, address.exchange)
            await self._publisher.publish([one.body for one in waiting])

        self._connection.call(publish)
        return [ACCEPTED] * len(waiting)

    def check(self, test: Notification) -> str:
        """See `Target.check`. Connects and declares what is missing; sends nothing."""

        async def connected(session: Session) -> None:
            assert not session.ended.done()

        self._connection.call(connected)
        return f"{self.name} exists"

    def close(self) -> None:
        """See `Target.close`."""
        self._connection.close()

    async def _prepare(self, session: Session) -> None:
        if self._address.exchange:
            await declare_exchange(session, self._address.exchange)
        if self._address.queue:
            await declare_queue(session, self._address.queue)

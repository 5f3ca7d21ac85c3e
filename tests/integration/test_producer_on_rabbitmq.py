"""The producer's messages to a real RabbitMQ, over a line that breaks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.equipment.faulty import FaultyTcp
from tests.equipment.moto import moto_server
from tests.equipment.producer import Plan, key_of, produce
from tests.equipment.rabbit import Rabbit, queue_name, running_rabbit
from watcher.sources.events import parse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rabbit() -> Iterator[Rabbit]:
    with running_rabbit() as rabbit:
        yield rabbit


def messages(rabbit: Rabbit, queue: str) -> list[bytes]:
    """All that is in a queue."""
    connection = rabbit.connect()
    channel = connection.channel()
    bodies = iter(lambda: channel.basic_get(queue, auto_ack=True)[2], None)
    found = list(bodies)
    connection.close()
    return found


def test_every_message_arrives_over_a_line_that_breaks(rabbit: Rabbit, tmp_path: Path) -> None:
    queue, moto = queue_name(), moto_server()
    connection = rabbit.connect()
    connection.channel().queue_declare(queue, durable=True)
    connection.close()

    with FaultyTcp(rabbit.port, seed=5, share=0.1, latency=0.01, between_resets=0.2) as line:
        uri = f"amqp://guest:guest@127.0.0.1:{line.port}/"
        plan = Plan(moto.endpoint, moto.bucket(), 200, tmp_path / "put.jsonl", events=uri, routing_key=queue)
        produce(plan)

    told = [notice for body in messages(rabbit, queue) for notice in parse(body)]
    assert {notice.key for notice in told} == {f"in/{key_of(number)}" for number in range(200)}
    assert line.counts["reset"] and line.counts["connections"] > line.counts["reset"]

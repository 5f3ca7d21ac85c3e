"""SQS and SNS, as moto plays them, and a real RabbitMQ: what arrives there, and what happens when they are away."""

from __future__ import annotations

import json
import uuid
from contextlib import closing
from typing import Any

import pytest

from tests.contract.brokers import make_sqs_queue
from tests.equipment.moto import REGION, moto_server, use_credentials
from tests.equipment.notes import WRITER, done
from tests.equipment.rabbit import Rabbit, free_port, queue_name
from tests.equipment.support import wait_until
from watcher.aws.clients import AwsOptions
from watcher.core.counts import Counts
from watcher.core.errors import Unavailable
from watcher.notify import open_target
from watcher.notify.base import ACCEPTED, Target
from watcher.queues.outbox import MemoryOutbox, Waiting


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> AwsOptions:
    use_credentials(monkeypatch)
    return AwsOptions(endpoint=moto_server().endpoint, region=REGION)


def target(uri: str, aws: AwsOptions | None = None) -> Target:
    return open_target(uri, "", aws=aws or AwsOptions(), counts=Counts())


def waiting(count: int = 3) -> list[Waiting]:
    outbox = MemoryOutbox()
    for number in range(count):
        outbox.add(done(f"{number}.jpg"))
    return outbox.due(count)


def received(aws: AwsOptions, url: str, count: int) -> list[dict[str, Any]]:
    """So many messages of an SQS queue, with their system attributes."""
    client, found = moto_server().client("sqs"), []

    def look() -> bool:
        answer = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])
        found.extend(answer.get("Messages", []))
        return len(found) >= count

    wait_until(look)
    return found


def keys(bodies: list[str]) -> list[str]:
    return sorted(json.loads(body)["key"] for body in bodies)


def test_sqs_gets_a_message_for_each_notification(aws: AwsOptions) -> None:
    name = queue_name()
    url = make_sqs_queue(aws, name)
    with closing(target(f"sqs://{name}", aws)) as sqs:
        assert sqs.check(WRITER.test()) == f"sqs://{name} exists"
        assert sqs.send(waiting(10)) == [ACCEPTED] * 10
    assert keys([message["Body"] for message in received(aws, url, 10)]) == sorted(f"{n}.jpg" for n in range(10))


def test_a_fifo_queue_keeps_the_order_of_a_key_and_drops_repetitions(aws: AwsOptions) -> None:
    name = f"{queue_name()}.fifo"
    url = make_sqs_queue(aws, name, FifoQueue="true")
    first, second = waiting(2)
    with closing(target(f"sqs://{name}", aws)) as sqs:
        for _ in range(2):
            assert sqs.send([first, second]) == [ACCEPTED] * 2
    messages = received(aws, url, 2)
    assert [message["Attributes"]["MessageDeduplicationId"] for message in messages] == [first.id, second.id]
    assert len({message["Attributes"]["MessageGroupId"] for message in messages}) == 2


def test_sns_gets_a_message_for_each_notification(aws: AwsOptions) -> None:
    name, client = queue_name(), moto_server().client("sns")
    url = make_sqs_queue(aws, name)
    arn = client.create_topic(Name=name)["TopicArn"]
    client.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:123456789012:{name}")
    with closing(target(f"sns://{arn}", aws)) as sns:
        assert sns.check(WRITER.test()) == f"sns://{arn} exists"
        assert sns.send(waiting(3)) == [ACCEPTED] * 3
    wrapped = [json.loads(message["Body"])["Message"] for message in received(aws, url, 3)]
    assert keys(wrapped) == ["0.jpg", "1.jpg", "2.jpg"]


def test_a_queue_or_topic_that_does_not_exist_is_away(aws: AwsOptions) -> None:
    missing = f"nothing-{uuid.uuid4().hex[:8]}"
    for uri in (f"sqs://{missing}", f"sns://arn:aws:sns:{REGION}:123456789012:{missing}"):
        with closing(target(uri, aws)) as absent:
            with pytest.raises(Unavailable, match=missing):
                absent.check(WRITER.test())
            with pytest.raises(Unavailable, match=missing):
                absent.send(waiting(1))


def messages_of(rabbit: Rabbit, queue: str, count: int) -> list[str]:
    with rabbit.connect() as connection:
        channel, found = connection.channel(), list[str]()
        while len(found) < count:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            assert method is not None, f"{len(found)} of {count} messages"
            assert properties.delivery_mode == 2
            found.append(body.decode())
        return found


def test_a_queue_of_rabbitmq_is_declared_and_gets_the_messages_in_order(rabbit: Rabbit) -> None:
    name = queue_name()
    with closing(target(rabbit.url(queue=name))) as amqp:
        assert f"queue={name} exists" in amqp.check(WRITER.test())
        assert amqp.send(waiting(5)) == [ACCEPTED] * 5
    assert [json.loads(body)["key"] for body in messages_of(rabbit, name, 5)] == [f"{n}.jpg" for n in range(5)]


def test_an_exchange_distributes_and_without_a_queue_nothing_is_taken_for_delivered(rabbit: Rabbit) -> None:
    exchange, queues = queue_name(), [queue_name(), queue_name()]
    with closing(target(rabbit.url(exchange=exchange, routing_key="shop"))) as amqp:
        with pytest.raises(Unavailable, match="no queue is bound"):
            amqp.send(waiting(2))
        with rabbit.connect() as connection:
            for queue in queues:
                connection.channel().queue_declare(queue, durable=True)
                connection.channel().queue_bind(queue, exchange, "shop")
        assert amqp.send(waiting(2)) == [ACCEPTED] * 2
    for queue in queues:
        assert keys(messages_of(rabbit, queue, 2)) == ["0.jpg", "1.jpg"]


def test_a_rabbitmq_that_is_not_there_is_away() -> None:
    with closing(target(f"amqp://guest:s3cr3t@127.0.0.1:{free_port()}/?queue=x")) as amqp:
        with pytest.raises(Unavailable, match="refused") as raised:
            amqp.send(waiting(1))
        assert "s3cr3t" not in str(raised.value)

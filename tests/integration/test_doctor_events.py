"""What the doctor says of events on their way from a bucket to a queue, on emulated services and a RabbitMQ."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from tests.equipment.moto import Moto, moto_server, use_credentials
from tests.equipment.rabbit import Rabbit, queue_name
from tests.equipment.support import ROOT
from watcher.commands.event_delivery import check_event_delivery
from watcher.config.settings import Settings
from watcher.wiring import Wiring

ALL = ["s3:ObjectCreated:*"]


class Shop:
    """A bucket, a queue, and what the doctor says of the way between them."""

    def __init__(self, moto: Moto) -> None:
        self.moto, self.bucket = moto, moto.bucket()
        self.sqs = moto.client("sqs")
        self.url = self.sqs.create_queue(QueueName=queue_name())["QueueUrl"]
        self.arn = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]

    def allow(self, name: str = "queue-policy.json", **attributes: str) -> None:
        """Give the queue one of the page's policies."""
        region, account, queue = self.arn.split(":")[3:]
        values = {"BUCKET": self.bucket, "QUEUE": queue, "REGION": region, "ACCOUNT": account}
        text = (ROOT / "deploy" / "aws" / name).read_text()
        for word, value in values.items():
            text = text.replace(word, value)
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": text, **attributes})

    def notify(
        self, target: str = "", kind: str = "Queue", prefix: str = "in/", events: list[str] = ALL, **more: Any
    ) -> None:
        """Set the bucket's notifications."""
        rules = [{"Name": "prefix", "Value": prefix}, *({"Name": name, "Value": value} for name, value in more.items())]
        entry = {f"{kind}Arn": target or self.arn, "Events": events, "Filter": {"Key": {"FilterRules": rules}}}
        self.configure({f"{kind}Configurations": [entry]})

    def configure(self, configuration: dict[str, Any]) -> None:
        self.moto.client().put_bucket_notification_configuration(
            Bucket=self.bucket, NotificationConfiguration=configuration, SkipDestinationValidation=True
        )

    def doctor(self, events: str = "queue", queue: str = "") -> list[tuple[bool | None, str]]:
        """The doctor's findings."""
        settings = Settings(
            source=f"s3://{self.bucket}/in",
            sink=f"s3://{self.bucket}/out",
            model="fake",
            s3_endpoint=self.moto.endpoint,
            queue=queue or self.url,
            events=events,
        )
        return [(check.ok, check.finding) for check in check_event_delivery(Wiring.of(settings))]


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    use_credentials(monkeypatch)
    return Shop(moto_server())


def test_notifications_as_the_page_sets_them_up_arrive(shop: Shop):
    # Given a bucket that announces nothing
    [(ok, said)] = shop.doctor()
    assert ok is False and "announces no new objects below in/; set them up" in said
    # When it does, and the queue lets it
    shop.allow()
    shop.notify()
    [(ok, said)] = shop.doctor()
    assert ok is True and f"which lets the bucket {shop.bucket} send" in said


def test_a_queue_that_does_not_let_the_bucket_send_is_said_so(shop: Shop):
    shop.notify()
    [(ok, said)] = shop.doctor()
    assert ok is False and f"whose policy does not let the bucket {shop.bucket} send" in said
    [(ok, said)] = shop.doctor(events="listing")  # as `work` is checked, which has no events of its own
    assert ok is None


def test_events_through_sns_arrive_once_the_queue_is_subscribed_and_lets_it_send(shop: Shop):
    sns = shop.moto.client("sns")
    topic = sns.create_topic(Name=shop.arn.rpartition(":")[2])["TopicArn"]
    shop.notify(topic, "Topic")
    assert "is not subscribed" in shop.doctor()[0][1]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=shop.arn)
    assert "whose policy does not let the topic" in shop.doctor()[0][1]
    shop.allow("queue-policy-sns.json")
    assert shop.doctor()[0][0] is True


def test_on_rabbitmq_the_exchange_must_pass_events_on(shop: Shop, rabbit: Rabbit):
    shop.notify("arn:aws:sns:us-east-1:123456789012:gone", "Topic")
    exchange = queue_name()
    queue = rabbit.url(queue=queue_name(), exchange=exchange)
    # Given an exchange that alphadrop creates, and a topic that it cannot read
    bound, topic = shop.doctor(queue=queue)
    assert bound[0] is True
    assert topic[0] is None and "where that leads could not be read" in topic[1]
    # and one that compares the whole routing key
    with closing(rabbit.connect()) as connection:
        channel = connection.channel()
        channel.exchange_delete(exchange)
        channel.exchange_declare(exchange, "direct", durable=True)
    [(ok, said), _] = shop.doctor(queue=queue)
    assert ok is False and "neither a topic nor a fanout exchange" in said
    # and an address without one
    [(ok, said), _] = shop.doctor(queue=rabbit.url(queue=queue_name()))
    assert ok is None and "add &exchange=NAME" in said

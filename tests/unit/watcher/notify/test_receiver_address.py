"""Addresses of receivers: what is understood, what is refused, and that no secret is ever repeated."""

from __future__ import annotations

import re

import pytest

from watcher.core.errors import ConfigurationError
from watcher.notify.address import SnsAddress, WebhookAddress, parse_target
from watcher.queues.brokers.address import AmqpAddress, SqsAddress

TOPIC = "arn:aws:sns:eu-central-1:123456789012:cutouts"


def test_each_kind_of_receiver_has_its_form() -> None:
    assert parse_target("https://shop.example:8443/hook?key=k") == WebhookAddress(
        "https://shop.example:8443/hook?key=k"
    )
    assert parse_target("sqs://cutouts") == SqsAddress("cutouts")
    assert parse_target("sqs://cutouts.fifo") == SqsAddress("cutouts.fifo")
    assert parse_target(f"sns://{TOPIC}") == SnsAddress(TOPIC, "eu-central-1", fifo=False)
    assert parse_target(f"sns://{TOPIC}.fifo") == SnsAddress(f"{TOPIC}.fifo", "eu-central-1", fifo=True)
    queue, exchange = (parse_target(f"amqp://u:p@rabbit/?{where}") for where in ("queue=done", "exchange=shop"))
    assert isinstance(queue, AmqpAddress) and (queue.queue, queue.exchange) == ("done", "")
    assert isinstance(exchange, AmqpAddress) and (exchange.exchange, exchange.routing_key) == ("shop", "alphadrop")
    assert exchange.name == "amqp://rabbit:5672/?exchange=shop"


def test_a_webhooks_name_leaves_out_what_may_be_secret() -> None:
    address = parse_target("https://hooks.example/services/T0/very-secret?token=also-secret")
    assert isinstance(address, WebhookAddress)
    assert address.name == "https://hooks.example" and "secret" not in repr(address)


@pytest.mark.parametrize(
    ("uri", "remedy"),
    [
        ("https://user:hidden@shop.example/", "takes no user and password"),
        ("https://shop.example/#hidden", "fragment"),
        ("https://shop.example:hidden/", "cannot be read"),
        ("https://sqs.eu-central-1.amazonaws.com/123456789012/hidden", "write sqs://"),
        ("sns://hidden", "write sns://arn:aws:sns:REGION:ACCOUNT:NAME"),
        ("amqp://u:hidden@rabbit/", "lacks its queue"),
        ("ftp://hidden", "no known kind of receiver"),
    ],
)
def test_a_mistake_is_answered_with_what_to_write_and_not_repeated(uri: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(remedy)) as raised:
        parse_target(uri)
    assert "hidden" not in str(raised.value)

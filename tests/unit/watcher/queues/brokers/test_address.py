"""How a broker's queue is written, and that no mistake in it shows a password."""

from __future__ import annotations

import subprocess
import sys
import traceback

import pytest

from tests.equipment.support import ROOT
from watcher.core.errors import ConfigurationError
from watcher.queues.brokers.address import AmqpAddress, SqsAddress, parse_address

AMAZON = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs"


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("sqs://jobs", SqsAddress("jobs")),
        (AMAZON, SqsAddress("jobs", AMAZON, "eu-west-1")),
        (f"sqs://{AMAZON}", SqsAddress("jobs", AMAZON, "eu-west-1")),
        (AMAZON.replace("https", "sqs"), SqsAddress("jobs", AMAZON, "eu-west-1")),
        (
            "http://localhost:4566/000000000000/my_jobs",
            SqsAddress("my_jobs", "http://localhost:4566/000000000000/my_jobs"),
        ),
        (
            "https://vpce-1-2.sqs.us-gov-west-1.vpce.amazonaws.com/1/jobs",
            SqsAddress("jobs", "https://vpce-1-2.sqs.us-gov-west-1.vpce.amazonaws.com/1/jobs", "us-gov-west-1"),
        ),
    ],
)
def test_an_sqs_queue_is_a_name_or_its_url(uri: str, address: SqsAddress) -> None:
    assert parse_address(uri) == address


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("amqp://rabbit?queue=jobs", AmqpAddress("rabbit", 5672, False, "guest", "guest", "/", "jobs")),
        ("amqp://rabbit/?queue=jobs", AmqpAddress("rabbit", 5672, False, "guest", "guest", "/", "jobs")),
        ("amqps://u:p%40ss@rabbit/shop?queue=jobs", AmqpAddress("rabbit", 5671, True, "u", "p@ss", "shop", "jobs")),
        (
            "amqp://rabbit:1234/a%2Fb?queue=jobs&exchange=events&routing_key=a.*",
            AmqpAddress("rabbit", 1234, False, "guest", "guest", "a/b", "jobs", "events", "a.*"),
        ),
    ],
)
def test_a_rabbitmq_queue_is_in_the_query(uri: str, address: AmqpAddress) -> None:
    assert parse_address(uri) == address


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("jobs", "no known broker"),
        ("redis://u:hunter2@host/jobs", "no known broker"),
        ("sqs://", "not the address of an SQS queue"),
        ("sqs://not a name", "not the address of an SQS queue"),
        ("https://u:hunter2@sqs.eu-west-1.amazonaws.com/1/jobs", "not the address of an SQS queue"),
        ("https://sqs.eu-west-1.amazonaws.com", "not the address of an SQS queue"),
        ("sqs://jobs.fifo", "standard queue"),
        ("amqp://u:hunter2@rabbit/shop", "lacks its queue"),
        ("amqp://u:hunter2@rabbit/shop?queue=", "lacks its queue"),
        ("amqp://u:hunter2@/shop?queue=jobs", "lacks its host"),
        ("amqp://u:hunter2@rabbit/a/b?queue=jobs", "%2F"),
        ("amqp://u:hunter2@rabbit:port/?queue=jobs", "cannot be read"),
        ("amqp://u:4/hunter2@rabbit/?queue=jobs", "%2F"),
        ("amqp://u:4?hunter2@rabbit/?queue=jobs", "parameters other than"),
        ("amqp://[u:hunter2@rabbit/?queue=jobs", "cannot be read"),
    ],
)
def test_an_error_says_what_to_write_and_never_the_password(uri: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as told:
        parse_address(uri)
    assert "hunter2" not in "".join(traceback.format_exception(told.value))
    assert "sqs://NAME" in str(told.value) or "amqp://USER" in str(told.value) or "standard queue" in str(told.value)


def test_nothing_that_is_shown_holds_the_password() -> None:
    address = parse_address("amqps://u:hunter2@rabbit/a%2Fb?queue=jobs")
    assert isinstance(address, AmqpAddress)
    assert address.name == "amqps://rabbit:5671/a%2Fb?queue=jobs"
    assert "hunter2" not in repr(address)


def test_no_broker_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, watcher.queues.brokers, watcher.queues.broker; "
        "print([name for name in ('pika', 'boto3', 'botocore') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"

"""Where the contract of brokers is tested: a queue of SQS, as moto plays it, and one of a real RabbitMQ."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from subprocess import PIPE, Popen
from typing import Any

from tests.equipment.rabbit import Rabbit, queue_name
from tests.equipment.support import ROOT, wait_until
from watcher.aws.clients import AwsOptions, make_client
from watcher.core.counts import Counts
from watcher.queues.brokers import open_broker
from watcher.queues.brokers.base import Broker, Message

VISIBILITY = 5.0
"""Seconds until SQS takes a message back from a process that has died."""
PREFETCH = 20


@dataclass(frozen=True)
class Site:
    """A fresh queue of a broker, with a queue for its dead letters."""

    uri: str
    dead_uri: str
    aws: AwsOptions = field(default_factory=AwsOptions)
    visibility: float = VISIBILITY

    def open(self) -> Broker:
        """As another process would."""
        return self._open(self.uri)

    def open_dead_letters(self) -> Broker:
        """The queue of what was set aside."""
        return self._open(self.dead_uri)

    def _open(self, uri: str) -> Broker:
        return open_broker(uri, aws=self.aws, visibility=self.visibility, prefetch=PREFETCH, counts=Counts())

    @contextmanager
    def child(self, code: str) -> Iterator[Popen[str]]:
        """Another process that has opened the queue as `broker`, and runs `code`; it is killed after the block."""
        command = [sys.executable, "-W", "error", "-c", PRELUDE + code]
        with Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) as process:
            assert process.stdin is not None
            print(json.dumps([self.uri, asdict(self.aws), self.visibility, PREFETCH]), file=process.stdin, flush=True)
            try:
                yield process
            finally:
                process.kill()


PRELUDE = """
import json, sys
from watcher.aws.clients import AwsOptions
from watcher.queues.brokers import open_broker
from watcher.core.counts import Counts
uri, aws, visibility, prefetch = json.loads(sys.stdin.readline())
broker = open_broker(uri, aws=AwsOptions(**aws), visibility=visibility, prefetch=prefetch, counts=Counts())
"""


def rabbit_site(rabbit: Rabbit) -> Site:
    """A queue that is made when it is opened."""
    name = queue_name()
    return Site(rabbit.url(queue=name), rabbit.url(queue=f"{name}.dead"))


def sqs_site(aws: AwsOptions) -> Site:
    """A queue that somebody has made, as SQS demands."""
    name = queue_name()
    make_sqs_queue(aws, f"{name}-dead")
    policy = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:123456789012:{name}-dead", "maxReceiveCount": 5}
    make_sqs_queue(aws, name, RedrivePolicy=json.dumps(policy))
    return Site(f"sqs://{name}", f"sqs://{name}-dead", aws)


def make_sqs_queue(aws: AwsOptions, name: str, **attributes: str) -> str:
    """Its URL."""
    client: Any = make_client("sqs", aws, Counts())
    url: str = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    client.close()
    return url


def receive(broker: Broker, count: int, enough: Callable[[Message], bool] = lambda message: True) -> list[Message]:
    """So many messages that are `enough`; the others are released. SQS may hand out fewer at a time than it has."""
    found: list[Message] = []

    def look() -> bool:
        messages = broker.receive(count - len(found), 1.0)
        found.extend(message for message in messages if enough(message))
        broker.requeue([message for message in messages if not enough(message)])
        return len(found) == count

    wait_until(look, message=f"fewer than {count} messages came")
    return found


def bodies(messages: Sequence[Message]) -> list[bytes]:
    """Sorted: brokers promise no order."""
    return sorted(message.body for message in messages)

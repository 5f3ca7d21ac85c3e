"""`watch` and `work` as they run on several machines: processes that share nothing but buckets and a broker's queue."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.equipment.daemon import Daemon, Folders
from tests.equipment.judge import Verdict, judge
from tests.equipment.moto import Moto
from tests.equipment.rabbit import Rabbit
from tests.equipment.receiver import SECRET
from tests.equipment.support import STUCK, wait_until

TOKEN = "a long random text"
VISIBILITY = 6.0
"""Seconds: long enough to work in, short enough to wait for."""
QUIET = 2.0


@dataclass(frozen=True)
class Buckets(Folders):
    """The source and sink of a daemon in buckets, and a folder for its log."""

    addresses: tuple[str, str]

    @property
    def places(self) -> tuple[str, str]:
        """Source and sink, as the command takes them."""
        return self.addresses


@dataclass
class Cluster:
    """One bucket with `in/` and `out/`, and the daemons that work on it. `with Cluster(...) as cluster: ...`

    `endpoint` and `sqs` are where the daemons find S3 and SQS: a faulty proxy, perhaps. `sqs_server` is where the queue
    is, if not on `moto`: there, thousands of messages leave it no time for objects.
    """

    top: Path
    moto: Moto
    queue: str
    endpoint: str = ""
    sqs: str = ""
    sqs_server: Moto | None = None
    model: str = "fake"
    rabbit: Rabbit | None = None
    """The node that the queue is on, if it is not on SQS."""
    notify: str = ""
    """The address that `work` sends notifications to."""
    daemons: list[Daemon] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bucket = self.moto.bucket()
        self.client = self.moto.client()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.__exit__(*exc)

    @property
    def listing(self) -> Path:
        """The file in which the producer lists what it has put."""
        return self.top / "listing.jsonl"

    def watch(self, *options: str) -> Daemon:
        """Start another `alphadrop watch`."""
        return self._start("watch", *options, ALPHADROP_EVENTS_TOKEN=TOKEN)

    def work(self, *options: str, **variables: str) -> Daemon:
        """Start another `alphadrop work`."""
        return self._start("work", "--visibility", str(VISIBILITY), *options, **variables)

    def _start(self, command: str, *options: str, **variables: str) -> Daemon:
        top = self.top / f"{command}-{uuid.uuid4().hex[:6]}"
        top.mkdir()
        buckets = Buckets(top, (f"s3://{self.bucket}/in", f"s3://{self.bucket}/out"))
        environment = self.moto.variables | {
            "AWS_ENDPOINT_URL_S3": self.endpoint or self.moto.endpoint,
            "AWS_ENDPOINT_URL_SQS": self.sqs or (self.sqs_server or self.moto).endpoint,
            "ALPHADROP_QUEUE": self.queue,
            "ALPHADROP_NOTIFY": self.notify,
            "ALPHADROP_NOTIFY_SECRET": SECRET,
        }
        daemon = Daemon(buckets, *options, model=self.model, command=command, **environment, **variables)
        self.daemons.append(self._stack.enter_context(daemon))
        return daemon

    def outputs(self) -> int:
        """How many outputs there are."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="out/")
        keys = (entry["Key"] for page in pages for entry in page.get("Contents", ()))
        return sum(key.endswith(".png") for key in keys)

    def wait_for_outputs(self, count: int) -> None:
        """Wait for this many outputs; fails when a daemon that should run has ended, or the number stops growing."""
        problem = f"not all of {count} outputs came"
        # A listing of many keys keeps moto busy for as long as several pictures.
        pause, there = max(0.5, count / 200), -1
        while there < count:
            before = there
            wait_until(lambda: self._all_run() and self.outputs() > before, STUCK, problem, pause=pause)  # noqa: B023
            there = self.outputs()

    def wait_until_idle(self) -> None:
        """Wait until, for some seconds, no message waits in the queue and no image is in flight."""
        since = time.monotonic()

        def idle() -> bool:
            nonlocal since
            if not self._all_run() or self._open():
                since = time.monotonic()
            return time.monotonic() - since > QUIET

        wait_until(idle, STUCK, "the queue never ran empty", pause=0.5)

    def waiting(self) -> int:
        """The number of messages that wait in the queue; on SQS with those in flight."""
        return self._in_sqs() if self.queue.startswith("sqs://") else self._in_rabbit()

    def _open(self) -> int:
        works = [daemon for daemon in self.daemons if daemon.command == "work" and daemon.process.poll() is None]
        in_flight = sum(daemon.metric("alphadrop_worker_images_in_flight") for daemon in works)
        return int(in_flight) + self.waiting()

    def _in_sqs(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        sqs = self._sqs()
        url = sqs.get_queue_url(QueueName=self.queue.removeprefix("sqs://"))["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def _in_rabbit(self) -> int:
        """Messages that no consumer holds; RabbitMQ does not report the others."""
        assert self.rabbit is not None
        with closing(self.rabbit.connect()) as connection:
            name = self.queue.partition("queue=")[2]
            return int(connection.channel().queue_declare(name, passive=True).method.message_count)

    def take_messages(self) -> list[str]:
        """Take all messages out of the SQS queue, and return their bodies."""
        sqs, bodies = self._sqs(), []
        url = sqs.get_queue_url(QueueName=self.queue.removeprefix("sqs://"))["QueueUrl"]
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                bodies.append(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [body for body in bodies if "s3:TestEvent" not in body]

    def send_message(self, body: str) -> None:
        """Put a message into the SQS queue."""
        sqs = self._sqs()
        url = sqs.get_queue_url(QueueName=self.queue.removeprefix("sqs://"))["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=body)

    def dead_letters(self) -> int:
        """The number of messages in the dead-letter queue."""
        if not self.queue.startswith("sqs://"):
            return 0
        sqs = self._sqs()
        url = sqs.get_queue_url(QueueName=self.queue.removeprefix("sqs://") + "-dead")["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
        return int(found["ApproximateNumberOfMessages"])

    def _sqs(self) -> Any:
        return (self.sqs_server or self.moto).client("sqs")

    def _all_run(self) -> bool:
        dead = [daemon for daemon in self.daemons if daemon.process.poll() not in (None, 0, -9)]
        assert not dead, f"{len(dead)} daemons have ended"
        return True

    def verdict(self, *patterns: str) -> Verdict:
        """The verdict of `judge`; `patterns` are its, for pictures with several outputs."""
        return judge(self.listing, self.client, self.bucket, patterns=patterns or ("{stem}.png",))

    def sqs_events(self, queue: str) -> None:
        """Let the bucket announce new objects to an SQS queue."""
        sqs = self._sqs()
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        rule = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
        self.client.put_bucket_notification_configuration(
            Bucket=self.bucket, NotificationConfiguration={"QueueConfigurations": [rule]}
        )


def new_sqs_queue(moto: Moto) -> str:
    """Make an SQS queue with a dead-letter queue; returns its name."""
    sqs, name = moto.client("sqs"), f"queue-{uuid.uuid4().hex[:8]}"
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "20"})
    sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": redrive})
    return name


def total(daemons: Iterable[Daemon], name: str, **labels: str) -> int:
    """The sum of a metric over the daemons that are running."""
    return int(sum(daemon.metric(name, **labels) for daemon in daemons if daemon.process.poll() is None))

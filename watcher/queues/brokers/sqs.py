"""Amazon SQS and compatible services: standard queues, with at-least-once delivery in any order."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import structlog

from watcher.aws.clients import AwsOptions, make_client, translate_errors
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError, Denied, Unavailable
from watcher.queues.brokers.address import SqsAddress
from watcher.queues.brokers.base import Depth, Message

log = structlog.get_logger(__name__)

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
BATCH = 10
"""Entries in one request."""
BATCH_BYTES = 262_144
"""Size of all bodies in one request. Amazon accepts more by now, other services do not."""
LONGEST_WAIT = 20
LONGEST_VISIBILITY = 43_200
SHORTEST_READ, LONGEST_READ = 5.0, 10.0
"""Bounds of the read timeout in seconds, which otherwise is a sixth of the visibility timeout."""
ATTEMPTS = 2
"""Attempts of one request: an extension that stalls in both still leaves time for another."""
SLACK = 3.0
"""Seconds that an answer may take beyond the requested wait."""
MISSING = ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")
_NUMBERS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed")
_IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"


@dataclass(frozen=True, slots=True)
class Redrive:
    """The queue's own settings for messages."""

    visibility: int
    """Visibility timeout in seconds for receivers that do not set one."""
    retention: int
    """Seconds after which it deletes a message."""
    dead_letters: str
    """The ARN of the dead-letter queue, empty if there is none."""
    max_receives: int
    """Receives after which a message becomes a dead letter, 0 without a dead-letter queue."""


@dataclass(frozen=True, slots=True)
class QueueAccess:
    """Who may send to a queue, besides its own account."""

    arn: str
    policy: str
    """The queue's policy as JSON, empty if it has none."""
    kms_key: str
    """The KMS key that encrypts it, empty without one."""


class SqsBroker:
    """A `Broker` on an SQS queue. Opening raises ConfigurationError if the queue does not exist.

    If the service is unavailable or denies access while opening, each use tries again.
    """

    def __init__(self, address: SqsAddress, options: AwsOptions, *, visibility: float, counts: Counts) -> None:
        self._address = address
        self._visibility = min(LONGEST_VISIBILITY, max(1, math.ceil(visibility)))
        timed = with_short_timeouts(_options(address, options), self._visibility)
        self._longest_wait = min(LONGEST_WAIT, int(timed.read_timeout - SLACK))
        self._client = make_client("sqs", timed, counts)
        self._queue_url = address.url
        self._open()

    @property
    def name(self) -> str:
        """See `Broker.name`."""
        return self._address.url or f"sqs://{self._address.queue}"

    @property
    def visibility(self) -> float:
        """See `Broker.visibility`."""
        return float(self._visibility)

    def receive(self, limit: int, wait: float) -> list[Message]:
        """See `Broker.receive`. It waits whole seconds."""
        messages = batch = self._wait(limit, wait)
        while len(batch) == BATCH and len(messages) < limit:
            try:
                batch = self._receive(limit - len(messages), 0)
            except Unavailable:  # the next call raises it; the messages received so far must not be lost
                break
            messages = messages + batch
        return messages

    def acknowledge(self, messages: Sequence[Message]) -> list[Message]:
        """See `Broker.acknowledge`."""
        return [message for message, _ in self._each("delete_message_batch", messages)]

    def extend(self, messages: Sequence[Message]) -> list[Message]:
        """See `Broker.extend`. SQS limits the sum of all extensions to twelve hours."""
        failed = self._each("change_message_visibility_batch", messages, VisibilityTimeout=self._visibility)
        if any(not entry["SenderFault"] for _, entry in failed):
            raise Unavailable(f"{self.name}: {len(failed)} messages could not be extended: {failed[0][1]['Code']}")
        return [message for message, _ in failed]

    def requeue(self, messages: Sequence[Message]) -> None:
        """See `Broker.requeue`."""
        self._each("change_message_visibility_batch", messages, VisibilityTimeout=0)

    def dead_letter(self, message: Message) -> None:
        """See `Broker.dead_letter`. Without a writable dead-letter queue, only a log line remains."""
        arn = self.redrive().dead_letters
        if arn:
            self._send_to_dead_letters(arn, message)
        if self.acknowledge([message]):
            raise Unavailable(f"{self.name}: a message could not be deleted")

    def send(self, bodies: Sequence[bytes]) -> None:
        """See `Broker.send`."""
        for batch in batches(bodies):
            entries = [{"Id": str(number), "MessageBody": body.decode("utf-8")} for number, body in enumerate(batch)]
            failed = self._call("send_message_batch", Entries=entries).get("Failed", [])
            if failed:
                raise Unavailable(f"{self.name}: {len(failed)} messages were refused: {failed[0]['Code']}")

    def depth(self) -> Depth:
        """See `Broker.depth`. An estimate, which may be a minute old."""
        found = self._attributes(*_NUMBERS, _IN_FLIGHT)
        return Depth(sum(int(found.get(name, 0)) for name in _NUMBERS), int(found.get(_IN_FLIGHT, 0)))

    def redrive(self) -> Redrive:
        """Read the queue's own settings for messages."""
        found = self._attributes("VisibilityTimeout", "MessageRetentionPeriod", "RedrivePolicy")
        policy = json.loads(found.get("RedrivePolicy") or "{}")
        return Redrive(
            int(found["VisibilityTimeout"]),
            int(found["MessageRetentionPeriod"]),
            policy.get("deadLetterTargetArn", ""),
            int(policy.get("maxReceiveCount", 0)),
        )

    def access(self) -> QueueAccess:
        """Read who may send to the queue."""
        found = self._attributes("QueueArn", "Policy", "KmsMasterKeyId")
        return QueueAccess(found.get("QueueArn", ""), found.get("Policy", ""), found.get("KmsMasterKeyId", ""))

    def close(self) -> None:
        """See `Broker.close`. Messages are redelivered when their visibility timeout ends."""
        self._client.close()

    def _open(self) -> None:
        try:
            self._attributes("VisibilityTimeout")
        except QueueMissing as error:
            self.close()
            raise ConfigurationError(str(error)) from error
        except Unavailable as error:
            log.warning("queue_unreachable", queue=self.name, problem=str(error))

    def _wait(self, limit: int, wait: float) -> list[Message]:
        """Receive one batch in several long polls, each short enough that a slower answer means a stall."""
        until = time.monotonic() + wait
        messages = self._receive(limit, min(self._longest_wait, math.ceil(wait)))
        while not messages and (left := int(until - time.monotonic())) > 0:
            messages = self._receive(limit, min(self._longest_wait, left))
        return messages

    def _receive(self, limit: int, wait: int) -> list[Message]:
        answer = self._call(
            "receive_message",
            MaxNumberOfMessages=min(BATCH, limit),
            WaitTimeSeconds=wait,
            VisibilityTimeout=self._visibility,
            # Amazon renamed this parameter, but other services know the old name only. Without the count, an image that
            # crashes workers would never be rejected.
            AttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
        )
        return [_message(entry) for entry in answer.get("Messages", [])]

    def _each(
        self, method: str, messages: Sequence[Message], **parameters: Any
    ) -> list[tuple[Message, dict[str, Any]]]:
        """Call a batch method for all messages, and return those that failed with SQS's answer for each."""
        failed = []
        for start in range(0, len(messages), BATCH):
            batch = messages[start : start + BATCH]
            entries = [{"Id": str(n), "ReceiptHandle": message.handle, **parameters} for n, message in enumerate(batch)]
            answer = self._call(method, Entries=entries)
            failed += [(batch[int(entry["Id"])], entry) for entry in answer.get("Failed", [])]
        return failed

    def _send_to_dead_letters(self, arn: str, message: Message) -> None:
        account, name = arn.split(":")[-2:]
        try:
            with self._translated():
                url = self._url_of(QueueName=name, QueueOwnerAWSAccountId=account)
                self._client.send_message(QueueUrl=url, MessageBody=message.body.decode("utf-8"))
        except (Denied, QueueMissing, ConfigurationError) as error:  # waiting fixes none of them
            log.warning("dead_letters_unreachable", queue=arn, problem=str(error))

    def _attributes(self, *names: str) -> dict[str, str]:
        found: dict[str, str] = self._call("get_queue_attributes", AttributeNames=list(names)).get("Attributes", {})
        return found

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        with self._translated():
            if not self._queue_url:
                self._queue_url = self._url_of(QueueName=self._address.queue)
            answer: dict[str, Any] = getattr(self._client, method)(QueueUrl=self._queue_url, **parameters)
            return answer

    def _url_of(self, **parameters: str) -> str:
        url = self._client.get_queue_url(**parameters).get("QueueUrl")
        if not url:  # boto3 parses a truncated answer as an empty one
            raise Unavailable(f"{self.name}: the answer to GetQueueUrl contains no URL")
        return str(url)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with translate_errors(self.name):
            try:
                yield
            except self._client.exceptions.ClientError as error:
                if error.response.get("Error", {}).get("Code") in MISSING:
                    raise QueueMissing(self.name, self._address.queue) from error
                raise


class QueueMissing(Unavailable):
    """The queue does not exist. It may be created while the daemon runs."""

    def __init__(self, name: str, queue: str) -> None:
        super().__init__(
            f"{name}: the queue does not exist in this account and region. Create it, for example with "
            f"`aws sqs create-queue --queue-name {queue}`, or name another one."
        )


def batches(bodies: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Split bodies into batches of at most BATCH bodies and BATCH_BYTES; a larger body gets its own batch."""
    batch: list[bytes] = []
    for body in bodies:
        if batch and (len(batch) == BATCH or sum(map(len, batch)) + len(body) > BATCH_BYTES):
            yield batch
            batch = []
        batch.append(body)
    if batch:
        yield batch


def _message(entry: dict[str, Any]) -> Message:
    facts = entry.get("Attributes", {})
    return Message(
        body=entry["Body"].encode("utf-8"),
        handle=entry["ReceiptHandle"],
        deliveries=int(facts.get("ApproximateReceiveCount", 1)),
        sent_at=int(facts.get("SentTimestamp", 0)) / 1000,
    )


def _options(address: SqsAddress, options: AwsOptions) -> AwsOptions:
    """Use the endpoint and region of the queue's URL in place of the options'."""
    if not address.url:
        return options
    parts = urlsplit(address.url)
    return replace(options, endpoint=f"{parts.scheme}://{parts.netloc}", region=address.region or options.region)


def with_short_timeouts(options: AwsOptions, visibility: float) -> AwsOptions:
    """Shorten timeouts, so that one stalled request does not let the visibility timeout expire."""
    timeout = max(SHORTEST_READ, min(LONGEST_READ, visibility / 6))
    return replace(
        options,
        read_timeout=timeout,
        connect_timeout=min(options.connect_timeout, timeout),
        attempts=min(options.attempts, ATTEMPTS),
    )

"""Amazon SQS, and what speaks its language: standard queues, whose messages come at least once and in any order."""

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

from watcher.aws.clients import AwsOptions, make_client, translated
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError, Denied, Unavailable
from watcher.queues.brokers.address import SqsAddress
from watcher.queues.brokers.base import Depth, Message

log = structlog.get_logger(__name__)

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
BATCH = 10
"""Entries of one request."""
BATCH_BYTES = 262_144
"""Of all bodies in one request. Amazon takes more by now, others do not."""
LONGEST_WAIT = 20
LONGEST_VISIBILITY = 43_200
SHORTEST_READ, LONGEST_READ = 5.0, 10.0
"""Bounds of the seconds that a silent service is waited for, which else are a sixth of the visibility."""
ATTEMPTS = 2
"""Of one request: a heartbeat that stalls in both comes to its end in time for another one."""
SLACK = 3.0
"""Seconds that an answer may take beyond the wait that was asked for."""
MISSING = ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")
_NUMBERS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed")
_IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"


@dataclass(frozen=True, slots=True)
class Redrive:
    """What the queue does with messages by itself."""

    visibility: int
    """Seconds that it hides a message for where the receiver does not say."""
    retention: int
    """Seconds that it keeps a message for."""
    dead_letters: str
    """The ARN of the queue that gets what was received too often; empty where none does."""
    most_receives: int
    """How often is too often, 0 where nothing is."""


class SqsBroker:
    """A `Broker` on an SQS queue. Opening raises ConfigurationError where there is no such queue.

    What cannot be reached or is not permitted while opening is asked for again at each use.
    """

    def __init__(self, address: SqsAddress, options: AwsOptions, *, visibility: float, counts: Counts) -> None:
        self._address = address
        self._visibility = min(LONGEST_VISIBILITY, max(1, math.ceil(visibility)))
        timed = in_time(_options(address, options), self._visibility)
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
        """See `Broker.receive`. Waits whole seconds."""
        messages = batch = self._wait(limit, wait)
        while len(batch) == BATCH and len(messages) < limit:
            try:
                batch = self._receive(limit - len(messages), 0)
            except Unavailable:  # whoever asks next is told, and these are in hand
                break
            messages = messages + batch
        return messages

    def acknowledge(self, messages: Sequence[Message]) -> list[Message]:
        """See `Broker.acknowledge`."""
        return [message for message, _ in self._each("delete_message_batch", messages)]

    def extend(self, messages: Sequence[Message]) -> list[Message]:
        """See `Broker.extend`. After twelve hours no message can be kept any longer."""
        failed = self._each("change_message_visibility_batch", messages, VisibilityTimeout=self._visibility)
        if any(not entry["SenderFault"] for _, entry in failed):
            raise Unavailable(f"{self.name}: {len(failed)} messages could not be extended: {failed[0][1]['Code']}")
        return [message for message, _ in failed]

    def give_back(self, messages: Sequence[Message]) -> None:
        """See `Broker.give_back`."""
        self._each("change_message_visibility_batch", messages, VisibilityTimeout=0)

    def set_aside(self, message: Message) -> None:
        """See `Broker.set_aside`. Where there are no dead letters that we may write, a log line is all that remains."""
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
                raise Unavailable(f"{self.name}: {len(failed)} messages were not taken: {failed[0]['Code']}")

    def depth(self) -> Depth:
        """See `Broker.depth`. An estimate, which may be a minute old."""
        found = self._attributes(*_NUMBERS, _IN_FLIGHT)
        return Depth(sum(int(found.get(name, 0)) for name in _NUMBERS), int(found.get(_IN_FLIGHT, 0)))

    def redrive(self) -> Redrive:
        """What the queue does by itself."""
        found = self._attributes("VisibilityTimeout", "MessageRetentionPeriod", "RedrivePolicy")
        policy = json.loads(found.get("RedrivePolicy") or "{}")
        return Redrive(
            int(found["VisibilityTimeout"]),
            int(found["MessageRetentionPeriod"]),
            policy.get("deadLetterTargetArn", ""),
            int(policy.get("maxReceiveCount", 0)),
        )

    def close(self) -> None:
        """See `Broker.close`: when their time is over."""
        self._client.close()

    def _open(self) -> None:
        try:
            self._attributes("VisibilityTimeout")
        except QueueMissing as error:
            self.close()
            raise ConfigurationError(str(error)) from error
        except Unavailable as error:
            log.warning("queue_not_reached", queue=self.name, problem=str(error))

    def _wait(self, limit: int, wait: float) -> list[Message]:
        """One batch, asked for in waits that are so short that a request which takes longer has stalled."""
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
            # Amazon has a new name for this, which others do not know: and without the count, a killer kills for ever.
            AttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
        )
        return [_message(entry) for entry in answer.get("Messages", [])]

    def _each(self, method: str, messages: Sequence[Message], **words: Any) -> list[tuple[Message, dict[str, Any]]]:
        """Do it for every message, ten at a time; those that failed, with what SQS says of each."""
        failed = []
        for start in range(0, len(messages), BATCH):
            batch = messages[start : start + BATCH]
            entries = [{"Id": str(n), "ReceiptHandle": message.handle, **words} for n, message in enumerate(batch)]
            answer = self._call(method, Entries=entries)
            failed += [(batch[int(entry["Id"])], entry) for entry in answer.get("Failed", [])]
        return failed

    def _send_to_dead_letters(self, arn: str, message: Message) -> None:
        account, name = arn.split(":")[-2:]
        try:
            with self._translated():
                url = self._url_of(QueueName=name, QueueOwnerAWSAccountId=account)
                self._client.send_message(QueueUrl=url, MessageBody=message.body.decode("utf-8"))
        except (Denied, QueueMissing, ConfigurationError) as error:  # waiting mends none of them
            log.warning("dead_letters_not_reached", queue=arn, problem=str(error))

    def _attributes(self, *names: str) -> dict[str, str]:
        found: dict[str, str] = self._call("get_queue_attributes", AttributeNames=list(names)).get("Attributes", {})
        return found

    def _call(self, method: str, **words: Any) -> dict[str, Any]:
        with self._translated():
            if not self._queue_url:
                self._queue_url = self._url_of(QueueName=self._address.queue)
            answer: dict[str, Any] = getattr(self._client, method)(QueueUrl=self._queue_url, **words)
            return answer

    def _url_of(self, **words: str) -> str:
        url = self._client.get_queue_url(**words).get("QueueUrl")
        if not url:  # an answer whose body was lost on its way is taken for an empty one
            raise Unavailable(f"{self.name}: the answer to GetQueueUrl holds no address")
        return str(url)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with translated(self.name):
            try:
                yield
            except self._client.exceptions.ClientError as error:
                if error.response.get("Error", {}).get("Code") in MISSING:
                    raise QueueMissing(self.name, self._address.queue) from error
                raise


class QueueMissing(Unavailable):
    """There is no such queue; somebody may make it while we wait."""

    def __init__(self, name: str, queue: str) -> None:
        super().__init__(
            f"{name}: there is no such queue, for this account and region. Make it, for example with "
            f"`aws sqs create-queue --queue-name {queue}`, or name another one."
        )


def batches(bodies: Sequence[bytes]) -> Iterator[list[bytes]]:
    """In order, as few as SQS allows: at most BATCH bodies of together at most BATCH_BYTES; a longer one by itself."""
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
    """A queue's URL says where it is, whatever the options are."""
    if not address.url:
        return options
    parts = urlsplit(address.url)
    return replace(options, endpoint=f"{parts.scheme}://{parts.netloc}", region=address.region or options.region)


def in_time(options: AwsOptions, visibility: float) -> AwsOptions:
    """With so little patience that one stalled request does not cost us what we hold for `visibility` seconds."""
    patience = max(SHORTEST_READ, min(LONGEST_READ, visibility / 6))
    return replace(
        options,
        read_timeout=patience,
        connect_timeout=min(options.connect_timeout, patience),
        attempts=min(options.attempts, ATTEMPTS),
    )

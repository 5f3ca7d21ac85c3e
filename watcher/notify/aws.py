"""A queue of SQS and a topic of SNS. A FIFO one delivers the notifications of a key in their order."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from watcher.aws.clients import AwsOptions, make_client, translate_errors
from watcher.core.counts import Counts
from watcher.core.errors import Unavailable
from watcher.core.notification import Notification
from watcher.notify.address import SnsAddress
from watcher.notify.base import ACCEPTED, Answer, Reply
from watcher.queues.brokers.address import SqsAddress
from watcher.queues.outbox import Waiting


class _AwsTarget(ABC):
    """The common part of both: a request has a batch of entries, and its answer names those that failed."""

    batch = 10
    """Entries in one request; neither takes more. Ten bodies are far below the 256 KiB that both accept."""

    def __init__(self, service: str, name: str, fifo: bool, options: AwsOptions, counts: Counts) -> None:
        self.name = name
        self._fifo = fifo
        self._client = make_client(service, options, counts)

    def send(self, waiting: Sequence[Waiting]) -> list[Answer]:
        """See `Target.send`."""
        entries = [{"Id": str(place), **self._group(one)} for place, one in enumerate(waiting)]
        with translate_errors(self.name):
            answer = self._publish(entries, [one.body.decode("ascii") for one in waiting])
        answers = dict.fromkeys(range(len(waiting)), ACCEPTED)
        for entry in answer.get("Failed", []):
            reply = Reply.REFUSED if entry["SenderFault"] else Reply.UNAVAILABLE
            answers[int(entry["Id"])] = Answer(
                reply, f"{self.name}: {entry['Code']} {entry.get('Message', '')}".rstrip()
            )
        return list(answers.values())

    def close(self) -> None:
        """See `Target.close`."""
        self._client.close()

    @abstractmethod
    def check(self, test: Notification) -> str:
        """See `Target.check`. Asks for the attributes, and sends nothing."""

    @abstractmethod
    def _publish(self, entries: list[dict[str, str]], bodies: Sequence[str]) -> dict[str, Any]: ...

    def _group(self, waiting: Waiting) -> dict[str, str]:
        """The key's group, within which the order holds, and the id by which a repetition is dropped."""
        if not self._fifo:
            return {}
        group = hashlib.sha256(waiting.key.encode("utf-8", "surrogatepass")).hexdigest()
        return {"MessageGroupId": group, "MessageDeduplicationId": waiting.id}


class SqsTarget(_AwsTarget):
    """A `Target` that is a queue of SQS."""

    def __init__(self, address: SqsAddress, options: AwsOptions, counts: Counts) -> None:
        """Asks nothing yet. Raises ConfigurationError for options that boto3 refuses."""
        if address.url:
            parts = urlsplit(address.url)
            options = replace(
                options, endpoint=f"{parts.scheme}://{parts.netloc}", region=address.region or options.region
            )
        super().__init__("sqs", f"sqs://{address.queue}", address.queue.endswith(".fifo"), options, counts)
        self._queue, self._url = address.queue, address.url

    def check(self, test: Notification) -> str:
        """See `Target.check`."""
        with translate_errors(self.name):
            self._client.get_queue_attributes(QueueUrl=self._find(), AttributeNames=["QueueArn"])
        return f"{self.name} exists"

    def _publish(self, entries: list[dict[str, str]], bodies: Sequence[str]) -> dict[str, Any]:
        full = [entry | {"MessageBody": body} for entry, body in zip(entries, bodies, strict=True)]
        answer: dict[str, Any] = self._client.send_message_batch(QueueUrl=self._find(), Entries=full)
        return answer

    def _find(self) -> str:
        if not self._url:
            self._url = self._client.get_queue_url(QueueName=self._queue).get("QueueUrl", "")
        if not self._url:  # boto3 parses a truncated answer as an empty one
            raise Unavailable(f"{self.name}: the answer to GetQueueUrl contains no URL")
        return self._url


class SnsTarget(_AwsTarget):
    """A `Target` that is a topic of SNS."""

    def __init__(self, address: SnsAddress, options: AwsOptions, counts: Counts) -> None:
        """Asks nothing yet. Raises ConfigurationError for options that boto3 refuses."""
        options = replace(options, region=address.region)
        super().__init__("sns", f"sns://{address.arn}", address.fifo, options, counts)
        self._arn = address.arn

    def check(self, test: Notification) -> str:
        """See `Target.check`."""
        with translate_errors(self.name):
            self._client.get_topic_attributes(TopicArn=self._arn)
        return f"{self.name} exists"

    def _publish(self, entries: list[dict[str, str]], bodies: Sequence[str]) -> dict[str, Any]:
        full = [entry | {"Message": body} for entry, body in zip(entries, bodies, strict=True)]
        answer: dict[str, Any] = self._client.publish_batch(TopicArn=self._arn, PublishBatchRequestEntries=full)
        return answer

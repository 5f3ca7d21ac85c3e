"""Notifies other systems of each finished image: by webhook, SQS, SNS or RabbitMQ."""

from __future__ import annotations

from watcher.aws.clients import AwsOptions
from watcher.core.counts import Counts
from watcher.notify.address import SnsAddress, WebhookAddress, parse_target
from watcher.notify.base import Target
from watcher.notify.signature import read_secret
from watcher.queues.brokers.address import SqsAddress


def open_target(uri: str, secret: str, *, aws: AwsOptions, counts: Counts) -> Target:
    """Open the target of an address; `secret` is for a webhook, `aws` for SQS and SNS. Raises ConfigurationError."""
    address = parse_target(uri)
    if isinstance(address, WebhookAddress):
        from watcher.notify.webhook import WebhookTarget

        return WebhookTarget(address, read_secret(secret))
    if isinstance(address, SqsAddress):
        from watcher.notify.aws import SqsTarget

        return SqsTarget(address, aws, counts)
    if isinstance(address, SnsAddress):
        from watcher.notify.aws import SnsTarget

        return SnsTarget(address, aws, counts)
    from watcher.notify.amqp import AmqpTarget

    return AmqpTarget(address)

"""Message brokers: SQS and RabbitMQ. A new one is one file and one line here."""

from __future__ import annotations

from watcher.aws import AwsOptions
from watcher.brokers.address import SqsAddress, parse_address
from watcher.brokers.base import Broker
from watcher.counts import Counts


def open_broker(uri: str, *, aws: AwsOptions, visibility: float, prefetch: int, counts: Counts) -> Broker:
    """The broker of `sqs://NAME`, of an SQS queue's https:// URL, or of `amqp://USER:PASSWORD@HOST/VHOST?queue=NAME`.

    `aws` and `visibility` (seconds) are for SQS. Of RabbitMQ at most twice `prefetch` and ten more are in hand at a
    time: what is in work, as much again that has ended and is not yet acknowledged, and a batch of acknowledgements.
    Raises ConfigurationError.
    """
    address = parse_address(uri)
    if isinstance(address, SqsAddress):
        from watcher.brokers.sqs import SqsBroker

        return SqsBroker(address, aws, visibility=visibility, counts=counts)
    from watcher.brokers.amqp import AmqpBroker

    return AmqpBroker(address, most=2 * prefetch + 10)

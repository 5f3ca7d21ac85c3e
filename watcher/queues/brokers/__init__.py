"""Message brokers: SQS and RabbitMQ."""

from __future__ import annotations

from watcher.aws.clients import AwsOptions
from watcher.core.counts import Counts
from watcher.queues.brokers.address import SqsAddress, parse_address
from watcher.queues.brokers.base import Broker


def open_broker(
    uri: str, *, aws: AwsOptions, visibility: float, prefetch: int, counts: Counts, visible: bool = True
) -> Broker:
    """Open the broker of `sqs://NAME`, of an SQS queue's https:// URL, or of `amqp://USER:PASSWORD@HOST/VHOST?queue=NAME`.

    `aws` and `visibility` (seconds) are for SQS. From RabbitMQ at most 2 * `prefetch` + 10 messages are unacknowledged
    at a time: the jobs in progress, as many finished ones, and a batch of acknowledgements. `visible` is as in
    AmqpConnection.
    Raises ConfigurationError.
    """
    address = parse_address(uri)
    if isinstance(address, SqsAddress):
        from watcher.queues.brokers.sqs import SqsBroker

        return SqsBroker(address, aws, visibility=visibility, counts=counts)
    from watcher.queues.brokers.amqp import AmqpBroker

    return AmqpBroker(address, max_unacknowledged=2 * prefetch + 10, visible=visible)

"""Addresses of targets: parsing without network access, and names that never show a secret."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from watcher.core.errors import ConfigurationError
from watcher.queues.brokers.address import AmqpAddress, SqsAddress, parse_amqp, parse_sqs

FORMS = (
    "write https://HOST/PATH for a webhook, sqs://NAME, sns://TOPIC-ARN, amqp://USER:PASSWORD@HOST/VHOST?queue=NAME, "
    "or the same with ?exchange=NAME&routing_key=KEY"
)
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):\d{12}:(?P<name>[A-Za-z0-9_-]{1,256}(\.fifo)?)")
_SQS_HOST = re.compile(r"(^|\.)sqs\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$")


@dataclass(frozen=True, slots=True)
class WebhookAddress:
    """The URL of a webhook. Its path and query may be secret."""

    url: str = field(repr=False)

    @property
    def name(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True, slots=True)
class SnsAddress:
    """A topic of SNS."""

    arn: str
    region: str
    fifo: bool


TargetAddress = WebhookAddress | SqsAddress | SnsAddress | AmqpAddress


def parse_target(uri: str) -> TargetAddress:
    """Parse the address of a target. Raises ConfigurationError, which says what to write and repeats no secret."""
    scheme = uri.partition("://")[0].lower()
    try:
        match scheme:
            case "http" | "https":
                return _webhook(uri)
            case "sqs":
                return parse_sqs(uri, fifo=True)
            case "sns":
                return _sns(uri)
            case "amqp" | "amqps":
                return parse_amqp(uri, scheme, publishes=True)
    except ValueError:  # urlsplit's message would quote the address, password included
        raise ConfigurationError(f"the address cannot be read: {FORMS}.") from None
    raise ConfigurationError(f"the address names no known kind of receiver: {FORMS}.")


def _webhook(uri: str) -> WebhookAddress:
    parts = urlsplit(uri)
    if not parts.hostname or parts.fragment or re.search(r"[\s\x00-\x1f\x7f]", uri):
        raise ConfigurationError(
            "the webhook's address lacks its host, or has a fragment or a space: write https://HOST/PATH."
        )
    if "@" in parts.netloc:
        raise ConfigurationError(
            "the webhook's address takes no user and password: requests are signed, see --notify-secret."
        )
    if _SQS_HOST.search(parts.hostname):
        raise ConfigurationError(
            "this is the address of an SQS queue, not of a webhook: write sqs:// in place of https://."
        )
    _ = parts.port  # raises ValueError
    return WebhookAddress(uri)


def _sns(uri: str) -> SnsAddress:
    arn = uri[len("sns://") :]
    match = _TOPIC.fullmatch(arn)
    if not match:
        raise ConfigurationError("not the address of an SNS topic: write sns://arn:aws:sns:REGION:ACCOUNT:NAME.")
    return SnsAddress(arn, match["region"], match["name"].endswith(".fifo"))

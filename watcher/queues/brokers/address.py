"""Addresses of brokers' queues: parsing without network access, and names that never show a password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, unquote, urlsplit

from watcher.core.errors import ConfigurationError

SQS_FORMS = "write sqs://NAME, or the queue's own address https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
AMQP_FORM = (
    "write amqp://USER:PASSWORD@HOST:PORT/VHOST?queue=NAME (amqps:// for TLS), with &exchange=NAME&routing_key=KEY "
    "where a bucket's events come through an exchange"
)
_PORTS = {"amqp": 5672, "amqps": 5671}
_QUERY = ("queue", "exchange", "routing_key")
_REGION = re.compile(r"(?:^|\.)sqs\.([a-z]+(?:-[a-z]+)+-\d+)\.")


@dataclass(frozen=True, slots=True)
class SqsAddress:
    """An SQS queue, by its name or its URL."""

    queue: str
    url: str = ""
    """Empty if only the name is known."""
    region: str = ""
    """The region that the URL names, empty if it names none."""


@dataclass(frozen=True, slots=True)
class AmqpAddress:
    """A queue on a RabbitMQ server."""

    host: str
    port: int
    tls: bool
    user: str
    password: str = field(repr=False)
    vhost: str
    queue: str
    """Empty where only an exchange is published to."""
    exchange: str = ""
    """The exchange to which the queue is bound, empty for none."""
    routing_key: str = "#"

    @property
    def name(self) -> str:
        """The address without user and password."""
        vhost = "" if self.vhost == "/" else quote(self.vhost, safe="")
        place = f"queue={self.queue}" if self.queue else f"exchange={self.exchange}"
        return f"{'amqps' if self.tls else 'amqp'}://{self.host}:{self.port}/{vhost}?{place}"


def parse_address(uri: str) -> SqsAddress | AmqpAddress:
    """Parse the address of a broker's queue. Raises ConfigurationError, which says what to write."""
    scheme = uri.partition("://")[0].lower()
    try:
        if scheme in _PORTS:
            return parse_amqp(uri, scheme)
        if scheme in ("sqs", "http", "https"):
            return parse_sqs(uri)
    except ValueError:  # urlsplit's message would quote the address, password included
        raise ConfigurationError(f"the queue's address cannot be read: {SQS_FORMS}; or {AMQP_FORM}.") from None
    raise ConfigurationError(f"the queue's address names no known broker: {SQS_FORMS}; or {AMQP_FORM}.")


def parse_sqs(uri: str, *, fifo: bool = False) -> SqsAddress:
    """Parse the address of an SQS queue; with `fifo` also of a FIFO queue. Raises ConfigurationError or ValueError."""
    parts = urlsplit(uri)
    words = [word for word in parts.path.split("/") if word]
    by_name = parts.scheme == "sqs" and not words
    queue = parts.netloc if by_name else words[-1] if words else ""
    if parts.query or parts.fragment or "@" in parts.netloc or not re.fullmatch(r"[A-Za-z0-9_-]{1,80}(\.fifo)?", queue):
        raise ConfigurationError(f"not the address of an SQS queue: {SQS_FORMS}.")
    if queue.endswith(".fifo") and not fifo:
        raise ConfigurationError(f"the SQS queue {queue} is a FIFO queue: create a standard queue, and name that.")
    url = "" if by_name else _plain_url(uri)
    region = _REGION.search(urlsplit(url).hostname or "")
    return SqsAddress(queue, url, region[1] if region else "")


def _plain_url(uri: str) -> str:
    """Turn `sqs://https://HOST/...` and `sqs://HOST/...` into the queue's https URL."""
    rest = uri.removeprefix("sqs://")
    return rest if "://" in rest else f"https://{rest}"


def parse_amqp(uri: str, scheme: str, *, publishes: bool = False) -> AmqpAddress:
    """Parse a RabbitMQ address; with `publishes` an exchange will do in place of a queue, whose name is then empty.

    Raises ConfigurationError or ValueError.
    """
    parts = urlsplit(uri)
    query = parse_qs(parts.query, keep_blank_values=True)
    words = {name: values[-1] for name, values in query.items()}
    if set(words) - set(_QUERY):  # not quoted: it may be part of a password with a question mark
        raise ConfigurationError(f"the RabbitMQ address has parameters other than {', '.join(_QUERY)}: {AMQP_FORM}.")
    if not parts.hostname or not (words.get("queue") or (publishes and words.get("exchange"))):
        missing = "queue" if parts.hostname else "host"
        raise ConfigurationError(f"the RabbitMQ address lacks its {missing}: {AMQP_FORM}.")
    if "/" in parts.path[1:]:
        raise ConfigurationError(f"write a slash in a virtual host or a password as %2F: {AMQP_FORM}.")
    return AmqpAddress(
        host=parts.hostname,
        port=parts.port or _PORTS[scheme],
        tls=scheme == "amqps",
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        vhost=unquote(parts.path[1:]) or "/",
        queue=words.get("queue", ""),
        exchange=words.get("exchange", ""),
        routing_key=words.get("routing_key", "alphadrop" if publishes else "#"),
    )

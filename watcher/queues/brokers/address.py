"""How a broker's queue is written as one address. Reads text only, and never shows a password."""

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
    """A queue's name to be looked up, or its URL."""

    queue: str
    url: str = ""
    """Empty where only the name is known."""
    region: str = ""
    """The region that the URL names, if it does."""


@dataclass(frozen=True, slots=True)
class AmqpAddress:
    """A queue on a server."""

    host: str
    port: int
    tls: bool
    user: str
    password: str = field(repr=False)
    vhost: str
    queue: str
    exchange: str = ""
    """Where the queue is bound to, if anywhere."""
    routing_key: str = "#"

    @property
    def name(self) -> str:
        """For people."""
        vhost = "" if self.vhost == "/" else quote(self.vhost, safe="")
        return f"{'amqps' if self.tls else 'amqp'}://{self.host}:{self.port}/{vhost}?queue={self.queue}"


def parse_address(uri: str) -> SqsAddress | AmqpAddress:
    """Raises ConfigurationError, which says what to write."""
    scheme = uri.partition("://")[0].lower()
    try:
        if scheme in _PORTS:
            return _amqp(uri, scheme)
        if scheme in ("sqs", "http", "https"):
            return _sqs(uri)
    except ValueError:  # of urlsplit, which quotes what it cannot read
        raise ConfigurationError(f"the queue's address cannot be read: {SQS_FORMS}; or {AMQP_FORM}.") from None
    raise ConfigurationError(f"the queue's address names no broker that is known: {SQS_FORMS}; or {AMQP_FORM}.")


def _sqs(uri: str) -> SqsAddress:
    parts = urlsplit(uri)
    words = [word for word in parts.path.split("/") if word]
    by_name = parts.scheme == "sqs" and not words
    queue = parts.netloc if by_name else words[-1] if words else ""
    if parts.query or parts.fragment or "@" in parts.netloc or not re.fullmatch(r"[A-Za-z0-9_-]{1,80}(\.fifo)?", queue):
        raise ConfigurationError(f"not the address of an SQS queue: {SQS_FORMS}.")
    if queue.endswith(".fifo"):
        raise ConfigurationError(f"the SQS queue {queue} is first-in-first-out: make a standard queue, and name that.")
    url = "" if by_name else _plain_url(uri)
    region = _REGION.search(urlsplit(url).hostname or "")
    return SqsAddress(queue, url, region[1] if region else "")


def _plain_url(uri: str) -> str:
    """`sqs://https://HOST/...` and `sqs://HOST/...` are the same queue's https address."""
    rest = uri.removeprefix("sqs://")
    return rest if "://" in rest else f"https://{rest}"


def _amqp(uri: str, scheme: str) -> AmqpAddress:
    parts = urlsplit(uri)
    query = parse_qs(parts.query, keep_blank_values=True)
    words = {name: values[-1] for name, values in query.items()}
    if set(words) - set(_QUERY):  # not to be shown: it may be a password with a question mark in it
        raise ConfigurationError(f"the RabbitMQ address says more than {', '.join(_QUERY)}: {AMQP_FORM}.")
    if not parts.hostname or not words.get("queue"):
        missing = "queue" if parts.hostname else "host"
        raise ConfigurationError(f"the RabbitMQ address lacks its {missing}: {AMQP_FORM}.")
    if "/" in parts.path[1:]:
        raise ConfigurationError(f"a slash in a virtual host or a password is written %2F: {AMQP_FORM}.")
    return AmqpAddress(
        host=parts.hostname,
        port=parts.port or _PORTS[scheme],
        tls=scheme == "amqps",
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        vhost=unquote(parts.path[1:]) or "/",
        queue=words["queue"],
        exchange=words.get("exchange", ""),
        routing_key=words.get("routing_key", "#"),
    )

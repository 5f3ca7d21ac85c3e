"""Checks of the doctor: does the bucket announce new images, and do the announcements arrive where they are read?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from watcher.aws.clients import make_client, translate_errors
from watcher.aws.policies import may_send
from watcher.commands.check import Check
from watcher.core.counts import Counts
from watcher.core.errors import Denied, WatcherError
from watcher.queues.brokers.address import AmqpAddress, SqsAddress, parse_address
from watcher.queues.brokers.amqp import AmqpBroker
from watcher.queues.brokers.sqs import QueueAccess, SqsBroker
from watcher.stores.s3_keys import split_uri
from watcher.stores.s3_notifications import WAYS_TO_CREATE, NotificationRule, Notifications, read_notifications
from watcher.wiring import Wiring

WHAT, BINDING = "notifications", "binding"
SET_UP = "set them up as docs/aws.md or docs/onprem.md says"
_KEY_OF_SQS = "alias/aws/sqs"


@dataclass(frozen=True)
class Reader:
    """Where alphadrop reads events."""

    address: SqsAddress | AmqpAddress | None
    """The queue; None for POST /events."""
    place: str = field(default="", repr=False)
    """The queue's address as it was given; it may hold a password."""
    access: QueueAccess | None = None
    """Who may send to the queue, on SQS."""

    @property
    def name(self) -> str:
        """The reader's name in messages."""
        match self.address:
            case SqsAddress():
                return f"the SQS queue {self.address.queue}"
            case AmqpAddress():
                return f"the exchange {self.address.exchange or '(none)'} on RabbitMQ"
        return "POST /events"


@dataclass(frozen=True)
class Arrival:
    """Whether the events of one rule reach the reader; `ok` is None where that could not be found out."""

    ok: bool | None
    finding: str


def check_event_delivery(wiring: Wiring) -> Iterator[Check]:
    """Follow the way of an event from the bucket, which must be the source, to where it is read.

    Without `--events`, which `work` does not have, nothing is wrong about a bucket that announces nothing.
    """
    bucket, prefix = split_uri(wiring.source)
    try:
        found = read_notifications(make_client("s3", wiring.source_s3.aws, Counts()), bucket)
        reader = _reader(wiring)
    except Denied as error:
        remedy = "This needs s3:GetBucketNotification; on Ceph, run this as the owner of the bucket"
        yield Check(WHAT, None, f"{error}. {remedy}")
        return
    except WatcherError as error:
        yield Check(WHAT, None, str(error))
        return
    expected = wiring.settings.events != "listing"
    rules = [rule for rule in found.rules if rule.concerns(prefix)]
    if not rules and not found.event_bridge:
        yield Check(WHAT, not expected, _nothing(found, bucket, prefix, expected))
        return
    yield from _check_exchange(wiring, reader)
    delivery = _delivery(wiring, found, rules, reader, f"s3://{bucket}/{prefix}")
    yield delivery if expected or delivery.ok else replace(delivery, ok=None)
    yield from _coverage(rules, prefix) if rules and not found.event_bridge else ()


def _reader(wiring: Wiring) -> Reader:
    """Where events are read. Raises Unavailable or ConfigurationError."""
    events = wiring.settings.events
    place = events if "://" in events else wiring.settings.queue if events != "webhook" else ""
    if not place:
        return Reader(None)
    address = parse_address(place)
    if isinstance(address, AmqpAddress):
        return Reader(address, place)
    with closing(wiring.open_broker(place, Counts(), prefetch=1)) as broker:
        assert isinstance(broker, SqsBroker)
        return Reader(address, place, broker.access())


def _nothing(found: Notifications, bucket: str, prefix: str, expected: bool) -> str:
    elsewhere = ", ".join(sorted({f"{rule.prefix}*{rule.suffix}" for rule in found.rules}))
    why = f"; it has notifications, but for other objects or events: {elsewhere}" if elsewhere else ""
    remedy = SET_UP if expected else "only listings find new images"
    return f"s3://{bucket} announces no new objects below {prefix or 'it'}{why}; {remedy}"


# Coverage: which images are announced.


def _coverage(rules: list[NotificationRule], prefix: str) -> Iterator[Check]:
    whole = [rule for rule in rules if rule.covers(prefix)]
    if not whole:
        parts = ", ".join(sorted(rule.prefix for rule in rules))
        yield Check(WHAT, False, f"only objects below {parts} are announced; set the prefix to {prefix!r}")
        return
    missing = set(WAYS_TO_CREATE) - set().union(*(rule.ways for rule in whole))
    if missing:
        names = ", ".join(text for way, text in WAYS_TO_CREATE.items() if way in missing)
        yield Check(WHAT, False, f"not announced: {names}; subscribe to s3:ObjectCreated:*")
    if all(rule.suffix for rule in whole):
        endings = ", ".join(sorted(rule.suffix for rule in whole))
        yield Check(WHAT, True, f"only names that end in {endings} are announced; a listing finds the others")


# Delivery: whether announcements arrive.


def _delivery(wiring: Wiring, found: Notifications, rules: list[NotificationRule], reader: Reader, place: str) -> Check:
    """Whether any rule reaches the reader; otherwise what is in the way."""
    arrivals = [_arrival(wiring, rule, reader) for rule in rules]
    if found.event_bridge:
        arrivals.append(_from_event_bridge(reader))
    best = next((a for wanted in (True, None, False) for a in arrivals if a.ok is wanted), None)
    assert best is not None, "there is a rule or EventBridge"
    findings = best.finding if best.ok else "; ".join(dict.fromkeys(a.finding for a in arrivals if a.ok is best.ok))
    return Check(WHAT, best.ok, f"{place} {findings}")


def _arrival(wiring: Wiring, rule: NotificationRule, reader: Reader) -> Arrival:
    service = rule.target.split(":")[2]
    if rule.target.startswith("arn:minio:"):
        return _from_minio(rule.target, reader)
    if service == "sqs":
        return _from_s3(rule.target, reader, split_uri(wiring.source)[0])
    if service == "sns":
        return _from_topic(wiring, rule.target, reader)
    return Arrival(False, f"sends its events to {rule.target}, and alphadrop reads {reader.name}")


def _wrong(target: str, reader: Reader) -> Arrival:
    return Arrival(False, f"sends its events to {target}, and alphadrop reads {reader.name}: change one of them")


def _from_minio(target: str, reader: Reader) -> Arrival:
    """MinIO's target, such as `arn:minio:sqs::NAME:amqp`, does not say where it leads."""
    kind = target.rpartition(":")[2]
    wanted = "amqp" if isinstance(reader.address, AmqpAddress) else "webhook"
    if kind != wanted or isinstance(reader.address, SqsAddress):
        return _wrong(target, reader)
    return Arrival(True, f"sends its events to {target}; that this is {reader.name}, `mc admin config get` says")


def _from_s3(target: str, reader: Reader, bucket: str) -> Arrival:
    if reader.access is None or reader.access.arn != target:
        return _wrong(target, reader)
    return _into_sqs(reader.access, "s3.amazonaws.com", f"arn:aws:s3:::{bucket}", f"the bucket {bucket}")


def _into_sqs(access: QueueAccess, service: str, source_arn: str, who: str) -> Arrival:
    queue = access.arn.rpartition(":")[2]
    if not may_send(access.policy, service, source_arn):
        return Arrival(False, f"sends its events to {queue}, whose policy does not let {who} send; {SET_UP}")
    if access.kms_key == _KEY_OF_SQS:
        remedy = "use encryption with SQS's own keys, or a KMS key of yours that lets it"
        return Arrival(
            False, f"sends its events to {queue}, whose KMS key {access.kms_key} does not let {who}; {remedy}"
        )
    return Arrival(True, f"sends its events to {queue}, which lets {who} send")


def _from_event_bridge(reader: Reader) -> Arrival:
    if reader.access is None:
        return _wrong("EventBridge", reader)
    ask = f"aws events list-rule-names-by-target --target-arn {reader.access.arn}"
    return Arrival(
        None, f"sends its events to EventBridge, whose rules alphadrop does not read; one must be named by: {ask}"
    )


def _from_topic(wiring: Wiring, topic: str, reader: Reader) -> Arrival:
    """A topic of SNS has subscriptions, one of Ceph a single endpoint."""
    client = make_client("sns", wiring.source_s3.aws, Counts())
    try:
        with translate_errors(f"reading the topic {topic}"):
            endpoint = client.get_topic_attributes(TopicArn=topic)["Attributes"].get("EndPoint")
            subscribed = [] if endpoint else _subscriptions(client, topic)
    except WatcherError as error:
        return Arrival(None, f"sends its events to {topic}; where that leads could not be read: {error}")
    if endpoint:
        return _from_ceph(topic.rpartition(":")[2], json.loads(endpoint), reader)
    if reader.access is None or reader.access.arn not in subscribed:
        return Arrival(False, f"sends its events to {topic}, to which {reader.name} is not subscribed; {SET_UP}")
    return _into_sqs(reader.access, "sns.amazonaws.com", topic, f"the topic {topic.rpartition(':')[2]}")


def _subscriptions(client: Any, topic: str) -> list[str]:
    pages = client.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    return [entry["Endpoint"] for page in pages for entry in page["Subscriptions"]]


def _from_ceph(topic: str, endpoint: dict[str, str], reader: Reader) -> Arrival:
    """`endpoint` holds a password, so that only parts of it are shown."""
    push = urlsplit(endpoint.get("EndpointAddress", ""))
    options = {name: values[-1] for name, values in parse_qs(endpoint.get("EndpointArgs", "")).items()}
    address = reader.address
    if not isinstance(address, AmqpAddress):
        posts = address is None and push.scheme in ("http", "https") and push.path.rstrip("/").endswith("/events")
        target = f"{push.scheme}://{push.hostname}{push.path}"
        return Arrival(True, f"posts its events to {target}") if posts else _wrong(target, reader)
    exchange, vhost = options.get("amqp-exchange", ""), unquote(push.path[1:]) or "/"
    target = f"the exchange {exchange} of the virtual host {vhost} on {push.hostname}"
    if push.scheme not in ("amqp", "amqps") or (exchange, vhost) != (address.exchange, address.vhost):
        return _wrong(f"{push.scheme}: {target}", reader)
    if not matches_key(address.routing_key, topic):
        keys = f"the routing key {topic}, and the queue is bound to {address.routing_key}"
        return Arrival(False, f"sends its events to {target} under {keys}: set routing_key=# in the queue's address")
    rights = "" if options.get("amqp-ack-level") == "none" else "; its user there must be allowed amq.gen-* queues"
    lost = "" if options.get("persistent") == "true" else "; they are lost while RabbitMQ is away: set persistent=true"
    return Arrival(True, f"sends its events to {target}{rights}{lost}")


def matches_key(pattern: str, key: str) -> bool:
    """Whether a queue that is bound to a topic exchange by `pattern` gets messages with this routing key.

    https://www.rabbitmq.com/tutorials/tutorial-five-python
    """
    return _matches(pattern.split("."), key.split("."))


def _matches(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    first, *rest = pattern
    if first == "#":
        return _matches(rest, words) or (bool(words) and _matches(pattern, words[1:]))
    return bool(words) and first in ("*", words[0]) and _matches(rest, words[1:])


def _check_exchange(wiring: Wiring, reader: Reader) -> Iterator[Check]:
    """Whether a queue on RabbitMQ is bound to an exchange that passes events on."""
    address = reader.address
    if not isinstance(address, AmqpAddress):
        return
    if not address.exchange:
        remedy = "add &exchange=NAME to its address, unless you have bound it by hand"
        yield Check(BINDING, None, f"{address.name} names no exchange, so alphadrop binds the queue to none; {remedy}")
        return
    try:
        routes = _routes_by_pattern(wiring, reader.place)
    except WatcherError as error:
        yield Check(BINDING, False, str(error))
        return
    finding = f"the queue {address.queue} is bound to the exchange {address.exchange} by {address.routing_key}"
    remedy = ", which is neither a topic nor a fanout exchange: delete it, alphadrop then creates it anew"
    yield Check(BINDING, routes, finding if routes else finding + remedy)


def _routes_by_pattern(wiring: Wiring, place: str) -> bool:
    with closing(wiring.open_broker(place, Counts(), prefetch=1)) as broker:
        assert isinstance(broker, AmqpBroker)
        return broker.routes_by_pattern()

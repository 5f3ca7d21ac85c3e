"""What `alphadrop doctor` asks of buckets and brokers: can they be used, and what do they promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from watcher.compose import find_model, make_links
from watcher.config.settings import Settings
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError, WatcherError
from watcher.queues.brokers.base import Broker
from watcher.stores.s3_config import NO_CONDITIONAL_WRITES
from watcher.wiring import Links

if TYPE_CHECKING:
    from watcher.queues.brokers.sqs import Redrive

FEWEST_RECEIVES = 10
"""An image that kills its workers is found out by the fifth delivery; those that never arrive are counted as well."""


@dataclass(frozen=True)
class Check:
    """One finding: all right, or what to do about it."""

    what: str
    ok: bool
    finding: str


def remote_checks(settings: Settings) -> Iterator[Check]:
    """A check for each of source, sink, queue and events that is not of this machine."""
    try:
        links = make_links(settings, find_model(settings))
    except ConfigurationError:  # which the check of the weights tells
        return
    if settings.source_path is None:
        yield _tried("source", partial(_source, links))
    if settings.sink_path is None:
        yield _tried("sink", partial(_sink, links))
    for what, address in (("queue", settings.queue), ("events", settings.events)):
        if "://" in address:
            yield _tried(what, partial(_broker, links, address))


def _tried(what: str, ask: Callable[[], str]) -> Check:
    try:
        return Check(what, True, ask())
    except WatcherError as error:
        return Check(what, False, str(error))


def _source(links: Links) -> str:
    first = next(links.open_source(Counts()).list(), None)
    return f"{links.source} can be listed" + ("" if first else "; there is nothing in it")


def _sink(links: Links) -> str:
    conditions = links.open_sink(Counts()).probe_conditional_writes() or NO_CONDITIONAL_WRITES
    enforced = [
        *(["If-None-Match"] if conditions.if_none_match else []),
        *([f"If-Match ({conditions.if_match} ETags)"] if conditions.if_match else []),
    ]
    if len(enforced) == 2:
        return f"{links.sink} can be written, and enforces {' and '.join(enforced)}"
    return (
        f"{links.sink} can be written, but enforces {enforced[0] if enforced else 'no conditions'}: an image is looked "
        "at once more after each output, to repair what two workers do at the same moment"
    )


def _broker(links: Links, address: str) -> str:
    from watcher.queues.brokers import open_broker

    broker = open_broker(address, aws=links.sqs, visibility=links.visibility, prefetch=1, counts=Counts())
    try:
        depth = broker.depth()
        return f"{broker.name}: {depth.pending:,} pending, {depth.in_flight:,} in flight{_letters(broker)}"
    finally:
        broker.close()


def _letters(broker: Broker) -> str:
    """What becomes of messages that nobody answers for. Raises ConfigurationError where that would hit images."""
    redrive = getattr(broker, "redrive", None)
    if redrive is None:
        return ""
    found: Redrive = redrive()
    if not found.dead_letters:
        return "; it has no dead-letter queue: messages that are no events will be deleted"
    if found.most_receives < FEWEST_RECEIVES:
        raise ConfigurationError(
            f"{broker.name} sets a message aside after {found.most_receives} deliveries, which may be before alphadrop "
            f"can say what is wrong with an image: set maxReceiveCount to {FEWEST_RECEIVES} or more"
        )
    return f"; dead letters after {found.most_receives} deliveries go to {found.dead_letters.rpartition(':')[2]}"

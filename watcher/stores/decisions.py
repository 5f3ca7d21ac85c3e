"""What a person has decided about cut-outs: small JSON files in the sink, one for each image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum

from watcher.core.errors import Gone, Rejected, Stale, Unavailable
from watcher.core.jobs import ImageRef
from watcher.stores.base import INTERNAL_PREFIX, Store

DECISIONS_PREFIX = f"{INTERNAL_PREFIX}review/"
"""Prefix of decisions in the sink: `_alphadrop/review/<source key>.json`."""


class Verdict(StrEnum):
    """A decision about a cut-out."""

    ACCEPTED = "accepted"
    """It is good enough."""
    REJECTED = "rejected"
    """It must not be used; it stays in the sink."""
    REDONE = "redone"
    """Another model has made it again."""


@dataclass(frozen=True)
class Decision:
    """What was decided about the outputs that one job made of an image; it does not hold for those of another job."""

    key: str
    """The image's key in the source."""
    job: str
    """The job whose outputs it is about."""
    verdict: Verdict
    confidence: float | None
    """Of the matte that was looked at; None where it records none."""
    when: str = ""
    """Date and time, UTC, in ISO 8601."""
    model: str = ""
    """With REDONE: the model that made the outputs again, and the start of its digest."""


def decision_key(source_key: str) -> str:
    """The key of the decision about an image in the sink."""
    return f"{DECISIONS_PREFIX}{source_key}.json"


def write_decision(sink: Store, decision: Decision) -> None:
    """Write a decision over an earlier one about the same image. Raises Unavailable."""
    fields = asdict(decision) | {"when": decision.when or datetime.now(UTC).isoformat(timespec="seconds")}
    text = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
    try:
        sink.put_record(decision_key(decision.key), text.encode())
    except (Rejected, ValueError) as error:
        raise Unavailable(f"the decision about {decision.key} cannot be written: {error}") from error


def read_decisions(sink: Store) -> Iterator[Decision]:
    """Every decision in a sink. Other objects are skipped. Raises Unavailable."""
    yield from filter(None, (_read(sink, ref) for ref in sink.list(DECISIONS_PREFIX)))


def read_decision(sink: Store, source_key: str) -> Decision | None:
    """The decision about an image; None if there is none. Raises Unavailable."""
    ref = sink.stat(sink.record_location(decision_key(source_key)))
    return _read(sink, ref) if ref else None


def _read(sink: Store, ref: ImageRef) -> Decision | None:
    try:
        fields = json.loads(sink.read(ref))
        return Decision(**fields | {"verdict": Verdict(fields["verdict"])})
    except (Gone, Stale, ValueError, KeyError, TypeError):
        return None

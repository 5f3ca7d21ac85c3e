"""What a series is, as a value: its name and all that there is to say of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Generic, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

# The library would add a `_created` gauge to each counter and histogram: a third more series that nobody asks for.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

T = TypeVar("T", Counter, Gauge, Histogram, Info)

NAMESPACE = "alphadrop"
DEVICE = "device"
"""The label whose values are not known before a device is heard of."""
_UNITS = {
    "_timestamp_seconds": "Unix time in seconds",
    "_seconds": "seconds",
    "_bytes": "bytes",
    "_ratio": "0 to 1",
    "_watts": "watts",
    "_celsius": "degrees Celsius",
    "_images": "images",
    "_pixels": "pixels",
}


@dataclass(frozen=True, eq=False)
class Series(Generic[T]):
    """One metric family. `name` is without our prefix and without the `_total` or `_info` that the library adds."""

    kind: type[T]
    name: str
    text: str
    """The help text: what it is."""
    use: str = ""
    """What it is good for, where the help is not enough. For the reference page alone."""
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The values of each label; of DEVICE they are not known. An info's own labels are `facts`."""
    only: Sequence[tuple[str, ...]] = ()
    """The sets of labels that occur, where that is not each value with each."""
    buckets: Sequence[float] = ()
    facts: Sequence[str] = ()
    late: bool = False
    """Not there from the start, since 0 would be wrong: only when there is something to tell."""
    unit: str = ""

    @property
    def full_name(self) -> str:
        """As queries write it."""
        return f"{NAMESPACE}_{self.name}{ {Counter: '_total', Info: '_info'}.get(self.kind, '') }"

    @property
    def units(self) -> str:
        """What its values are in, as words; empty where they are a plain number."""
        return self.unit or next((text for ending, text in _UNITS.items() if self.name.endswith(ending)), "")

    @property
    def per_device(self) -> bool:
        """Whether its sets of labels begin when a device is first heard of."""
        return DEVICE in self.labels

    def sets(self, device: str = "") -> Iterator[tuple[str, ...]]:
        """Every set of labels, in the order of `labels`, for one device where there are such."""
        values = [(device,) if name == DEVICE else values for name, values in self.labels.items()]
        return iter(self.only or product(*values))

    def make(self, registry: CollectorRegistry) -> T:
        """The library's object."""
        options: Any = {"buckets": self.buckets} if self.buckets else {}
        return self.kind(self.name, self.text, tuple(self.labels), namespace=NAMESPACE, registry=registry, **options)

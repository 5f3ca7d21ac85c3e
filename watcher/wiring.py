"""What joins the halves of the system: source, sink, queue and recipe, as plain values that any process can open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from watcher.aws.clients import AwsOptions
from watcher.core.counts import Counts
from watcher.core.jobs import Job, Recipe
from watcher.queues import open_queue
from watcher.queues.base import Queue
from watcher.sources.events import encode_arrival
from watcher.sources.names import SourceFilter
from watcher.sources.notices import Notices
from watcher.stores import S3Config, open_store
from watcher.stores.base import Store


@dataclass(frozen=True)
class Links:
    """Where images come from, where they go, and where jobs wait."""

    source: str
    sink: str
    queue: str
    """`sqlite://PATH`, or the address of a broker's queue, which may hold a password."""
    recipe: Recipe
    source_s3: S3Config = field(default_factory=S3Config)
    sink_s3: S3Config = field(default_factory=S3Config)
    sqs: AwsOptions = field(default_factory=AwsOptions)
    visibility: float = 60.0
    exclude: tuple[str, ...] = ()
    """Keys of folders below the source that are not watched."""

    @property
    def shared(self) -> bool:
        """Whether other machines may work on the same images."""
        return not self.queue.startswith("sqlite://")

    @property
    def source_is_bucket(self) -> bool:
        """Whether objects appear whole, and cannot be watched."""
        return self.source.startswith("s3://")

    @property
    def one_service(self) -> bool:
        """Whether source and sink, if they are buckets, are reached at the same service."""
        return self.source_s3.aws == self.sink_s3.aws

    @property
    def names(self) -> SourceFilter:
        """Which keys of the source are images."""
        return SourceFilter(self.exclude)

    @property
    def sink_has_conditional_writes(self) -> bool:
        """Whether a put fails where the output has changed since it was looked at."""
        enforced = self.sink_s3.conditional_writes if self.sink.startswith("s3://") else None
        return enforced is not None and enforced.if_none_match and bool(enforced.if_match)

    def for_threads(self, threads: int) -> Links:
        """The same with so many connections to each service."""
        return replace(
            self,
            source_s3=_wider(self.source_s3, threads),
            sink_s3=_wider(self.sink_s3, threads),
            sqs=replace(self.sqs, connections=max(self.sqs.connections, threads)),
        )

    def open_source(self, counts: Counts) -> Store:
        """The source's store."""
        return open_store(self.source, self.source_s3, counts)

    def open_sink(self, counts: Counts) -> Store:
        """The sink's store."""
        return open_store(self.sink, self.sink_s3, counts)

    def open_queue(self, counts: Counts, *, capacity: int = 1) -> Queue:
        """The queue, for at most `capacity` jobs in hand at a time. Raises ConfigurationError or Unavailable."""
        if not self.shared:
            return open_queue(self.queue)
        from watcher.queues.broker import BrokerQueue
        from watcher.queues.brokers import open_broker

        notices = Notices(self.open_source(counts), self.names, counts)

        def jobs_of(body: bytes) -> list[Job]:
            return [self.recipe.job(ref) for ref in notices.refs(body)]

        def body_of(job: Job) -> bytes:
            return encode_arrival(self.source, job.ref)

        broker = open_broker(self.queue, aws=self.sqs, visibility=self.visibility, prefetch=capacity, counts=counts)
        return BrokerQueue(broker, jobs_of, body_of, counts=counts)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can carry it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Links:
        """What `to_dict` has written."""
        nested = {
            "recipe": Recipe(**values["recipe"]),
            "source_s3": S3Config.from_dict(values["source_s3"]),
            "sink_s3": S3Config.from_dict(values["sink_s3"]),
            "sqs": AwsOptions(**values["sqs"]),
            "exclude": tuple(values["exclude"]),
        }
        return cls(**{**values, **nested})


def _wider(config: S3Config, threads: int) -> S3Config:
    return replace(config, aws=replace(config.aws, connections=max(config.aws.connections, threads)))

"""From settings to what is made of them: model, recipe, stores, queue, sources, a worker's configuration."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from inference.errors import ModelError
from inference.models.entry import ModelEntry
from inference.models.registry import PIPELINE, resolve
from watcher.aws.clients import AwsOptions
from watcher.config.preflight import key_inside, moved_to
from watcher.config.settings import Settings
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Mode, Recipe
from watcher.core.workerconfig import WorkerConfig
from watcher.ingest.comparison import OTHER_CLOCK, SAME_CLOCK
from watcher.ingest.intake import Intake, MakeSource
from watcher.ingest.reconcile import Patrol, Reconciler
from watcher.queues import open_queue
from watcher.queues.base import EmbeddedQueue, Queue
from watcher.queues.brokers.base import Broker
from watcher.sources.base import Source, SourceNews
from watcher.sources.bucket import BucketSource
from watcher.sources.folder import FolderSource
from watcher.sources.notices import Notices
from watcher.stores import PutOptions, S3Config
from watcher.stores.base import Store
from watcher.stores.local import LocalStore
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary
from watcher.wiring import Links

_EVENTS = 100
"""Messages of a bucket's events that are in hand at a time."""
MOST_REJECTED = 100_000
"""As many rejected images are listed, and no more."""


def find_model(settings: Settings) -> ModelEntry:
    """The catalogue's entry. Raises ConfigurationError."""
    try:
        return resolve(settings.model, settings.canvas, settings.model_contract, settings.rembg_path)
    except ModelError as error:
        raise ConfigurationError(f"--model: {error}") from error


def make_recipe(settings: Settings, entry: ModelEntry) -> Recipe:
    """All that decides an output besides the image."""
    options = {"pipeline": PIPELINE, **entry.options, "png_level": settings.png_level}
    return Recipe(settings.source_uri, entry.digest, options, settings.output_name)


def make_links(settings: Settings, entry: ModelEntry) -> Links:
    """Where everything is, and what it is opened with."""
    aws = AwsOptions(settings.s3_endpoint, settings.s3_region, settings.s3_profile, settings.s3_path_style)
    sink_aws = replace(
        aws,
        endpoint=settings.sink_s3_endpoint or aws.endpoint,
        region=settings.sink_s3_region or aws.region,
        profile=settings.sink_s3_profile or aws.profile,
    )
    put = PutOptions(settings.s3_storage_class, settings.s3_kms_key, settings.s3_tags, settings.s3_acl)
    return Links(
        source=settings.source_uri,
        sink=settings.sink_uri,
        queue=settings.queue or f"sqlite://{settings.state_path / 'queue.sqlite'}",
        recipe=make_recipe(settings, entry),
        source_s3=S3Config(aws),
        sink_s3=S3Config(sink_aws, put),
        sqs=AwsOptions(region=settings.s3_region, profile=settings.s3_profile),
        visibility=settings.visibility,
        exclude=tuple(_exclude(settings)),
    )


def _exclude(settings: Settings) -> Iterator[str]:
    """Keys of folders below the source that are not watched."""
    if settings.source_path is not None:
        if settings.exclude_sink and settings.sink_path is not None:
            yield os.path.relpath(settings.sink_path, settings.source_path) + "/"
        return
    for place in (settings.sink_uri, moved_to(settings.source_uri, settings.after)):
        inside = key_inside(settings.source_uri, place) if place else None
        if inside:
            yield inside


def doubt_of(links: Links) -> float:
    """How far apart times of source and sink must be to tell which is younger, in seconds."""
    both = links.source_is_bucket and links.sink.startswith("s3://")
    return SAME_CLOCK if both and links.one_service else OTHER_CLOCK


class Parts:
    """What a daemon is made of, opened as far as its mode needs it."""

    def __init__(self, settings: Settings, entry: ModelEntry) -> None:
        """Opens nothing."""
        self.settings, self.entry = settings, entry
        self.links = make_links(settings, entry)
        self.counts = Counts()
        self.capabilities: dict[str, bool] = {}
        """What the sink's store enforces."""
        self.swept = self.resumed = 0
        self._closing = ExitStack()

    source: Store
    sink: Store
    queue: Queue
    embedded: EmbeddedQueue | None

    def open(self, mode: Mode) -> None:
        """Open source, sink and queue and see that they work. Raises ConfigurationError or Unavailable: then again."""
        if self.settings.sink_path is not None:
            self.settings.sink_path.mkdir(parents=True, exist_ok=True)
        self.source, self.sink = self.links.open_source(self.counts), self.links.open_sink(self.counts)
        if mode.watches and self.links.source_is_bucket:
            next(self.source.list(), None)
        if mode in (Mode.RUN, Mode.WATCH) and "://" in self.settings.events:
            self._open_events().close()
        if mode.works:
            self._probe_conditional_writes()
            self.swept = self.sink.sweep()
        self._open_queue()

    def close(self) -> None:
        """Close what was opened."""
        self._closing.close()

    def _probe_conditional_writes(self) -> None:
        """Find out what the sink's store enforces, for the workers and the metrics."""
        enforced = self.sink.probe_conditional_writes()
        if enforced is None:
            return
        links = self.links
        if links.one_service:  # then it enforces the same for the source
            links = replace(links, source_s3=replace(links.source_s3, conditional_writes=enforced))
        self.links = replace(links, sink_s3=replace(links.sink_s3, conditional_writes=enforced))
        self.capabilities = {"if_none_match": enforced.if_none_match, "if_match": bool(enforced.if_match)}

    def _open_queue(self) -> None:
        if self.links.shared:
            self.queue, self.embedded = self.links.open_queue(self.counts), None
        else:
            self.queue = self.embedded = open_queue(self.links.queue)
        self._closing.callback(self.queue.close)
        if self.embedded:
            self.resumed = self.embedded.abandon_all()

    def intake(
        self, mode: Mode, metrics: Metrics, health: Health, summary: RunSummary, wake: Callable[[], None]
    ) -> Intake:
        """All that arrivals come from."""
        reconciler = Reconciler(self.links.recipe, self.source, self.sink, self.queue, self.embedded)
        notices = Notices(self.source, self.links.names, self.counts)
        sources = dict(self._sources(mode, reconciler, notices))
        return Intake(reconciler, sources, notices, metrics, health, summary, wake)

    def _sources(self, mode: Mode, reconciler: Reconciler, notices: Notices) -> Iterator[tuple[str, MakeSource]]:
        once = mode is Mode.ONCE
        # A folder's outputs can be looked at for nothing, and its clock is another one than the bucket's.
        cheap = self.settings.sink_path is not None
        if not self.links.source_is_bucket:
            yield "source", lambda news: self._folder(news, once)
            if self.links.shared:  # what a worker elsewhere did not find there is not known here
                settle = max(self.settings.settle, 1.0)
                rest = Patrol(reconciler, self.links.names, deep=cheap, doubt=doubt_of(self.links), settle=settle)
                yield "reconcile", lambda news: BucketSource(rest, self.settings.rescan_seconds, news)
            return
        patrol = Patrol(reconciler, self.links.names, deep=cheap, records=not once, doubt=doubt_of(self.links))
        yield "source", lambda news: BucketSource(patrol, self.settings.rescan_seconds, news)
        if "://" in self.settings.events and not once:
            yield "events", lambda news: self._messages(news, notices)

    def _folder(self, news: SourceNews, once: bool) -> Source:
        settings = self.settings
        assert isinstance(self.source, LocalStore)
        return FolderSource(
            self.source,
            settle=settings.settle,
            rescan=settings.rescan_seconds,
            poll=settings.poll,
            mode="listing" if once else settings.watch,
            exclude=self.links.exclude,
            news=news,
        )

    def _messages(self, news: SourceNews, notices: Notices) -> Source:
        from watcher.sources.messages import MessageSource

        return MessageSource(self._open_events(), notices, news)

    def _open_events(self) -> Broker:
        """The queue that the bucket's events come through, if it is not the one that jobs wait in."""
        from watcher.queues.brokers import open_broker

        links, counts = self.links, self.counts
        return open_broker(
            self.settings.events, aws=links.sqs, visibility=links.visibility, prefetch=_EVENTS, counts=counts
        )


def worker_line(settings: Settings, parts: Parts, owner: str, device: str, threads: int) -> str:
    """What a worker is told, as one line."""
    return WorkerConfig(
        owner=owner,
        links=parts.links.to_dict(),
        after=settings.after,
        device=device,
        model=parts.entry.to_dict(),
        batch=settings.batch,
        max_wait=settings.max_wait_ms / 1000,
        threads=threads,
        cuda_graphs=settings.cuda_graphs == "auto",
        images_in_flight=settings.images_in_flight,
        pixels_in_flight=int(settings.megapixels_in_flight * 1e6),
        max_pixels=settings.max_pixels,
        png_level=settings.png_level,
        device_timeout=settings.device_timeout,
        log_format=settings.log_format,
        log_level=settings.log_level,
        test_hook=settings.test_hook,
    ).to_line()


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """One daemon for one state folder. Raises ConfigurationError naming the other one."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise ConfigurationError(
                f"Another alphadrop (process {file.read().strip() or 'unknown'}) works on these folders; stop it, or "
                "give this one another --state if it is to work on others."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield

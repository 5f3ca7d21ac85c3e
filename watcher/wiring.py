"""From the settings to what a process opens: the model's entry, the recipe of outputs, the stores and the queue."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property

from inference.compose.values import Format
from inference.errors import ModelError
from inference.models.entry import ModelEntry
from inference.models.registry import PIPELINE, resolve
from inference.review.calibration import calibration_digest
from watcher.aws.clients import AwsOptions
from watcher.config.outputs import OutputSettings
from watcher.config.preflight import key_inside, moved_to
from watcher.config.settings import DecidesOutput, Settings, changed_settings, settings_that_decide
from watcher.config.validators import place_uri
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Job, Mode, OutputRecipe, Recipe
from watcher.notify.base import Target
from watcher.notify.writer import NotificationWriter
from watcher.queues import open_queue
from watcher.queues.base import EmbeddedQueue, Queue
from watcher.queues.brokers.base import Broker
from watcher.queues.outbox import MAX_HELD
from watcher.sources.event_resolver import EventResolver
from watcher.sources.events import encode_arrival
from watcher.sources.source_filter import SourceFilter
from watcher.stores import ConditionalWrites, PutOptions, S3Config, open_store
from watcher.stores.base import Store
from watcher.stores.output_claim import claimed_outputs
from watcher.telemetry.manifest import BucketManifest, FileManifest, ManifestWriter


def find_model(settings: Settings, *, need_file: bool = True) -> ModelEntry:
    """The registry's entry for `--model`. Raises ConfigurationError.

    Without `need_file`, it is also found where only its digest is known: enough for job ids, see `registry.resolve`.
    """
    folder = settings.rembg_path
    try:
        return resolve(settings.model, settings.canvas, settings.model_contract, folder, need_file=need_file)
    except ModelError as error:
        raise ConfigurationError(f"--model: {error}") from error


def find_strong_model(settings: Settings, *, need_file: bool = True) -> ModelEntry | None:
    """The entry for `--strong`; None without one. Raises ConfigurationError. See `find_model`."""
    if not settings.strong:
        return None
    try:
        return resolve(settings.strong, None, settings.strong_contract, settings.rembg_path, need_file=need_file)
    except ModelError as error:
        raise ConfigurationError(f"--strong: {error}") from error


@dataclass(frozen=True)
class Wiring:
    """Where images come from, where they go and where jobs wait; the same in supervisor, workers and commands."""

    settings: Settings
    model: ModelEntry
    conditional_writes: ConditionalWrites | None = None
    """Which conditional writes the sink's store was found to enforce; None where it was not probed."""
    connections: int = AwsOptions.connections
    """Connections to each service that are kept open: as many as threads use it."""
    strong: ModelEntry | None = None
    """The strong model of a cascade."""
    broker_visible: bool = True
    """Whether this process logs that a broker's connection is lost. Not in a supervisor whose workers report it."""

    @classmethod
    def of(cls, settings: Settings) -> Wiring:
        """The wiring of these settings. Raises ConfigurationError where the model is not found."""
        strong = find_strong_model(settings, need_file=False)
        return cls(settings, find_model(settings, need_file=False), strong=strong)

    def for_threads(self, threads: int) -> Wiring:
        """The same with a connection to each service for every thread."""
        return replace(self, connections=max(self.connections, threads))

    @cached_property
    def source(self) -> str:
        """The source's URI."""
        return self.settings.source_uri

    @cached_property
    def sink(self) -> str:
        """The sink's URI."""
        return self.settings.sink_uri

    @cached_property
    def queue(self) -> str:
        """`sqlite://PATH`, or the address of a broker's queue, which may hold a password."""
        return self.settings.queue or f"sqlite://{self.settings.state_path / 'queue.sqlite'}"

    @cached_property
    def recipe(self) -> Recipe:
        """All that decides an output besides the image."""
        own = {name: getattr(self.settings, name) for name in settings_that_decide(DecidesOutput.CUTOUT)}
        own |= changed_settings(self.settings, DecidesOutput.CHANGED_CUTOUT)
        options = {"pipeline": PIPELINE, **self.model.options, **own, **self._cascade}
        outputs = tuple(_output_recipe(output, self.settings.png_level) for output in self.settings.outputs)
        moved_from = place_uri(self.settings.moved_from) if self.settings.moved_from else ""
        return Recipe(self.source, self.model.digest, options, outputs, moved_from)

    @property
    def _cascade(self) -> dict[str, str | int | float | bool]:
        """What of a cascade decides the cut-out; nothing without one, so that job ids stay as they were."""
        if self.strong is None:
            return {}
        model = {f"strong_{name}": value for name, value in self.strong.options.items()}
        settings = self.settings
        share = settings.strong_share
        rule = {"strong_below": settings.strong_threshold} if share is None else {"strong_share": share}
        return {"strong": self.strong.digest, "calibration": calibration_digest(), **model, **rule}

    @property
    def needs_unknown_memory(self) -> bool:
        """Whether a worker runs a third-party model, which may be large."""
        return any(entry is not None and bool(entry.contract) for entry in (self.model, self.strong))

    @property
    def shared(self) -> bool:
        """Whether other machines may work on the same images, because the queue is on a message broker."""
        return bool(self.settings.queue)

    @property
    def source_is_bucket(self) -> bool:
        """Whether objects appear whole, and cannot be watched."""
        return self.source.startswith("s3://")

    @property
    def sink_is_bucket(self) -> bool:
        """Whether outputs are objects of a bucket."""
        return self.sink.startswith("s3://")

    @property
    def same_service(self) -> bool:
        """Whether source and sink are buckets of one service, with one clock and the same conditional writes."""
        return self.source_is_bucket and self.sink_is_bucket and self.source_s3.aws == self.sink_s3.aws

    @cached_property
    def excluded(self) -> tuple[str, ...]:
        """Prefixes of keys below the source that are not watched: where the sink and moved images are."""
        return tuple(_excluded(self.settings))

    @cached_property
    def names(self) -> SourceFilter:
        """Which keys of the source are images."""
        return SourceFilter(self.excluded, self.settings.exclude)

    @property
    def source_s3(self) -> S3Config:
        """What the source is opened with, if it is a bucket."""
        settings = self.settings
        aws = AwsOptions(
            settings.s3_endpoint,
            settings.s3_region,
            settings.s3_profile,
            settings.s3_path_style,
            connections=self.connections,
        )
        return S3Config(aws)

    @property
    def sink_s3(self) -> S3Config:
        """What the sink is opened with, if it is a bucket."""
        settings, aws = self.settings, self.source_s3.aws
        aws = replace(
            aws,
            endpoint=settings.sink_s3_endpoint or aws.endpoint,
            region=settings.sink_s3_region or aws.region,
            profile=settings.sink_s3_profile or aws.profile,
        )
        put = PutOptions(settings.s3_storage_class, settings.s3_kms_key, settings.s3_tags, settings.s3_acl)
        return S3Config(aws, put, self.conditional_writes)

    @property
    def sqs(self) -> AwsOptions:
        """What a queue of SQS is opened with."""
        settings = self.settings
        return AwsOptions(region=settings.s3_region, profile=settings.s3_profile, connections=self.connections)

    @property
    def sink_has_conditional_writes(self) -> bool:
        """Whether a put fails where the output has changed since it was looked at."""
        return self.conditional_writes is not None and all(self.conditional_writes.enforced.values())

    def open_source(self, counts: Counts) -> Store:
        """The source's store."""
        config = self.source_s3
        if self.same_service:  # then what was found out of the sink holds for the source
            config = replace(config, conditional_writes=self.conditional_writes)
        return open_store(self.source, config, counts)

    def open_sink(self, counts: Counts) -> Store:
        """The sink's store."""
        return open_store(self.sink, self.sink_s3, counts)

    def open_manifest(self, counts: Counts) -> ManifestWriter | None:
        """What adds finished images to the manifest; None if there is none."""
        place, path = self.settings.manifest, self.settings.manifest_path
        if not place:
            return None
        config = self.sink_s3
        manifest = FileManifest(path) if path else BucketManifest(open_store(place_uri(place), config, counts))
        return ManifestWriter(manifest, self.source, self.sink)

    def open_queue(self, counts: Counts, *, capacity: int = 1) -> Queue:
        """The queue, for at most `capacity` jobs in flight. Raises ConfigurationError or Unavailable."""
        if not self.shared:
            return open_queue(self.queue)
        from watcher.queues.broker import BrokerQueue

        resolver = EventResolver(self.open_source(counts), self.names, counts)

        def jobs_of(body: bytes) -> list[Job]:
            return [self.recipe.job(ref) for ref in resolver.resolve(body)]

        def body_of(job: Job) -> bytes:
            return encode_arrival(self.source, job.ref)

        held = MAX_HELD if self.settings.notify else 0  # messages that wait for the delivery of a notification
        broker = self.open_broker(self.queue, counts, prefetch=capacity + held)
        return BrokerQueue(broker, jobs_of, body_of, counts=counts)

    def open_broker(self, address: str, counts: Counts, *, prefetch: int) -> Broker:
        """A broker's queue, for at most `prefetch` messages in flight. Raises ConfigurationError or Unavailable."""
        from watcher.queues.brokers import open_broker

        visibility, visible = self.settings.visibility, self.broker_visible
        return open_broker(
            address, aws=self.sqs, visibility=visibility, prefetch=prefetch, counts=counts, visible=visible
        )

    @property
    def notifications(self) -> NotificationWriter | None:
        """The writer of notifications of finished images; None where there is no receiver."""
        if not self.settings.notify:
            return None
        return NotificationWriter(self.source, self.sink, self.model.title, self.model.digest)

    def open_target(self, counts: Counts) -> Target:
        """The receiver of notifications, which must be set. Raises ConfigurationError."""
        from watcher.notify import open_target

        return open_target(self.settings.notify, self.settings.notify_secret, aws=self.sqs, counts=counts)


def _output_recipe(output: OutputSettings, png_level: int) -> OutputRecipe:
    """How an output is made. Raises ConfigurationError where its background cannot be read."""
    spec = output.spec
    # The plain PNG has no option but this one: its ids are those of the time when it was the only output there was.
    level = {"png_level": png_level} if spec.format is Format.PNG else {}
    look = {} if spec.is_plain else {"output": spec.changes()}
    return OutputRecipe(output.name, output.pattern, {**level, **look, **_background(output)})


def _background(output: OutputSettings) -> dict[str, str]:
    """The digest of the picture behind the object, if there is one: another picture is another output."""
    path = output.spec.background_path
    if path is None:
        return {}
    try:
        return {"background": hashlib.sha256(path.read_bytes()).hexdigest()}
    except OSError as error:
        problem = f"{path} cannot be read ({error.strerror}); name a colour, or a picture that every worker can read"
        raise ConfigurationError(f'output "{output.name}": background: {problem}.') from error


def _excluded(settings: Settings) -> Iterator[str]:
    if settings.source_path is not None:
        if settings.exclude_sink and settings.sink_path is not None:
            yield os.path.relpath(settings.sink_path, settings.source_path) + "/"
        return
    for place in (settings.sink_uri, moved_to(settings.source_uri, settings.after)):
        inside = key_inside(settings.source_uri, place) if place else None
        if inside:
            yield inside


class Parts:
    """What a daemon has open: source, sink and queue."""

    def __init__(self, wiring: Wiring) -> None:
        """Opens nothing."""
        self.wiring = wiring
        self.counts = Counts()
        self.swept = 0
        """Temporary files of dead writers that were removed from the sink."""
        self.resumed = 0
        """Jobs of a dead daemon that are pending again."""
        self._closing = ExitStack()

    source: Store
    sink: Store
    queue: Queue
    embedded: EmbeddedQueue | None
    """The queue, where it is this machine's own."""

    def open(self, mode: Mode) -> None:
        """Open what the mode needs, and see that it works.

        Raises ConfigurationError, or Unavailable: then it may be called again.
        """
        self.wiring = replace(self.wiring, broker_visible=mode.watches)
        settings, wiring = self.wiring.settings, self.wiring
        if settings.sink_path is not None:
            settings.sink_path.mkdir(parents=True, exist_ok=True)
        self.source, self.sink = wiring.open_source(self.counts), wiring.open_sink(self.counts)
        if mode.watches and wiring.source_is_bucket:
            next(self.source.list(), None)
        if mode in (Mode.RUN, Mode.WATCH) and "://" in settings.events:
            wiring.open_broker(settings.events, self.counts, prefetch=1).close()
        if mode.works:
            self._probe_conditional_writes()
            self.swept = self.sink.sweep()
        self._open_queue()

    def close(self) -> None:
        """Close what was opened."""
        self._closing.close()

    def _probe_conditional_writes(self) -> None:
        """Find out what the sink's store enforces, for the workers and the metrics."""
        self.wiring = replace(self.wiring, conditional_writes=self.sink.probe_conditional_writes())

    def _open_queue(self) -> None:
        if self.wiring.shared:
            self.queue, self.embedded = self.wiring.open_queue(self.counts), None
        else:
            self.queue = self.embedded = open_queue(self.wiring.queue)
        self._closing.callback(self.queue.close)
        if self.embedded:
            patterns = [output.pattern for output in self.wiring.recipe.outputs]
            self._closing.enter_context(claimed_outputs(self.source, self.sink, patterns))
            self.resumed = self.embedded.abandon_all()

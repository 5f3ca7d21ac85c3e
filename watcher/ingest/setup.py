"""Builds the intake and its sources from the settings and the mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from watcher.core.jobs import Mode
from watcher.ingest.enqueue import Enqueuer
from watcher.ingest.intake import Intake, SourceFactory
from watcher.ingest.listing_comparison import OTHER_CLOCK_TOLERANCE, SAME_CLOCK_TOLERANCE
from watcher.ingest.reconcile import Reconciler
from watcher.sources.base import Source, SourceCallbacks
from watcher.sources.event_resolver import EventResolver
from watcher.sources.folder import FolderSource
from watcher.sources.reconciling import ReconcilingSource
from watcher.stores.local import LocalStore
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary
from watcher.wiring import Parts, Wiring

EVENT_MESSAGES = 100
"""Messages with a bucket's events that are in flight at a time."""


def make_intake(
    parts: Parts, mode: Mode, metrics: Metrics, health: Health, summary: RunSummary, wake: Callable[[], None]
) -> Intake:
    """Make the intake with every source that the settings name."""
    wiring = parts.wiring
    enqueuer = Enqueuer(wiring.recipe, parts.source, parts.sink, parts.queue, parts.embedded)
    resolver = EventResolver(parts.source, wiring.names, parts.counts)
    return Intake(enqueuer, dict(_sources(parts, mode, enqueuer, resolver)), resolver, metrics, health, summary, wake)


def clock_tolerance(wiring: Wiring) -> float:
    """How many seconds apart the times of image and output must be to show which is younger."""
    return SAME_CLOCK_TOLERANCE if wiring.same_service else OTHER_CLOCK_TOLERANCE


def _sources(
    parts: Parts, mode: Mode, enqueuer: Enqueuer, resolver: EventResolver
) -> Iterator[tuple[str, SourceFactory]]:
    wiring, settings, once = parts.wiring, parts.wiring.settings, mode is Mode.ONCE
    # Looking at an output in a folder costs nothing; its clock is not the bucket's.
    deep, tolerance, rescan = not wiring.sink_is_bucket, clock_tolerance(wiring), settings.rescan_seconds
    folder = parts.source
    if isinstance(folder, LocalStore):
        yield "source", lambda callbacks: _folder_source(folder, wiring, once, callbacks)
        if wiring.shared:  # this process does not hear when a worker elsewhere finds an image missing
            settle = max(settings.settle, 1.0)
            rest = Reconciler(
                enqueuer, wiring.names, deep=deep, clock_tolerance=tolerance, settle=settle, listed_elsewhere=True
            )
            yield "reconcile", lambda callbacks: ReconcilingSource(rest, rescan, callbacks)
        return
    reconciler = Reconciler(enqueuer, wiring.names, deep=deep, records=not once, clock_tolerance=tolerance)
    yield "source", lambda callbacks: ReconcilingSource(reconciler, rescan, callbacks)
    if "://" in settings.events and not once:
        yield "events", lambda callbacks: _message_source(parts, resolver, callbacks)


def _folder_source(folder: LocalStore, wiring: Wiring, once: bool, callbacks: SourceCallbacks) -> Source:
    settings = wiring.settings
    return FolderSource(
        folder,
        settle=settings.settle,
        rescan=settings.rescan_seconds,
        poll=settings.poll,
        mode="listing" if once else settings.watch,
        names=wiring.names,
        callbacks=callbacks,
    )


def _message_source(parts: Parts, resolver: EventResolver, callbacks: SourceCallbacks) -> Source:
    from watcher.sources.messages import MessageSource

    events = parts.wiring.open_broker(parts.wiring.settings.events, parts.counts, prefetch=EVENT_MESSAGES)
    return MessageSource(events, resolver, callbacks)

"""`alphadrop reconcile`: one comparison of source and sink, and what it finds undone into the queue."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

from watcher.compose import doubt_of, find_model, make_links
from watcher.config.settings import Settings
from watcher.core.batches import in_batches
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import ImageRef
from watcher.ingest.comparison import Comparison, Finding
from watcher.ingest.reconcile import Reconciler
from watcher.queues import open_queue
from watcher.sources.base import Arrival, Hint
from watcher.stores.base import Store
from watcher.wiring import Links

BATCH = 500


def audit(
    settings: Settings,
    *,
    deep: bool,
    enqueue: bool,
    say: Callable[[ImageRef, Finding], None],
    progress: Callable[[Counter[Finding]], None],
) -> Counter[Finding]:
    """Compare all that there is; how many images were found in which state.

    `say` hears of each image that is to be done, `progress` of the counts so far. A daemon that runs meanwhile takes
    up what is enqueued. Raises ConfigurationError or Unavailable.
    """
    _require_sink(settings, enqueue)
    links, counts = make_links(settings, find_model(settings)), Counts()
    source, sink = links.open_source(counts), links.open_sink(counts)
    deep = deep or settings.sink_path is not None  # where it costs nothing
    comparison = Comparison(links.recipe, source, sink, links.names, deep=deep, doubt=doubt_of(links))
    with ExitStack() as stack:
        take = _taker(settings, links, source, sink, stack) if enqueue else (lambda arrivals: None)
        for batch in in_batches(comparison.undone(threading.Event()), BATCH):
            for ref, finding in batch:
                say(ref, finding)
            take([Arrival(ref, Hint.RECONCILE) for ref, _ in batch])
            progress(comparison.found)
    return comparison.found


def _require_sink(settings: Settings, enqueue: bool) -> None:
    if settings.sink_path is None:
        return
    if enqueue:
        settings.sink_path.mkdir(parents=True, exist_ok=True)
    elif not settings.sink_path.exists():
        raise ConfigurationError(f"SINK {settings.sink_path} does not exist yet: not one image has an output.")


def _taker(
    settings: Settings, links: Links, source: Store, sink: Store, stack: ExitStack
) -> Callable[[list[Arrival]], object]:
    if links.shared:
        queue = links.open_queue(Counts())
        stack.callback(queue.close)
        return Reconciler(links.recipe, source, sink, queue, None).accept
    settings.state_path.mkdir(parents=True, exist_ok=True)
    embedded = open_queue(links.queue)
    stack.callback(embedded.close)
    return Reconciler(links.recipe, source, sink, embedded, embedded).accept

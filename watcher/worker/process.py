"""The worker process: owns one device, leases jobs, runs each image's path in a thread of its own.

`python -m watcher.worker.process` reads its configuration from the first line of its standard input, then one command
a line (`wake`, `drain`); it writes one report a line. When its input ends, its supervisor is dead, and it goes at once:
whatever it had in hand is still in the queue.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

import structlog

from inference.engine import Engine, EngineOptions
from inference.errors import ModelError
from inference.models import open_model
from inference.models.entry import ModelEntry
from inference.models.registry import verify
from inference.picture import BatchStats
from watcher.core.backoff import backoff
from watcher.core.counts import Counts
from watcher.core.errors import Unavailable
from watcher.core.jobs import ImageRef, Lease
from watcher.core.workerconfig import WorkerConfig
from watcher.protocol import BatchReport, CountsReport, HeartbeatReport, ReadyReport, Report, UnavailableReport, encode
from watcher.queues.base import Queue
from watcher.telemetry.logs import configure
from watcher.wiring import Links
from watcher.worker.after_success import aftercare
from watcher.worker.crash_markers import CrashMarkers
from watcher.worker.image_path import ImagePath, PixelBudget

log = structlog.get_logger(__name__)

HEARTBEAT = 1.0
SUSPECTS = 60.0
"""Seconds a busy worker may go on before it empties its hands for a suspect, which is only handed out alone."""
MOMENT = 0.1
"""Seconds: a queue that has taken longer to say that it has nothing has waited for something."""
MOST_IN_FLIGHT = 66
"""Where a GPU chooses its batch: what waits in this worker's hands, no other worker has."""
IDLE = 2.0
"""Seconds after which an idle worker looks into the queue unasked: wake-ups are hints."""
BACKOFF, MOST_BACKOFF = 0.25, 15.0
"""First and longest pause where the queue cannot be asked."""
EXIT_DEVICE, EXIT_CONFIG, EXIT_STUCK = 70, 78, 75


class Reporter:
    """Reports to the supervisor, from any thread. Nobody there any more: then there is nothing left to work for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, report: Report) -> None:
        line = encode(report) + "\n"
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
            except OSError:
                os._exit(0)


class Worker:
    """Keeps as many images in flight as it may, until it is told to drain."""

    def __init__(self, config: WorkerConfig, path: ImagePath, queue: Queue, most: int, tell: Reporter) -> None:
        """At most `most` images are in flight."""
        self.config, self.path, self.queue, self.most, self.tell = config, path, queue, most, tell
        self._changed = threading.Condition()
        self._flying: set[Future[None]] = set()
        self._few = most // 6 + 1
        """So many free places are worth a look into the queue, which costs the same for one job as for several."""
        self._alone = self._draining = self._woken = False
        self._empty_at = time.monotonic()
        self._refusals = 0
        """How often in a row the queue could not be asked."""
        self._failed: BaseException | None = None

    def run(self) -> None:
        """Lease and process until drained. Raises what ended an image's thread unexpectedly (a lost device)."""
        with ThreadPoolExecutor(self.most, thread_name_prefix="image") as pool:
            while not self._stopping():
                asked = time.monotonic()
                leases = self._lease()
                for lease in leases:
                    self._start(pool, lease)
                if leases or time.monotonic() - asked < MOMENT:  # else the queue has waited for work already
                    self._rest()
        if self._failed:
            raise self._failed

    def wake(self) -> None:
        """There may be work."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def drain(self) -> None:
        """Lease nothing more; `run` returns when what is in flight has ended."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    @property
    def flying(self) -> int:
        """Images in flight."""
        return len(self._flying)

    def _stopping(self) -> bool:
        return self._draining or self._failed is not None

    def _lease(self) -> list[Lease]:
        """What may be started now: nothing beside a suspect, and a suspect beside nothing."""
        with self._changed:
            self._woken = False
            free = 0 if self._alone else self.most - len(self._flying)
            if free == self.most:
                self._empty_at = time.monotonic()
        try:
            if free <= 0 or self._suspects_wait():
                return []
            leases = self.queue.lease(self.config.owner, free, alone=free == self.most)
            self._refusals = 0
            return leases
        except Unavailable as error:
            self.tell(
                UnavailableReport(
                    key="", stage="queue_wait", reason=error.reason, detail=str(error), public=error.public
                )
            )
            self._back_off()
            return []

    def _back_off(self) -> None:
        """Longer from time to time: a queue that answers too late hands out messages that nobody gets."""
        self._refusals += 1
        with self._changed:
            self._changed.wait_for(self._stopping, backoff(self._refusals, BACKOFF, MOST_BACKOFF))

    def _suspects_wait(self) -> bool:
        """Whether to let what is in flight end first: else a suspect would wait for as long as there is other work."""
        return time.monotonic() - self._empty_at > SUSPECTS and self.queue.suspects() > 0

    def _start(self, pool: ThreadPoolExecutor, lease: Lease) -> None:
        if self.config.shared and self._stopping():  # asked to while the broker was
            lease.release()
            return
        with self._changed:
            self._alone = lease.alone
            future = pool.submit(self.path.process, lease)
            self._flying.add(future)
        future.add_done_callback(self._landed)

    def _landed(self, future: Future[None]) -> None:
        with self._changed:
            self._flying.discard(future)
            self._alone = False
            self._failed = self._failed or future.exception()
            self._woken = self._woken or self.most - len(self._flying) >= self._few
            if self._woken or self._failed:
                self._changed.notify_all()

    def _rest(self) -> None:
        """Until enough places are free, or there may be work."""
        with self._changed:
            self._changed.wait_for(lambda: self._woken or self._stopping(), timeout=IDLE)


def in_flight(engine: Engine) -> int:
    """Enough images in flight to have the next batch decoded and the last one encoded while the device works."""
    if engine.options.device == "cpu":
        return engine.batch_limit + 2
    enough = 2 * engine.batch_limit + 2
    return enough if engine.options.batch else min(MOST_IN_FLIGHT, enough)


def warn(engine: Engine) -> None:
    """What the device could not have, once."""
    for note in engine.slowdowns:
        log.warning("device_slower", device=engine.options.device, problem=note)


def make_path(
    config: WorkerConfig, links: Links, engine: Engine, queue: Queue, counts: Counts, tell: Reporter
) -> ImagePath:
    """What every image meets on its way."""
    source, sink = links.open_source(counts), links.open_sink(counts)
    return ImagePath(
        source,
        sink,
        engine,
        PixelBudget(config.pixels_in_flight),
        CrashMarkers(sink),
        config.max_pixels,
        config.png_level,
        tell,
        after=aftercare(config.after, source),
        renew=renewal(links, queue),
        recheck=links.source_is_bucket or (links.shared and not links.sink_has_conditional_writes),
        test_hook=config.test_hook,
    )


def renewal(links: Links, queue: Queue) -> Callable[[ImageRef], None] | None:
    """Puts what an object has become into the queue. Not for files: one that has changed may still be changing."""
    if not links.source_is_bucket:
        return None

    def renew(ref: ImageRef) -> None:
        queue.put([links.recipe.job(ref)])

    return renew


def beat(config: WorkerConfig, engine: Engine, worker: Worker, counts: Counts, tell: Reporter) -> None:
    """Every second: alive, and how the device is. Ends the process when the device hangs or is lost."""
    while True:
        stats = engine.stats()
        tell(
            HeartbeatReport(
                device=config.device,
                memory=stats.memory,
                batch_limit=engine.batch_limit,
                out_of_memory=stats.out_of_memory,
                busy_seconds=round(stats.busy_seconds, 3),
                in_flight=worker.flying,
                stages=worker.path.occupancy.snapshot(stats.running),
                gpu=stats.gpu,
                cpu_seconds=round(time.process_time(), 3),
                resident_bytes=resident_bytes(),
            )
        )
        tell(CountsReport(counts=counts.snapshot()))
        if stats.busy_since and time.monotonic() - stats.busy_since > config.device_timeout:
            log.error("device_stuck", device=config.device, seconds=config.device_timeout)
            os._exit(EXIT_STUCK)
        engine.lost.wait(HEARTBEAT)
        if engine.lost.is_set():
            # The images in flight fail now and end `run`; an idle worker has nobody else to notice.
            time.sleep(HEARTBEAT)
            os._exit(EXIT_DEVICE)


def resident_bytes() -> int:
    """Main memory that this process holds."""
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * resource.getpagesize()


def obey(worker: Worker, commands: TextIO) -> None:
    """Commands until the supervisor is gone; then go at once."""
    for line in commands:
        if line.strip() == "drain":
            worker.drain()
        else:
            worker.wake()
    os._exit(0)


def serve(config: WorkerConfig, commands: TextIO, tell: Reporter) -> int:
    """Start the engine, work until drained; the exit code."""

    def on_batch(stats: BatchStats) -> None:
        tell(
            BatchReport(
                device=config.device,
                size=stats.size,
                slots=stats.slots,
                trigger=stats.trigger,
                seconds=stats.infer_seconds,
            )
        )

    entry = ModelEntry.from_dict(config.model)
    options = EngineOptions(
        config.device,
        entry.name,
        batch=config.batch,
        max_wait=config.max_wait,
        threads=config.threads,
        cuda_graphs=config.cuda_graphs,
    )
    try:
        verify(entry)
        engine = Engine(options, model=open_model(entry), on_batch=on_batch)
        warm = engine.start()
    except ModelError as error:
        log.error("model_unusable", problem=str(error))
        return EXIT_CONFIG
    warn(engine)
    most, counts = config.images_in_flight or in_flight(engine), Counts()
    links = Links.from_dict(config.links).for_threads(most)
    queue = links.open_queue(counts, capacity=most)
    worker = Worker(config, make_path(config, links, engine, queue, counts, tell), queue, most, tell)
    signal.signal(signal.SIGTERM, lambda *_: worker.drain())
    tell(
        ReadyReport(
            device=config.device,
            device_name=engine.device_name,
            model=entry.name,
            warmup_seconds=round(warm, 3),
            uuid=engine.uuid,
        )
    )
    for target, args in ((obey, (worker, commands)), (beat, (config, engine, worker, counts, tell))):
        threading.Thread(target=target, args=args, daemon=True, name=target.__name__).start()
    gc.freeze()  # torch's objects stay; to look at them again and again takes longer than what an image leaves
    worker.run()
    queue.close()
    tell(CountsReport(counts=counts.snapshot()))
    engine.close()
    return 0


def take_stdout() -> TextIO:
    """Standard output for reports alone: whatever a library prints goes to standard error."""
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "w", encoding="utf-8")


def main() -> None:
    """The process. It never returns: threads that hang must not keep it alive."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the supervisor decides
    tell = Reporter(take_stdout())
    config = WorkerConfig(**json.loads(sys.stdin.readline()))
    configure(config.log_format, config.log_level)
    try:
        code = serve(config, sys.stdin, tell)
    except BaseException as error:
        log.error("worker_failed", device=config.device, problem=f"{type(error).__name__}: {error}", exc_info=True)
        code = EXIT_DEVICE
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()

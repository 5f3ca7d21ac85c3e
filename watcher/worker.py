"""The worker process: owns one device, leases jobs, runs each image's path in a thread of its own.

`python -m watcher.worker` reads its configuration from the first line of its standard input, then one command a line
(`wake`, `drain`); it writes one report a line. When its input ends, its supervisor is dead, and it goes at once:
whatever it had in hand is still in the queue.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TextIO

import structlog

from inference.engine import Engine, EngineOptions
from inference.errors import ModelError
from inference.picture import BatchStats
from watcher.errors import Unavailable
from watcher.image import ImagePath, PixelBudget
from watcher.logs import configure
from watcher.queues import open_queue
from watcher.queues.base import Queue
from watcher.reports import BatchReport, DeviceReport, Ready, Report, TroubleReport, encode_report
from watcher.stores import open_store
from watcher.work import Lease
from watcher.workerconfig import WorkerConfig

log = structlog.get_logger(__name__)

HEARTBEAT = 1.0
SUSPECTS = 60.0
"""Seconds a busy worker may go on before it empties its hands for a suspect, which is only handed out alone."""
IDLE = 2.0
"""Seconds after which an idle worker looks into the queue unasked: wake-ups are hints."""
EXIT_DEVICE, EXIT_CONFIG, EXIT_STUCK = 70, 78, 75


class Reporter:
    """Reports to the supervisor, from any thread. Nobody there any more: then there is nothing left to work for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, report: Report) -> None:
        line = encode_report(report) + "\n"
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
            except OSError:
                os._exit(0)


class Worker:
    """Keeps as many images in flight as it may, until it is told to drain."""

    def __init__(self, config: WorkerConfig, engine: Engine, queue: Queue, tell: Reporter) -> None:
        self.config, self.engine, self.queue, self.tell = config, engine, queue, tell
        self.most = config.images_in_flight or in_flight(engine)
        self.path = ImagePath(
            open_store(config.source),
            open_store(config.sink),
            engine,
            PixelBudget(config.pixels_in_flight),
            config.max_pixels,
            config.png_level,
            tell,
            config.test_hook,
        )
        self._changed = threading.Condition()
        self._flying: set[Future[None]] = set()
        self._alone = self._draining = self._woken = False
        self._empty_at = time.monotonic()
        self._failed: BaseException | None = None

    def run(self) -> None:
        """Lease and process until drained. Raises what ended an image's thread unexpectedly (a lost device)."""
        with ThreadPoolExecutor(self.most, thread_name_prefix="image") as pool:
            while not self._stopping():
                for lease in self._lease():
                    self._start(pool, lease)
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
            return self.queue.lease(self.config.owner, free, alone=free == self.most)
        except Unavailable as error:
            self.tell(TroubleReport("", "queue_wait", type(error).__name__, str(error)))
            time.sleep(random.uniform(0.2, 1.0))
            return []

    def _suspects_wait(self) -> bool:
        """Whether to let what is in flight end first: else a suspect would wait for as long as there is other work."""
        return time.monotonic() - self._empty_at > SUSPECTS and self.queue.stats().suspects > 0

    def _start(self, pool: ThreadPoolExecutor, lease: Lease) -> None:
        with self._changed:
            self._alone = lease.alone
            future = pool.submit(self.path.process, lease)
            self._flying.add(future)
        future.add_done_callback(self._landed)

    def _landed(self, future: Future[None]) -> None:
        with self._changed:
            self._flying.discard(future)
            self._alone = False
            self._woken = True  # a place is free: worth a look into the queue
            self._failed = self._failed or future.exception()
            self._changed.notify_all()

    def _rest(self) -> None:
        """Until a place is free, or there may be work."""
        with self._changed:
            self._changed.wait_for(lambda: self._woken or self._stopping(), timeout=IDLE)


def in_flight(engine: Engine) -> int:
    """Enough images in flight to have the next batch decoded and the last one encoded while the device works."""
    return 2 * engine.batch_limit + 2 if engine.options.device != "cpu" else engine.batch_limit + 2


def beat(config: WorkerConfig, engine: Engine, worker: Worker, tell: Reporter) -> None:
    """Every second: alive, and how the device is. Ends the process when the device hangs or is lost."""
    while True:
        stats = engine.stats()
        tell(
            DeviceReport(
                config.device,
                stats.memory,
                engine.batch_limit,
                stats.out_of_memory,
                round(stats.busy_seconds, 3),
                worker.flying,
            )
        )
        if stats.busy_since and time.monotonic() - stats.busy_since > config.device_timeout:
            log.error("device_stuck", device=config.device, seconds=config.device_timeout)
            os._exit(EXIT_STUCK)
        engine.lost.wait(HEARTBEAT)
        if engine.lost.is_set():
            # The images in flight fail now and end `run`; an idle worker has nobody else to notice.
            time.sleep(HEARTBEAT)
            os._exit(EXIT_DEVICE)


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
        tell(BatchReport(config.device, stats.size, stats.slots, stats.trigger, stats.infer_seconds))

    options = EngineOptions(
        config.device, config.model, config.canvas, config.batch, max_wait=config.max_wait, threads=config.threads
    )
    try:
        engine = Engine(options, on_batch=on_batch)
        warm = engine.start()
    except ModelError as error:
        log.error("model_unusable", problem=str(error))
        return EXIT_CONFIG
    worker = Worker(config, engine, open_queue(config.queue), tell)
    signal.signal(signal.SIGTERM, lambda *_: worker.drain())
    tell(Ready(config.device, engine.device_name, config.model, round(warm, 3)))
    for target, args in ((obey, (worker, commands)), (beat, (config, engine, worker, tell))):
        threading.Thread(target=target, args=args, daemon=True, name=target.__name__).start()
    worker.run()
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

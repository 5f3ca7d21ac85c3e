"""Page and API as one part of the daemon: made from the settings, opened with the queue, closed after the server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import structlog
from starlette.routing import Route

from watcher.config.settings import Settings
from watcher.core.errors import Unavailable
from watcher.protocol import ImageReport, Report
from watcher.queues.base import QueueStats
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.web.access import Access
from watcher.web.api.cutting import Options
from watcher.web.api.service import Service, measured
from watcher.web.cutouts import Backend, Cutouts
from watcher.web.history import History
from watcher.web.redo import Remake
from watcher.web.routes import Api
from watcher.web.static import page_routes
from watcher.web.status import StatusBoard, Worker
from watcher.web.thumbnails import Thumbnails
from watcher.web.uploads import Receiver
from watcher.wiring import Parts

log = structlog.get_logger(__name__)

HISTORY = "page.sqlite"
"""The list of images, in the state folder."""
SHOWN_FAILURES = 10
"""Rejected images that the status names."""


class Frontend:
    """The page and the API as one object, which the supervisor opens and closes."""

    def __init__(self, settings: Settings, metrics: Metrics, health: Health) -> None:
        """Opens the list of images; everything else is answered with 503 until `open`."""
        assert settings.http_address is not None, "checked before the start"
        self._settings, self._health = settings, health
        self._history = History(settings.state_path / HISTORY)
        self._board = StatusBoard()
        self._thumbnails = Thumbnails(settings.max_pixels)
        self._remake = Remake(settings, lambda record, answer: self.cutouts.remade(record, answer))
        self.cutouts = Cutouts(self._history, settings.upload_prefix, is_remade=self._remake.is_waiting)
        self.access = Access(settings.api_token, settings.http_address[0])
        receiver = Receiver(settings.upload_bytes)
        self.api = Api(self.cutouts, self.access, receiver, self._thumbnails, self._remake, self.status)
        self.service = Service(self.api, Options.of(settings))
        self._metrics = metrics
        self._page = page_routes() if settings.page else []

    def routes(self) -> list[Route]:
        """The routes of API and page, for the server."""
        return [
            *(measured(route, self._metrics) for route in (*self.api.routes(), *self.service.routes())),
            *self._page,
        ]

    def open(
        self,
        parts: Parts,
        wake: Callable[[], None],
        hurry: Callable[[], None] = lambda: None,
        workers: Callable[[], Sequence[Worker]] = lambda: (),
    ) -> None:
        """Start to serve requests from the open source, sink and queue.

        `wake` is called when jobs are pending, `hurry` when somebody waits for an image, `workers` for the status.
        """
        self._board.workers = workers
        recipe = parts.wiring.recipe
        self.cutouts.open(Backend(recipe, parts.source, parts.sink, parts.queue, parts.embedded, wake, hurry))
        threading.Thread(target=self._recover, daemon=True, name="recover").start()

    def _recover(self) -> None:
        try:
            found = self.cutouts.recover()
        except Unavailable as error:
            log.warning("history_not_recovered", problem=str(error))
            return
        if found:
            log.info("history_recovered", items=found)

    def take_report(self, worker: str, report: Report) -> None:
        """Take a worker's report into the list and the status. Returns at once."""
        self._board.take_report(worker, report)
        if isinstance(report, ImageReport):
            self.cutouts.report(report)
            self.service.cutting.pace.finished()

    def count(self, stats: QueueStats) -> None:
        """Show this snapshot of the queue in the status."""
        self._board.stats = stats

    def status(self) -> dict[str, Any]:
        """What the daemon is doing, as JSON."""
        settings = self._settings
        failures = self._history.last_failures(SHOWN_FAILURES)
        return {
            "version": version("alphadrop"),
            **self._board.snapshot(),
            "unready": self._health.unready(),
            "model": settings.model,
            "strong": settings.strong or None,
            "models": self._remake.models(),
            "presets": self._remake.presets(),
            "outputs": [output.name for output in settings.outputs],
            "upload_limit": settings.upload_bytes,
            "failures": [self.cutouts.json(record) for record in failures],
        }

    def stop(self) -> None:
        """End the connections that would stay open; called before the server stops."""
        self.api.live.close()

    def close(self) -> None:
        """Close child processes, threads and the list; called after the server has stopped."""
        self._remake.close()
        self._thumbnails.close()
        self.api.close()
        self.service.close()
        self._history.close()

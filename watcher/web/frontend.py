"""Page and API as one part of the daemon: made from the settings, opened with the queue, closed after the server."""

from __future__ import annotations

from collections.abc import Callable

from starlette.routing import Route

from watcher.config.settings import Settings
from watcher.protocol import ImageReport, Report
from watcher.telemetry.metrics import Metrics
from watcher.web.access import Access
from watcher.web.api.cutting import Options
from watcher.web.api.service import Service, measured
from watcher.web.cutouts import Backend, Cutouts
from watcher.web.history import History
from watcher.web.routes import Api
from watcher.web.static import page_routes
from watcher.web.uploads import Receiver
from watcher.wiring import Parts

HISTORY = "page.sqlite"
"""The list of images, in the state folder."""


class Frontend:
    """What the supervisor has of page and API."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Opens the list of images; everything else is answered with 503 until `open`."""
        assert settings.http_address is not None, "checked before the start"
        self._history = History(settings.state_path / HISTORY)
        self.cutouts = Cutouts(self._history, settings.upload_prefix)
        self.access = Access(settings.api_token, settings.http_address[0])
        self.api = Api(self.cutouts, self.access, Receiver(settings.upload_bytes))
        self.service = Service(self.api, Options.of(settings))
        self._metrics = metrics
        self._page = page_routes() if settings.page else []

    def routes(self) -> list[Route]:
        """For the server."""
        return [
            *(measured(route, self._metrics) for route in (*self.api.routes(), *self.service.routes())),
            *self._page,
        ]

    def open(self, parts: Parts, wake: Callable[[], None]) -> None:
        """Source, sink and queue are open; `wake` is called when jobs are pending."""
        recipe = parts.wiring.recipe
        self.cutouts.open(Backend(recipe, parts.source, parts.sink, parts.queue, parts.embedded, wake))

    def hear(self, worker: str, report: Report) -> None:
        """A worker has sent a report. Returns at once."""
        if isinstance(report, ImageReport):
            self.cutouts.report(report)
            self.service.cutting.pace.finished()

    def close(self) -> None:
        """After the server has stopped."""
        self.api.close()
        self.service.close()
        self._history.close()

"""The pages: metrics for Prometheus, probes for Kubernetes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from watcher.metrics import Metrics

FRESH = 30.0
"""Seconds: a supervisor whose main loop has not come round for longer is stuck, and to be restarted."""

INDEX = """alphadrop

/metrics  for Prometheus
/livez    200 while the supervisor's loop comes round
/readyz   200 while images are being worked on, else what is missing
"""


class Health:
    """Which parts are well, and when the supervisor last came round. Safe to use from any thread."""

    def __init__(self, *parts: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`parts` are not ready until they are set."""
        self.clock = clock
        self._lock = threading.Lock()
        self._unready = dict.fromkeys(parts, "starting")
        self._beat = clock()

    def set(self, part: str, ok: bool, why: str = "") -> None:
        """Say whether a part can do its work; `why` not, in a few words."""
        with self._lock:
            if ok:
                self._unready.pop(part, None)
            else:
                self._unready[part] = why

    def ready(self) -> dict[str, str]:
        """The parts that are not ready, and why; {} when all are."""
        with self._lock:
            return dict(sorted(self._unready.items()))

    def beat(self) -> None:
        """The supervisor's loop has come round."""
        self._beat = self.clock()

    def alive(self, now: float | None = None) -> bool:
        """Whether the last beat is fresh; `now` is the clock's."""
        return (self.clock() if now is None else now) - self._beat <= FRESH


def create_app(metrics: Metrics, health: Health, extra: Sequence[Route] = ()) -> Starlette:
    """The application, with `extra` routes. Its own pages wait for nothing, least of all for storage."""
    text = INDEX + "".join(f"{route.path:<9} takes {', '.join(sorted(route.methods or ()))}\n" for route in extra)

    async def index(_: Request) -> Response:
        return PlainTextResponse(text)

    def show_metrics(request: Request) -> Response:  # in a thread of the pool: it reads /proc
        metrics.readiness(health.ready())  # now, not when it was last looked at
        content, kind = metrics.render(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": kind})

    async def livez(_: Request) -> Response:
        alive = health.alive()
        return PlainTextResponse("ok\n" if alive else "the supervisor is stuck\n", 200 if alive else 503)

    async def readyz(_: Request) -> Response:
        missing = [{"part": part, "why": why} for part, why in health.ready().items()]
        return JSONResponse({"ready": not missing, "missing": missing}, 503 if missing else 200)

    pages = {"/": index, "/metrics": show_metrics, "/livez": livez, "/readyz": readyz}
    return Starlette(routes=[*(Route(path, page) for path, page in pages.items()), *extra])

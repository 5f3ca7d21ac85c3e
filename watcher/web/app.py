"""The HTTP application: metrics for Prometheus, probes for Kubernetes."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.web.errors import ApiError, error_response

INDEX = """alphadrop

/metrics  metrics for Prometheus
/livez    200 while the supervisor's main loop runs
/readyz   200 while every part is ready; otherwise 503 and the parts that are not
"""


def create_app(metrics: Metrics, health: Health, extra: Sequence[Route] = ()) -> Starlette:
    """The application, with `extra` routes. Its own pages never wait for storage or for the queue."""
    shown = [route for route in extra if not route.path.startswith("/v1/")]
    text = INDEX + "".join(f"{route.path:<9} accepts {', '.join(sorted(route.methods or ()))}\n" for route in shown)

    async def index(_: Request) -> Response:
        return PlainTextResponse(text)

    def show_metrics(request: Request) -> Response:  # not async: it reads /proc, so it runs in the thread pool
        metrics.readiness(health.unready())
        content, kind = metrics.render(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": kind})

    async def livez(_: Request) -> Response:
        alive = health.alive()
        return PlainTextResponse("ok\n" if alive else "the supervisor is stuck\n", 200 if alive else 503)

    async def readyz(_: Request) -> Response:
        unready = [{"part": part, "reason": reason} for part, reason in health.unready().items()]
        return JSONResponse({"ready": not unready, "unready": unready}, 503 if unready else 200)

    pages = {"/": index, "/metrics": show_metrics, "/livez": livez, "/readyz": readyz}
    routes = [*extra, *(Route(path, page) for path, page in pages.items())]  # with --page, / is the page
    return Starlette(routes=routes, exception_handlers={HTTPException: _report})


async def _report(request: Request, error: Exception) -> Response:
    """Answer for an unknown address or method: below /v1 in the shape of the API's errors."""
    assert isinstance(error, HTTPException)
    if not request.url.path.startswith("/v1"):
        return PlainTextResponse(error.detail, error.status_code, error.headers)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "failed")
    return error_response(ApiError(error.status_code, code, error.detail, headers=error.headers))

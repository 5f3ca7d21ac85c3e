"""The routes for programs, besides those that the page uses too."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from watcher.telemetry.metrics import Metrics
from watcher.web.api import creation, openapi, rembg, removebg
from watcher.web.api.creation import Creation
from watcher.web.api.cutting import Cutting, Options
from watcher.web.api.rembg import Rembg
from watcher.web.api.removebg import Removebg, auth_failed
from watcher.web.errors import SAFE_HEADERS, ApiError
from watcher.web.routes import Api, reporting

Endpoint = Callable[[Request], Awaitable[Response]]


class Service:
    """Answers the requests of programs."""

    def __init__(self, api: Api, options: Options) -> None:
        """Shares access, storage and limits with `api`."""
        self._api = api
        self.cutting = Cutting(api, options)

    def routes(self) -> list[Route]:
        """All routes, each of which checks access and reports errors in the same way."""
        guarded = self._api.guarded
        return [
            Route(creation.PATH, guarded(Creation(self.cutting).answer), methods=["POST"]),
            Route(removebg.PATH, self._for_plugins(Removebg(self.cutting).answer), methods=["POST"]),
            Route(rembg.PATH, guarded(Rembg(self.cutting).answer), methods=["POST", "GET"]),
            Route(openapi.PATH, reporting(_show_document), methods=["GET"]),
        ]

    def close(self) -> None:
        """Wait for the threads."""
        self.cutting.close()

    def _for_plugins(self, endpoint: Endpoint) -> Endpoint:
        """An endpoint with the errors that plug-ins of such services expect: 403 for a token, headers of limits."""

        async def guard(request: Request) -> Response:
            try:
                self._api.access.check(request)
            except ApiError as error:
                raise auth_failed() if error.status == 401 else error from error
            try:
                return await endpoint(request)
            except ApiError as error:
                error.headers |= self.cutting.rate_headers()
                raise

        return reporting(guard)


async def _show_document(request: Request) -> Response:
    """GET /v1/openapi.json: needs no token, since it says nothing about this daemon."""
    return Response(json.dumps(openapi.document()), headers=SAFE_HEADERS, media_type="application/json")


def measured(route: Route, metrics: Metrics) -> Route:
    """The same route, whose requests are counted and timed until their answer begins."""
    endpoint: Endpoint = route.endpoint

    async def measure(request: Request) -> Response:
        began = time.perf_counter()
        response = await endpoint(request)
        metrics.api_request(request.method, route.path, response.status_code, time.perf_counter() - began)
        return response

    return Route(route.path, measure, methods=list(route.methods or ()))

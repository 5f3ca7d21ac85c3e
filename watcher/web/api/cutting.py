"""What synchronous requests share: a picture is taken in, cut out like any other, and handed back."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from watcher.config.settings import Settings
from watcher.core.reasons import Reason
from watcher.web.api import wanted
from watcher.web.api.bodies import Bodies
from watcher.web.api.composing import Composer, Result, whole_cutout
from watcher.web.api.fetching import Fetcher, Refused
from watcher.web.api.limits import Pace, Slots
from watcher.web.api.waiting import Completions
from watcher.web.errors import ApiError, bad_request, too_many
from watcher.web.history import Record, Status
from watcher.web.routes import Api
from watcher.web.uploads import File, path_problem

BATCH = "api"
"""The batch of pictures that come without a batch and a name of their own."""
THREADS = 4
"""Requests that are computed for at a time: in threads that are not those which wait for storage."""
MAX_FETCHES = 4
"""Addresses that are fetched at a time: each occupies a thread."""
_LONGEST_NAME = 100
_NO_FILE = File()
Wishes = wanted.Options
T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """What the settings say about synchronous requests."""

    names: tuple[str, ...]
    """The names of the daemon's outputs."""
    whole: str | None
    """The output that has the whole picture with its alpha; None if none has."""
    model: str
    """The model that the daemon runs, as `--model` names it."""
    timeout: float = 60.0
    """Longest time in seconds that a request waits."""
    waits: int = 64
    """Most requests that wait at a time."""
    backlog: int = 20_000
    """Most uploads that wait for their turn."""
    fetcher: Fetcher | None = None
    """Fetches pictures by their address; None if that is off."""

    @classmethod
    def of(cls, settings: Settings) -> Options:
        """The options by the settings."""
        whole = whole_cutout(settings.outputs)
        return cls(
            names=tuple(output.name for output in settings.outputs),
            whole=whole.name if whole else None,
            model=settings.model,
            timeout=settings.api_timeout,
            waits=settings.api_waits,
            backlog=settings.api_backlog,
            fetcher=Fetcher(settings.upload_bytes) if settings.api_urls else None,
        )


class Cutting:
    """Serves the requests that wait for their picture. For one event loop."""

    def __init__(self, api: Api, options: Options) -> None:
        """Uses the storage, the limits of uploads and the threads of `api`."""
        self.cutouts, self.options = api.cutouts, options
        self.run = api.run
        self.bodies = Bodies(api.receiver)
        self.slots = Slots(options.waits)
        self.pace = Pace()
        self._completions = Completions(api.cutouts, api.run)
        self._composer = Composer()
        self._threads = ThreadPoolExecutor(THREADS, "compose")
        self._fetchers = ThreadPoolExecutor(MAX_FETCHES, "fetch")

    def close(self) -> None:
        """Wait for the threads."""
        self._composer.close()
        self._threads.shutdown(cancel_futures=True)
        self._fetchers.shutdown(cancel_futures=True)

    async def compute(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function that computes in one of the threads for that."""
        call = functools.partial(function, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def retry_after(self) -> int:
        """Seconds after which a refused client should come back."""
        return self.pace.seconds_for(self.slots.most - self.slots.free)

    async def require_room(self, *, waits: bool = True) -> None:
        """Raise ApiError, 429, if too many uploads wait for their turn, or too many requests for their picture."""
        if waits and not self.slots.free:
            raise self.slots.refusal(self.retry_after())
        waiting = await self.run(self.cutouts.waiting)
        if waiting >= self.options.backlog:
            raise too_many("backlog", f"{waiting} uploads wait for their turn", self.pace.seconds_for(waiting))

    async def wait(self, request: Request, record: Record, seconds: float) -> Record:
        """Return the record when its image is finished, the time is over, or nobody waits for the answer any more."""
        with self.slots.taken(self.retry_after()):
            waiting = asyncio.ensure_future(self._completions.wait(record, seconds))
            gone = asyncio.ensure_future(_until_gone(request))
            try:
                await asyncio.wait((waiting, gone), return_when=asyncio.FIRST_COMPLETED)
                return waiting.result() if waiting.done() else record
            finally:
                for task in (waiting, gone):
                    task.cancel()
                await asyncio.gather(waiting, gone, return_exceptions=True)

    async def result(self, request: Request, photo: File, options: Wishes, background: File = _NO_FILE) -> Result:
        """The finished picture, with `background` behind the object if there is one. Raises ApiError.

        The same picture again is found finished. When the time is over the job goes on, so that the next try finds it.
        """
        if self.options.whole is None:
            raise bad_request(
                "no_cutout",
                "this daemon makes no output of the whole picture with its alpha; add --preset cutout to its settings",
            )
        record = await self.run(self._upload, photo)
        record = await self.wait(request, record, self.options.timeout)
        if record.status is Status.REJECTED:
            raise rejected(record, 400)
        if record.status is not Status.DONE:
            raise too_many("timeout", "the picture still waits for its turn; send it again", self.retry_after())
        _, _, file = await self.run(self.cutouts.output, record.id, self.options.whole)
        return await self.compute(self._composer.compose, file, options, background.data)

    async def fetch(self, name: str, url: str) -> File:
        """The picture at an address. Raises ApiError."""
        if self.options.fetcher is None:
            raise bad_request(f"invalid_{name}", f"{name} is switched off here; send the picture itself")
        try:
            loop = asyncio.get_running_loop()
            return File(await loop.run_in_executor(self._fetchers, self.options.fetcher.fetch, url))
        except Refused as error:
            raise bad_request(f"invalid_{name}", f"{name}: {error}") from error

    def rate_headers(self) -> dict[str, str]:
        """The headers that say how many requests may wait at a time, and how many more now."""
        reset = math.ceil(time.time()) + (0 if self.slots.free else self.retry_after())
        return {
            "x-ratelimit-limit": str(self.slots.most),
            "x-ratelimit-remaining": str(self.slots.free),
            "x-ratelimit-reset": str(reset),
        }

    def _upload(self, photo: File) -> Record:
        """Store the photo under a name that begins with its digest: the same photo is the same upload."""
        name = photo.name.replace("\\", "/").rpartition("/")[2]
        if not name or len(name) > _LONGEST_NAME or path_problem(name):
            name = "picture"
        try:
            return self.cutouts.upload(photo.data, path_by_digest(photo.data, name), BATCH)
        except ApiError as error:
            if error.code != "name_taken":
                raise
            return self.cutouts.upload(photo.data, "", BATCH)  # its earlier uploads were moved or deleted


def path_by_digest(data: bytes, name: str) -> str:
    """A path that begins with a digest. There are 256 folders, not one for each: every folder is watched.

    >>> path_by_digest(b"", "shoe.png")
    'e3/b0c44298fc1c149afbf4c8-shoe.png'
    """
    digest = hashlib.sha256(data).hexdigest()
    return f"{digest[:2]}/{digest[2:24]}-{name}"


def rejected(record: Record, status: int) -> ApiError:
    """The error for a picture that can never work."""
    return ApiError(status, record.reason or Reason.OTHER, "Cannot be processed", record.message)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

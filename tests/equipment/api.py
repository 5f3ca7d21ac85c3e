"""The API over real HTTP, with real folders, queue and list of images, and a worker loop in a thread."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from inference.picture import Cutout, Picture
from tests.equipment.support import STUCK
from watcher.config.settings import Settings
from watcher.core.jobs import Mode
from watcher.protocol import Report
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.testing import FakeEngine
from watcher.web.app import create_app
from watcher.web.frontend import Frontend
from watcher.web.server import HttpServer
from watcher.wiring import Parts, Wiring
from watcher.worker.crash_markers import CrashMarkers
from watcher.worker.image_path import ImagePath, PixelBudget
from watcher.worker.loop import WorkerLoop
from watcher.worker.output_maker import OutputMaker

SIZE = (40, 30)
"""Width and height of a picture."""
BOX = (10, 5, 30, 25)
"""Where its object is: left, top, right and bottom."""
TOKEN = "a-token-of-the-tests"


def picture(number: int = 0, format: str = "PNG") -> bytes:
    """A picture with an object of a colour of its own on grey."""
    image = Image.new("RGB", SIZE, (200, 200, 200))
    image.paste((number % 150, number // 150 % 150, 40), BOX)
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


def cut(photo: Picture) -> Cutout:
    """Remove what has the colour of the upper left corner."""
    alpha = (photo.pixels != photo.pixels[0, 0]).any(axis=2) * np.uint8(255)
    return Cutout(np.concatenate((photo.pixels, alpha[..., None]), axis=2))


@dataclass
class ApiUnderTest:
    """The API as a test uses it."""

    settings: Settings
    client: httpx.Client
    frontend: Frontend
    metrics: Metrics
    may_work: threading.Event = field(default_factory=threading.Event)
    """The worker cuts pictures out while this is set."""

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Keep every picture unfinished inside the block."""
        self.may_work.clear()
        try:
            yield
        finally:
            self.may_work.set()

    @property
    def sources(self) -> set[str]:
        """The keys of the images in the source."""
        return _keys(Path(self.settings.source))

    @property
    def outputs(self) -> set[str]:
        """The keys of the outputs in the sink."""
        return {key for key in _keys(Path(self.settings.sink)) if not key.startswith("_")}


def _keys(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def running_api(folder: Path, *, is_heard: bool = True, **changes: object) -> Iterator[ApiUnderTest]:
    """Serve the API for folders below `folder`. Unless the worker `is_heard`, its reports are lost, as on a broker."""
    places: dict[str, object] = {name: str(folder / name) for name in ("source", "sink", "state")}
    for name in places:
        (folder / name).mkdir()
    usual: dict[str, object] = {
        "api": True,
        "model": "fake",
        "devices": "cpu",
        "http": "127.0.0.1:0",
        "api_token": TOKEN,
    }
    settings = Settings(**(places | usual | changes))  # type: ignore[arg-type]
    with ExitStack() as stack:
        metrics = Metrics()
        health = Health()
        frontend = Frontend(settings, metrics, health)
        stack.callback(frontend.close)
        server = HttpServer(create_app(metrics, health, frontend.routes()), "127.0.0.1", 0)
        server.start()
        stack.callback(server.stop)
        stack.callback(frontend.stop)
        parts = Parts(Wiring.of(settings))
        stack.callback(parts.close)
        parts.open(Mode.RUN)
        headers = {"x-api-key": TOKEN} if settings.api_token else {}
        base = f"http://127.0.0.1:{server.port}"
        client = stack.enter_context(httpx.Client(base_url=base, headers=headers, trust_env=False, timeout=STUCK))
        api = ApiUnderTest(settings, client, frontend, metrics)
        api.may_work.set()

        def hear(report: Report) -> None:
            if is_heard:
                frontend.take_report("cpu", report)

        wake = stack.enter_context(_working(parts, settings, api.may_work, hear))
        frontend.open(parts, wake)
        if not is_heard:
            parts.embedded = None
            frontend.open(parts, wake)
        yield api
        api.may_work.set()


@contextmanager
def _working(
    parts: Parts, settings: Settings, may_work: threading.Event, report: Callable[[Report], None]
) -> Iterator[Callable[[], None]]:
    """Run a worker's loop; yields the function that wakes it."""

    def cut_when_allowed(photo: Picture) -> Cutout:
        assert may_work.wait(STUCK)
        return cut(photo)

    recipe = parts.wiring.recipe
    path = ImagePath(
        parts.source,
        parts.sink,
        FakeEngine(cut_when_allowed),
        PixelBudget(10_000_000),
        CrashMarkers(parts.sink),
        OutputMaker(recipe, [output.spec for output in settings.outputs], 1, "fake"),
        settings,
        report,
    )
    loop = WorkerLoop("worker", path, parts.queue, 4, report)
    thread = threading.Thread(target=loop.run, name="worker")
    thread.start()
    try:
        yield loop.wake
    finally:
        may_work.set()
        loop.drain()
        thread.join(STUCK)

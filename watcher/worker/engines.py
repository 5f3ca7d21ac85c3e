"""The worker's engine: one model on its device, or the two of a cascade. Loads torch only where a model needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from inference import fake_engine
from inference.engine_options import EngineOptions
from inference.fake_engine import FakeEngine
from inference.models import open_model
from inference.models.entry import ModelEntry
from inference.models.registry import verify
from inference.picture import BatchStats
from inference.review.calibration import load_calibration
from watcher.config.settings import Settings
from watcher.protocol import WorkerStart

if TYPE_CHECKING:
    from inference.cascade import Cascade, Router
    from inference.engine import Engine

    AnyEngine: TypeAlias = Engine | FakeEngine | Cascade


def open_engine(start: WorkerStart, on_batch: Callable[[BatchStats], None]) -> AnyEngine:
    """Make the engine that the settings ask for; nothing is loaded yet. Raises ModelError if a file has changed."""
    settings, model = start.settings, start.model
    verify(model)
    options = EngineOptions(
        start.device,
        model.name,
        batch=settings.batch,
        max_wait=settings.max_wait_ms / 1000,
        threads=start.threads,
        codecs=start.codecs,
        sharing=start.sharing,
        pixels_in_flight=int(settings.megapixels_in_flight * 1e6),
        cuda_graphs=settings.cuda_graphs == "auto",
    )
    if start.strong is not None:
        return _open_cascade(settings, options, model, start.strong, on_batch)
    if fake_engine.is_enough(model, options.device):
        return FakeEngine(options, model, on_batch)
    from inference.engine import Engine

    return Engine(options, model=open_model(model), on_batch=on_batch)


def _open_cascade(
    settings: Settings,
    options: EngineOptions,
    model: ModelEntry,
    strong: ModelEntry,
    on_batch: Callable[[BatchStats], None],
) -> Cascade:
    from inference.cascade import STRONG_CPU_BATCH, STRONG_GPU_BATCH, Cascade
    from inference.engine import Engine, SharedDevice

    verify(strong)
    shared, fast_model = SharedDevice(), open_model(model)
    options = replace(options, sharing=2 * options.sharing)
    most = STRONG_CPU_BATCH if options.device == "cpu" else STRONG_GPU_BATCH
    return Cascade(
        Engine(options, model=fast_model, on_batch=on_batch, shared=shared),
        Engine(
            replace(options, model=strong.name, batch=most),
            model=open_model(strong),
            on_batch=on_batch,
            shared=shared,
        ),
        make_router(settings, fast_model.family),
    )


def make_router(settings: Settings, family: str) -> Router:
    """What decides which images go on to the strong model; `family` is that of the fast one."""
    from inference.cascade import Share, below

    if settings.strong_share is None:
        return below(settings.strong_threshold)
    return Share(settings.strong_share, load_calibration(family).quantiles)

"""Makes the outputs of reviewed images again with another model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from inference.codec import decode
from inference.errors import PictureError
from inference.models.entry import ModelEntry
from inference.picture import Cutout
from inference.review.doubts import Doubt
from watcher.commands.evaluate import LeftOut, open_engine
from watcher.commands.review.items import Item
from watcher.config.settings import Settings
from watcher.core.errors import Conflict, Gone, Rejected, Stale
from watcher.core.jobs import ImageRef, Output
from watcher.stores.base import Store
from watcher.stores.decisions import Decision, Verdict, write_decision
from watcher.stores.recorded import texts_of
from watcher.wiring import Wiring
from watcher.worker.output_maker import OutputMaker, PlannedOutput, needed_of_source


def redo(
    settings: Settings, entry: ModelEntry, items: Sequence[Item], source: Store, sink: Store, left_out: LeftOut
) -> Iterator[Item]:
    """Make the outputs of the items again with a model; yields each item that is done.

    The outputs keep the ids that they record, so that the daemon does not make them once more with its own model until
    the image changes. Raises Unavailable, or ConfigurationError.
    """
    maker = OutputMaker.of(settings, Wiring(settings, entry).recipe, entry)
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine(settings, entry))
        for item in items:
            try:
                ref = source.stat(item.key)
                if ref is None:
                    raise Gone(f"{item.key} is not in the source")
                data = source.read(ref)
                keep = settings.truncated == "keep"
                picture = decode(data, max_pixels=settings.max_pixels, keep_truncated=keep)
                cutout = engine.submit(picture).result()
                if picture.rgba is not None and settings.input_alpha != "ignore":
                    cutout = cutout.multiplied(picture.rgba)
                if picture.truncated:
                    cutout = cutout.doubted(Doubt.INCOMPLETE)
                _put(maker, sink, ref, data, cutout, settings.max_pixels)
            except (PictureError, Gone, Stale, Rejected, Conflict) as error:
                left_out(item.key, str(error))
                continue
            confidence = item.review.confidence
            write_decision(sink, Decision(item.key, item.job, Verdict.REDONE, confidence, model=maker.model))
            yield item


def _put(maker: OutputMaker, sink: Store, ref: ImageRef, data: bytes, cutout: Cutout, max_pixels: int) -> None:
    """Write every output that is in the sink already over itself. Raises Gone if there is none."""
    plans = [plan for plan in (_present(sink, plan) for plan in maker.plan(ref)) if plan is not None]
    if not plans:
        raise Gone("the sink has none of the outputs that the settings ask for: give those of the daemon")
    for made in maker.encode(plans, cutout, needed_of_source(data, plans, max_pixels)):
        sink.put(made.plan.output, made.data, sink.output_info(made.plan.output.key), made.facts)


def _present(sink: Store, plan: PlannedOutput) -> PlannedOutput | None:
    """The plan with the ids that the output in the sink records; None where there is no output of this image."""
    ref = sink.stat(plan.output.key)
    texts = texts_of(sink, ref) if ref else {}
    info = sink.output_info(plan.output.key)
    if info is None or info.id is None or "job" not in texts:
        return None
    own = Output(info.id, plan.output.ref, plan.output.key, texts["job"] if texts["job"] != info.id else "")
    return replace(plan, output=own)

"""Makes the outputs of reviewed images again with another model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inference.codec import decode
from inference.errors import PictureError
from inference.models.entry import ModelEntry
from inference.picture import Cutout
from inference.review.doubts import Doubt
from watcher.commands.evaluate import LeftOut, open_engine
from watcher.commands.review.items import Item
from watcher.config.settings import Settings
from watcher.core.errors import Conflict, Gone, Rejected, Stale
from watcher.core.reasons import Reason
from watcher.stores.base import Store
from watcher.stores.decisions import Decision, Verdict, write_decision
from watcher.stores.recorded import texts_of
from watcher.wiring import Wiring
from watcher.worker.output_maker import EncodedOutput, OutputMaker, PlannedOutput, needed_of_source

if TYPE_CHECKING:
    from watcher.worker.engines import AnyEngine


@dataclass(frozen=True)
class Redoer:
    """Makes outputs again with an engine that is open."""

    settings: Settings
    maker: OutputMaker
    engine: AnyEngine
    source: Store
    sink: Store

    @classmethod
    def of(cls, settings: Settings, entry: ModelEntry, engine: AnyEngine, source: Store, sink: Store) -> Redoer:
        """For the outputs that the settings ask for, by the model of `entry`."""
        return cls(settings, OutputMaker.of(settings, Wiring(settings, entry).recipe, entry), engine, source, sink)

    def make(self, key: str, job: str = "") -> list[EncodedOutput]:
        """Write the outputs of an image again that are in the sink; with `job`, add those that are not to that job.

        Raises PictureError, Gone, Stale, Rejected, Conflict or Unavailable.
        """
        ref = self.source.stat(key)
        if ref is None:
            raise Gone(f"{key} is not in the source")
        data = self.source.read(ref)
        plans = [plan for plan in (self._planned(plan, job) for plan in self.maker.plan(ref)) if plan is not None]
        if not plans:
            raise Gone("the sink has none of the outputs that the settings ask for: give those of the daemon")
        source = needed_of_source(data, plans, self.settings.max_pixels)
        encoded = self.maker.encode(plans, self._cut(data), source)
        for made in encoded:
            self.sink.put(made.plan.output, made.data, self.sink.output_info(made.plan.output.key), made.facts)
        return encoded

    def _cut(self, data: bytes) -> Cutout:
        settings = self.settings
        picture = decode(data, max_pixels=settings.max_pixels, keep_truncated=settings.truncated == "keep")
        cutout = self.engine.submit(picture).result()
        if picture.rgba is not None and settings.input_alpha != "ignore":
            cutout = cutout.multiplied(picture.rgba)
        return cutout.doubted(Doubt.INCOMPLETE) if picture.truncated else cutout

    def _planned(self, plan: PlannedOutput, job: str) -> PlannedOutput | None:
        present = _present(self.sink, plan)
        if present is not None or not job:
            return present
        if self.sink.stat(plan.output.key) is not None:
            raise Rejected(Reason.OUTPUT_EXISTS, f"{plan.output.key} exists and is no output of this image")
        return replace(plan, output=replace(plan.output, job=job))


def redo(
    settings: Settings, entry: ModelEntry, items: Sequence[Item], source: Store, sink: Store, left_out: LeftOut
) -> Iterator[tuple[Item, list[str]]]:
    """Make the outputs of the items again with a model; yields each item that is done, and the keys of its outputs that
    the settings do not ask for, which are left as they are.

    The outputs keep the ids that they record, so that the daemon does not make them once more with its own model until
    the image changes. Raises Unavailable, or ConfigurationError.
    """
    with open_engine(settings, entry) as engine:
        redoer = Redoer.of(settings, entry, engine, source, sink)
        for item in items:
            try:
                made = redoer.make(item.key)
            except FAILURES as error:
                left_out(item.key, str(error))
                continue
            record_redo(redoer, item.key, item.job, item.review.confidence)
            keys = {output.plan.output.key for output in made}
            yield item, [key for key in item.options if key not in keys]


def record_redo(redoer: Redoer, key: str, job: str, confidence: float | None) -> None:
    """Record in the sink that another model has made an image's outputs again. Raises Unavailable."""
    write_decision(redoer.sink, Decision(key, job, Verdict.REDONE, confidence, model=redoer.maker.model))


FAILURES = (PictureError, Gone, Stale, Rejected, Conflict)
"""The ways in which one image cannot be made again."""


def _present(sink: Store, plan: PlannedOutput) -> PlannedOutput | None:
    """The plan with the ids that the output in the sink records; None where there is no output of this image."""
    ref = sink.stat(plan.output.key)
    texts = texts_of(sink, ref) if ref else {}
    info = sink.output_info(plan.output.key)
    if info is None or info.id is None or "job" not in texts:
        return None
    own = replace(plan.output, id=info.id, job=texts["job"] if texts["job"] != info.id else "")
    return replace(plan, output=own)

"""Makes pictures again for the page: `python -m watcher.commands.review.redo_process` answers `watcher.web.redo`.

It keeps the model open between requests, and ends when there is none for a minute.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from inference import fake_engine
from inference.engine_options import EngineOptions
from inference.errors import ModelError
from inference.models.entry import ModelEntry
from watcher.commands.review.redo import FAILURES, Redoer, record_redo
from watcher.config.settings import Settings
from watcher.core.counts import Counts
from watcher.core.errors import WatcherError
from watcher.telemetry.logs import configure
from watcher.web.child import Answer, serve
from watcher.wiring import Wiring, find_model

if TYPE_CHECKING:
    from watcher.worker.engines import AnyEngine


class Remaker:
    """Makes one picture after the other, and opens a model where another one is wanted."""

    def __init__(self) -> None:
        self._open: tuple[dict[str, Any], Redoer] | None = None
        self._closing = ExitStack()

    def handle(self, header: dict[str, Any], body: bytes) -> Answer:
        """Make one image again: what was made, or `problem`."""
        try:
            redoer = self._redoer(header["settings"])
            made = redoer.make(header["key"], header["job"])
            if header["by_another_model"]:
                record_redo(redoer, header["key"], header["job"], header["confidence"])
        except (*FAILURES, WatcherError, ModelError) as error:
            return {"problem": str(error)}, b""
        facts = made[0].facts
        return {
            "outputs": [
                {
                    "name": one.plan.recipe.name,
                    "key": one.plan.output.key,
                    "bytes": len(one.data),
                    "width": one.width,
                    "height": one.height,
                }
                for one in made
            ],
            "model": facts.model,
            "score": facts.review.confidence if facts.review else None,
            "doubts": [doubt.value for doubt in facts.review.doubts] if facts.review else [],
        }, b""

    def _redoer(self, fields: dict[str, Any]) -> Redoer:
        if self._open is None or self._open[0] != fields:
            self.close()
            settings = Settings.model_validate(fields)
            entry = find_model(settings)
            wiring = Wiring(settings, entry)
            source, sink = wiring.open_source(Counts()), wiring.open_sink(Counts())
            self._open = fields, Redoer.of(settings, entry, self._engine(settings, entry), source, sink)
        return self._open[1]

    def _engine(self, settings: Settings, entry: ModelEntry) -> AnyEngine:
        if fake_engine.is_enough(entry, settings.devices):
            engine = fake_engine.FakeEngine(EngineOptions("cpu", entry.name), entry)
            engine.start()
            self._closing.callback(engine.close)
            return engine
        from watcher.commands.evaluate import open_engine  # loads torch

        return self._closing.enter_context(open_engine(settings, entry))

    def close(self) -> None:
        """Close the model."""
        self._open = None
        self._closing.close()


if __name__ == "__main__":
    configure("json", "warning")
    remaker = Remaker()
    serve(remaker.handle)
    remaker.close()
    sys.exit()

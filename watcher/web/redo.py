"""Makes finished pictures again with another model or preset, one after the other, in a process of its own.

The supervisor never loads torch, and a worker keeps its model, so a third process has the other one while it is needed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

from inference.compose.presets import PRESETS
from inference.models.registry import CATALOGUE, shipped_path
from inference.models.thirdparty.known import KNOWN
from watcher.config.settings import Settings
from watcher.core.jobs import PLAIN
from watcher.web.child import Child, ChildFailed
from watcher.web.errors import ApiError, too_many
from watcher.web.history import Record

MOST_WAITING = 100
"""Pictures that wait to be made again."""
TIMEOUT = 600.0
"""Seconds that one may take, with the loading of a model."""

Done = Callable[[Record, Mapping[str, Any]], None]


class Remake:
    """Makes pictures again in the order in which they were asked for. Thread-safe."""

    def __init__(self, settings: Settings, done: Done) -> None:
        """`done` is called in a thread with each record and the child's answer, which has `problem` if it failed."""
        self._settings, self._done = settings, done
        self._child = Child("watcher.commands.review.redo_process", TIMEOUT)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="remake")
        self._waiting: set[str] = set()
        self._lock = threading.Lock()
        self._has_torch = find_spec("torch") is not None  # a machine that only watches does without

    def models(self) -> list[str]:
        """The names of the models that can be asked for: those whose files are here. No path ever counts."""
        settings = self._settings
        if not self._has_torch:
            return []
        shipped = [size.name for size in CATALOGUE if shipped_path(size.name).is_file()]
        known = [model.name for model in KNOWN.values() if model.path_in(settings.rembg_path).is_file()]
        return list(dict.fromkeys([settings.model, *filter(None, [settings.strong]), *shipped, *known]))

    def presets(self) -> list[str]:
        """The names of the presets that can be asked for."""
        return [PLAIN, *PRESETS] if self._has_torch else []

    def is_waiting(self, id: str) -> bool:
        """Whether an item is being made again, or waits for it."""
        return id in self._waiting

    def start(self, record: Record, model: str, preset: str) -> None:
        """Make an item again soon; an empty `model` is the daemon's own. Raises ApiError."""
        self._check(model, preset)
        request = {
            "settings": self._settings_of(model, preset),
            "key": record.key,
            "job": record.job,
            "confidence": record.score,
            "by_another_model": bool(model),
        }
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                raise too_many("too_many_redos", f"{MOST_WAITING} pictures wait to be made again", 30)
            if record.id in self._waiting:
                raise ApiError(409, "in_progress", "Conflict", "this picture is being made again already")
            self._waiting.add(record.id)
        self._thread.submit(self._make, record, request)

    def close(self) -> None:
        """End the process and forget what waits."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._child.close()
        self._thread.shutdown()

    def _check(self, model: str, preset: str) -> None:
        if not self._has_torch:
            detail = "this machine has no torch, so nothing can be made again here; use `alphadrop review --redo`"
            raise ApiError(422, "no_engine", "Cannot be processed", detail)
        if not model and not preset:
            raise ApiError(422, "nothing_to_redo", "Cannot be processed", 'name a "model" or a "preset"')
        for name, known, field in ((model, self.models(), "model"), (preset, self.presets(), "preset")):
            if name and name not in known:
                detail = f"{field} must be one of {', '.join(known)}"
                raise ApiError(422, f"unknown_{field}", "Cannot be processed", detail)

    def _settings_of(self, model: str, preset: str) -> dict[str, Any]:
        """The settings of the process: without a cascade, and what belongs to the daemon's own model alone."""
        changes: dict[str, Any] = {"strong": "", "strong_contract": "", "strong_below": None, "strong_share": None}
        if model and model != self._settings.model:
            contract = self._settings.strong_contract if model == self._settings.strong else ""
            changes |= {"model": model, "model_contract": contract, "canvas": None}
        if preset:
            changes |= {"preset": (preset,), "output": ()}
        secrets = {"api_token": (), "events_token": "", "notify_secret": "", "notify": "", "queue": ""}
        return self._settings.model_copy(update=changes | secrets).model_dump(mode="json")

    def _make(self, record: Record, request: Mapping[str, Any]) -> None:
        try:
            answer, _ = self._child.ask(request)
        except ChildFailed as error:
            answer = {"problem": f"{error}; the log has the details"}
        finally:
            with self._lock:
                self._waiting.discard(record.id)
        self._done(record, answer)

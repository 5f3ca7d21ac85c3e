"""From settings to what is made of them: the model, the recipe, a worker's configuration, the state folder's lock."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from inference.errors import ModelError
from inference.models.catalogue import PIPELINE, ModelEntry, resolve
from watcher.errors import ConfigurationError
from watcher.quarantine import release
from watcher.queues import open_queue
from watcher.settings import Settings
from watcher.stores import open_store
from watcher.work import Job, Recipe
from watcher.workerconfig import WorkerConfig

MOST_REJECTED = 100_000
"""As many rejected images are listed, and no more."""


def find_model(settings: Settings) -> ModelEntry:
    """The catalogue's entry. Raises ConfigurationError."""
    try:
        return resolve(settings.model, settings.canvas)
    except ModelError as error:
        raise ConfigurationError(f"--model: {error}") from error


def make_recipe(settings: Settings, entry: ModelEntry, source: str) -> Recipe:
    """All that decides an output besides the image."""
    options = {"pipeline": PIPELINE, "canvas": entry.canvas, "png_level": settings.png_level}
    return Recipe(source, entry.digest, options, settings.output_name)


def worker_config(settings: Settings, owner: str, device: str, threads: int) -> WorkerConfig:
    """What a worker is told."""
    return WorkerConfig(
        owner=owner,
        source=settings.source_path.as_uri(),
        sink=settings.sink_path.as_uri(),
        queue=f"sqlite://{settings.state_path / 'queue.sqlite'}",
        device=device,
        model=settings.model,
        canvas=settings.canvas,
        batch=settings.batch,
        max_wait=settings.max_wait_ms / 1000,
        threads=threads,
        images_in_flight=settings.images_in_flight,
        pixels_in_flight=int(settings.megapixels_in_flight * 1e6),
        max_pixels=settings.max_pixels,
        png_level=settings.png_level,
        device_timeout=settings.device_timeout,
        log_format=settings.log_format,
        log_level=settings.log_level,
        test_hook=settings.test_hook,
    )


def retry_rejected(settings: Settings, pattern: str) -> list[Job]:
    """Rejected images whose key matches are pending again; a running daemon finds them in its queue."""
    path = settings.state_path / "queue.sqlite"
    if not path.exists():
        raise ConfigurationError(
            f"There is no queue for these folders ({path}), so nothing is rejected. Give the same "
            "source, sink and --state as to the run that rejected them."
        )
    queue, sink = open_queue(f"sqlite://{path}"), open_store(settings.sink_path.as_uri())
    for job, _ in queue.rejected(MOST_REJECTED):
        if fnmatchcase(job.ref.key, pattern):
            release(sink, job)  # before the job is pending: a quick worker may write a new record
    jobs = queue.retry(pattern)
    queue.close()
    return jobs


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """One daemon for one state folder. Raises ConfigurationError naming the other one."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise ConfigurationError(
                f"Another alphadrop (process {file.read().strip() or 'unknown'}) works on these folders; stop it, or "
                "give this one another --state if it is to work on others."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield

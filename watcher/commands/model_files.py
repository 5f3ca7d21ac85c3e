"""Fetching the files of known models, for every command that runs a model: `ensure_model`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import structlog
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from inference.errors import ModelError
from inference.models.thirdparty.download import DownloadFailed, DownloadOptions, fetch
from inference.models.thirdparty.known import KNOWN, KnownModel
from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError, Unavailable

log = structlog.get_logger(__name__)


class DownloadProgress:
    """Shows a download as a bar on a terminal; elsewhere only what goes wrong, as log events."""

    def __init__(self, model: KnownModel, stream: TextIO) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._model, self._console = model, Console(file=stream, soft_wrap=True, highlight=False)
        self._bar = Bar(*columns, console=self._console, disable=not stream.isatty(), transient=True)
        self._task = self._bar.add_task(f"fetching {model.name}", total=model.bytes)
        self.begun = False
        """Whether anything has been fetched."""

    def progress(self, done: int, total: int) -> None:
        """Move the bar, and log the first call."""
        if not self.begun:
            self.begun, licence = True, self._model.licence
            terms = f"{licence.name}, {licence.url}"
            log.info("model_download_started", model=self._model.name, done=done, bytes=total, licence=terms)
        self._bar.update(self._task, completed=done, total=total)

    def note(self, text: str) -> None:
        """Print or log what a person may want to know."""
        if self._bar.disable:
            log.warning("model_download_note", model=self._model.name, note=text)
        else:
            self._console.print(f"{self._model.name}: {text}", markup=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


def ensure_model(settings: Settings, *names: str) -> None:
    """Fetch the known models among `names` (by default `--model`) that are not here.

    Raises ConfigurationError, or Unavailable where the network or the server is at fault.
    """
    for name in names or (settings.model,):
        known = KNOWN.get(name)
        if known and not Path(name).is_file() and not known.path_in(settings.rembg_path).is_file():
            download(known, settings)


def download(known: KnownModel, settings: Settings) -> Path:
    """Fetch a known model, or check the file that is there; returns its path. Raises as `ensure_model` does."""
    options = DownloadOptions(settings.model_source, settings.offline, settings.accept_licence)
    started = time.monotonic()
    try:
        with DownloadProgress(known, sys.stderr) as progress:
            path = fetch(known, settings.rembg_path, options, progress)
    except DownloadFailed as error:
        raise Unavailable(str(error)) from error
    except ModelError as error:
        raise ConfigurationError(str(error)) from error
    if progress.begun:
        seconds = round(time.monotonic() - started, 1)
        log.info("model_downloaded", model=known.name, path=str(path), sha256=known.sha256, seconds=seconds)
    return path

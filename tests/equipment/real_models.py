"""Models that others have trained, for tests."""

from __future__ import annotations

from pathlib import Path

from inference.corpus.archives import ArchiveError
from inference.corpus.fetching import FetchError
from scripts import real_models
from tests.equipment.requirements import report_missing


def real_model(name: str) -> Path:
    """See `scripts.real_models`. Where the file cannot be fetched, the test is skipped, or fails with --demand-all."""
    try:
        return real_models.real_model(name)
    except (FetchError, ArchiveError) as error:
        report_missing(f"the file of {name} could not be fetched: {error}")

"""Settings as a command line makes them, without the environment of the tests."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from watcher.config.load import load_settings
from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError

FOLDERS = ("in", "out")


def load(*args: str, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of two folders and these flags; `environ` stands for the environment."""
    return load_settings([*FOLDERS, *args], environ=environ or {})


def complaint(*args: str, environ: Mapping[str, str] | None = None) -> str:
    """The message with which these flags are refused."""
    with pytest.raises(ConfigurationError) as caught:
        load(*args, environ=environ)
    return str(caught.value)

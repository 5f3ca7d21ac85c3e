"""What the commands share: how one is described, its exit codes, and the steps before it starts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import structlog

from watcher.commands.exit_code import ExitCode
from watcher.config.load import load_settings, nearest_variable, unknown_variables
from watcher.config.preflight import check_settings
from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Mode
from watcher.telemetry.logs import configure

__all__ = ["Command", "ExitCode", "prepare", "require_torch"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Command:
    """What one command of `alphadrop` does; `watcher.cli` has their names."""

    about: str
    """What a user should know before the flags, in a few lines."""
    examples: str
    """Command lines to start from, and notes on them, below the flags."""
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    """Does the work and returns the exit code. Raises ConfigurationError or Unavailable."""
    positional: str = ""
    """The arguments in the usage line. Empty for argparse's own, which lists each flag."""


def prepare(args: argparse.Namespace, mode: Mode, *, quiet: bool = False, waits: bool = False) -> Settings:
    """Load and check the settings, and set up logging. With `quiet`, a terminal shows warnings and errors only.

    With `waits`, a folder that is missing or cannot be written to is an error for a person at a terminal only: a
    service waits for it, see `Supervisor`.
    """
    settings = load_settings(args)
    check_settings(settings, mode, places=not waits or sys.stderr.isatty())
    level = "warning" if quiet and settings.log_level == "info" and sys.stderr.isatty() else settings.log_level
    configure(settings.log_format, level)
    for name in unknown_variables():
        remedy = f"unset it, or correct its name; the nearest one is {nearest_variable(name)}"
        log.warning("unknown_variable", name=name, remedy=remedy)
    return settings


def require_torch(command: str) -> None:
    """Raise ConfigurationError where torch is not installed. Does not import it: this process never does."""
    if find_spec("torch") is None:
        raise ConfigurationError(
            f"`{command}` needs torch, which is not installed here: pip install 'alphadrop[engine]'. "
            "Without it this machine can only `watch`."
        )

"""How `alphadrop` ends."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How the process ends; the same for every command."""

    OK = 0
    USAGE = 2
    """The command line or a setting is wrong, or the doctor found something to fix."""
    REJECTED = 3
    """Finished, but some images were rejected or left out."""
    UNFINISHED = 4
    """Could not finish."""
    INTERRUPTED = 130

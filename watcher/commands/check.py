"""The result of one of the doctor's checks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """What was found and, unless it is all right, what to do about it."""

    what: str
    ok: bool | None
    """None where it could not be found out; the finding says how to."""
    finding: str

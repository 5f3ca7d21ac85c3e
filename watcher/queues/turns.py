"""How urgent jobs overtake the backlog without starving it."""

from __future__ import annotations

URGENT_TURNS = 4
"""Of this many leases in a row, one goes to the oldest job, urgent or not."""


class Turns:
    """Counts leases while urgent jobs wait. Not thread-safe: its queue calls it under a lock."""

    def __init__(self) -> None:
        self._taken = 0

    def urgent(self, limit: int) -> int:
        """Of the next `limit` leases, how many go to urgent jobs, if there are any.

        >>> Turns().urgent(1), Turns().urgent(4), Turns().urgent(9)
        (1, 3, 7)
        """
        by_age = (self._taken + limit) // URGENT_TURNS - self._taken // URGENT_TURNS
        return limit - by_age

    def took(self, count: int, *, waiting: bool) -> None:
        """Count leased jobs. Without urgent jobs `waiting`, the next urgent one comes first."""
        self._taken = (self._taken + count) % URGENT_TURNS if waiting else 0

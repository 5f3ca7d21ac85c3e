"""All worker processes together: one keeper for each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from watcher.fleet.keeper import HURRY_SECONDS, REPORT_TIMEOUT, WorkerEvents, WorkerKeeper
from watcher.protocol import Command, DeathReason, WorkerStart, WorkerState


class WorkerPool:
    """The keepers of all workers."""

    def __init__(
        self,
        devices: Sequence[str],
        make_start: Callable[[str, int], WorkerStart],
        events: WorkerEvents,
        report_timeout: float = REPORT_TIMEOUT,
    ) -> None:
        """One worker for each device; a device may be named several times.

        `make_start(owner, place)` is the first message to a worker; `place` is its index in `devices`. A worker that
        reports nothing for `report_timeout` seconds counts as hung.
        """

        def starter(place: int) -> Callable[[str], WorkerStart]:
            return lambda owner: make_start(owner, place)

        self.keepers = [
            WorkerKeeper(name, starter(place), events, report_timeout)
            for place, name in enumerate(worker_names(devices))
        ]

    def start(self) -> None:
        """Start every worker that was not started yet; returns at once."""
        for keeper in self.keepers:
            if keeper.ident is None:
                keeper.start()

    def wake(self) -> None:
        """Tell the ready workers to look into the queue. One that is starting looks by itself."""
        for keeper in self.keepers:
            if keeper.state is WorkerState.READY:
                keeper.send(Command.WAKE)

    def hurry(self) -> None:
        """Somebody waits for an image: read reports at once for HURRY_SECONDS, at the cost of more wake-ups."""
        until = time.monotonic() + HURRY_SECONDS
        for keeper in self.keepers:
            keeper.hurry_until = until

    def stop(self, timeout: float) -> bool:
        """Let the workers finish their images for `timeout` seconds, then kill them; True if all finished in time."""
        for keeper in self.keepers:
            keeper.drain()
        until = time.monotonic() + timeout
        for keeper in self.keepers:
            if keeper.ident is not None:
                keeper.join(max(0.0, until - time.monotonic()))
        late = [keeper for keeper in self.keepers if keeper.is_alive()]
        self.kill()
        return not late

    def kill(self) -> None:
        """End every worker at once."""
        for keeper in self.keepers:
            keeper.kill()
        for keeper in self.keepers:
            if keeper.ident is not None:
                keeper.join(10)

    def states(self) -> dict[str, int]:
        """How many workers are in each state; every state is in it."""
        counts = Counter(keeper.state for keeper in self.keepers)
        return {state.value: counts[state] for state in WorkerState}

    def problems(self) -> list[str]:
        """Why workers are not ready, each reason once."""
        return sorted({keeper.problem for keeper in self.keepers if keeper.problem})

    def all_died_of(self, reason: DeathReason) -> bool:
        """Whether the last death of every worker had this reason."""
        return bool(self.keepers) and all(keeper.last_death is reason for keeper in self.keepers)


def worker_names(devices: Sequence[str]) -> list[str]:
    """A unique name for each worker: its device, with a number where several share one.

    >>> worker_names(["cuda:0", "cpu", "cpu"])
    ['cuda:0', 'cpu:0', 'cpu:1']
    """
    seen: Counter[str] = Counter()
    names = []
    for device in devices:
        names.append(f"{device}:{seen[device]}" if devices.count(device) > 1 else device)
        seen[device] += 1
    return names

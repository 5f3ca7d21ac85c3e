"""What one round does, drawn from its seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tests.torture.producer import Mixture


class Arrangement(StrEnum):
    """How alphadrop is run."""

    RUN = "run, folders"
    ONCE = "once, folders"
    BUCKETS = "run, buckets"
    TO_BUCKET = "run, folder to bucket"
    FROM_BUCKET = "run, bucket to folder"
    SQS = "watch and work, buckets, SQS"
    AMQP = "watch and work, buckets, RabbitMQ"
    AMQP_FOLDERS = "watch and work, folders, RabbitMQ"

    @property
    def source_is_bucket(self) -> bool:
        """Whether images come from a bucket."""
        return self in (Arrangement.BUCKETS, Arrangement.FROM_BUCKET, Arrangement.SQS, Arrangement.AMQP)

    @property
    def sink_is_bucket(self) -> bool:
        """Whether outputs go to a bucket."""
        return self in (Arrangement.BUCKETS, Arrangement.TO_BUCKET, Arrangement.SQS, Arrangement.AMQP)

    @property
    def shared(self) -> bool:
        """Whether the queue is a broker's."""
        return self in (Arrangement.SQS, Arrangement.AMQP, Arrangement.AMQP_FOLDERS)


WEIGHTS = {
    Arrangement.RUN: 14,
    Arrangement.ONCE: 3,
    Arrangement.BUCKETS: 2,
    Arrangement.TO_BUCKET: 1,
    Arrangement.FROM_BUCKET: 2,
    Arrangement.SQS: 1,
    Arrangement.AMQP: 2,
    Arrangement.AMQP_FOLDERS: 3,
}
MODELS = ("fake", "fake:delay=0.03", "fake:delay=0.1", "fake:delay=0.3")
REAL_ENGINE = "fake:oom_above=1,fail_at=40"
"""Runs in the real engine, whose device lacks memory for two pictures at a time and fails in its fortieth batch."""
DRAIN_SECONDS = 120.0
"""After the last fault, the backlog is drained and every daemon ready within this time on an idle machine."""
DEVICE_TIMEOUT = 6
"""Seconds after which a device counts as stuck, in rounds in which it hangs; a busy machine must not look like that."""
MOST_DEATHS = 2
"""Workers that a round kills: an image that three of them die of is rejected, however they die."""


@dataclass(frozen=True)
class Plan:
    """One round. The same seed gives the same plan; when a fault meets which image is chance."""

    seed: int
    arrangement: Arrangement
    faults: Sequence[str]
    model: str = "fake:delay=0.03"
    changes: int = 40
    """Changes of the source; they go on more slowly as long as faults strike."""
    seconds: float = 5.0
    """How long they take."""
    mixture: Mixture = field(default_factory=Mixture)
    together: bool = False
    """Whether the faults strike at the same time."""
    two_outputs: bool = False
    rescan: float = 5.0
    patience: float = DRAIN_SECONDS
    """Seconds until everything must be done on an idle machine. A slower one gets more, see `Round.patience`."""
    mutation: str = ""
    """A deliberate error in alphadrop, see `saboteur`."""

    def __str__(self) -> str:
        faults = (" with " if self.together else ", ").join(self.faults) or "no faults"
        return f"seed {self.seed}: {self.arrangement}, {self.model}, {self.changes} changes; {faults}"

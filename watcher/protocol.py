"""What crosses the pipes between the supervisor and a worker process: one pydantic model a line, as JSON.

The supervisor writes a `WorkerStart` to the worker's standard input, then one `Command` a line. The worker writes one
`Report` a line to its standard output; the supervisor makes all metrics, logs and traces from these.
"""

from __future__ import annotations

import json
import signal
from enum import IntEnum, StrEnum
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from inference.models.entry import ModelEntry
from watcher.config.settings import Settings
from watcher.core.jobs import Outcome
from watcher.notify.progress import Progress
from watcher.stores import ConditionalWrites

EMPTY = 0.001
"""Mean alpha up to which a cut-out counts as empty: of a megapixel, less than 32 pixels square are visible."""
STAGES = ("queue_wait", "read", "decode", "batch_wait", "infer", "encode", "put")


class ExitCode(IntEnum):
    """The exit codes of a worker process, after sysexits.h."""

    FINISHED = 0
    """It was told to drain, or its supervisor is gone."""
    DECODE_STUCK = 65
    """Decoding a picture took too long."""
    DEVICE_LOST = 70
    DEVICE_STUCK = 75
    CONFIGURATION = 78
    """The model cannot be used; starting it again does not help."""


class DeathReason(StrEnum):
    """Why a worker process ended: a label of metrics and a field of log lines."""

    EXIT = "exit"
    """It ended by itself without an error."""
    ERROR = "error"
    """It ended with an exit code that is not in `ExitCode`."""
    SILENT = "silent"
    """It sent no heartbeat for too long, and was killed."""
    DEVICE_LOST = "device_lost"
    DEVICE_STUCK = "device_stuck"
    DECODE_STUCK = "decode_stuck"
    CONFIGURATION = "configuration"
    SIGKILL = "sigkill"
    SIGSEGV = "sigsegv"
    SIGABRT = "sigabrt"
    SIGBUS = "sigbus"
    SIGTERM = "sigterm"
    OTHER = "other"
    """Any other signal, or it could not be started."""

    @classmethod
    def of_exit(cls, code: int) -> DeathReason:
        """The reason behind a return code of `subprocess.Popen`, which is negative for a signal."""
        return _DEATHS.get(code, cls.OTHER if code < 0 else cls.ERROR)


_DEATHS: dict[int, DeathReason] = {
    ExitCode.FINISHED: DeathReason.EXIT,
    ExitCode.DEVICE_LOST: DeathReason.DEVICE_LOST,
    ExitCode.DEVICE_STUCK: DeathReason.DEVICE_STUCK,
    ExitCode.DECODE_STUCK: DeathReason.DECODE_STUCK,
    ExitCode.CONFIGURATION: DeathReason.CONFIGURATION,
    -signal.SIGKILL: DeathReason.SIGKILL,
    -signal.SIGSEGV: DeathReason.SIGSEGV,
    -signal.SIGABRT: DeathReason.SIGABRT,
    -signal.SIGBUS: DeathReason.SIGBUS,
    -signal.SIGTERM: DeathReason.SIGTERM,
}


class WorkerState(StrEnum):
    """What a device's worker process is doing."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"
    STOPPED = "stopped"


class Command(StrEnum):
    """What the supervisor asks a worker to do."""

    WAKE = "wake"
    """Look into the queue: there may be work."""
    DRAIN = "drain"
    """Finish the images in flight, lease no more, and exit."""


class AfterDeath(StrEnum):
    """What a worker does first, after its device has ended the last one; see decision 0051."""

    NOTHING = "nothing"
    """Its device has not failed since it finished a picture."""
    SUSPECT_FIRST = "suspect_first"
    """Run the suspect of that death alone, before any other image."""
    REHEARSE = "rehearse"
    """Cut out a picture that is known to be good, before any image is leased."""


class Message(BaseModel):
    """Base of all that crosses a process boundary."""

    # Errors do not repeat their input: the settings may hold passwords.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class WorkerStart(Message):
    """What a worker is started with: the settings as they are, and what only the supervisor knows."""

    owner: str
    """The worker's name in the queue."""
    device: str
    threads: int
    """CPU threads of the model."""
    cores: tuple[int, ...] = ()
    """Numbers of the cores that the worker keeps to; empty for any."""
    codecs: int = 0
    """Images that a worker of a GPU decodes or encodes at a time; 0 for any number."""
    sharing: int = 1
    """Workers that share the device, this one included."""
    settings: Settings
    model: ModelEntry
    """The model as the supervisor resolved it: job ids are computed from it."""
    strong: ModelEntry | None = None
    """The strong model of a cascade."""
    conditional_writes: ConditionalWrites | None
    """Which conditional writes the sink's store was found to enforce; None where it was not probed."""
    after: AfterDeath = AfterDeath.NOTHING
    """What the device's last death asks of this worker before it works as usual."""
    count_deaths: bool = True
    """Whether the death of this worker counts against a crash suspect before its device has finished a picture."""


class ReadyReport(Message):
    """The model is loaded and every shape is warm."""

    kind: Literal["ready"] = "ready"
    device: str
    device_name: str
    model: str
    warmup_seconds: float
    uuid: str = ""
    """The device's, where it has one."""


class OutputReport(Message):
    """One output of an image."""

    name: str
    """Its name in the settings."""
    key: str
    format: str
    bytes: int
    width: int
    height: int
    box: tuple[int, int, int, int] | None = None
    """Where the object is: left, top, right and bottom in pixels, the last two exclusive; None if it is empty."""
    sha256: str = ""
    """Of its bytes, in hex digits; only where a manifest wants it."""
    written: bool = True
    """False if it was there already; such outputs are listed only where a manifest wants them."""


class ImageReport(Message):
    """One image is finished."""

    kind: Literal["image"] = "image"
    key: str
    job: str
    outcome: Outcome
    output: str = ""
    """The key of its output, or that of `Job.output` if there are several."""
    outputs: list[OutputReport] = []
    """The outputs that were written, which may be fewer than the image has; all of them where a manifest wants them."""
    reason: str = ""
    """Why it was rejected, else empty."""
    detail: str = ""
    stages: dict[str, float] = {}
    """Seconds by stage, for the stages that were reached."""
    starts: dict[str, float] = {}
    """When each of them began, as Unix times."""
    ended: float = 0.0
    """When this was reported, as a Unix time; 0 where the worker died before it could report."""
    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    coverage: float = 0.0
    """Mean alpha of the cut-out, 0..1."""
    confidence: float | None = None
    """Of its matte, 0..1; None where no model made it."""
    truncated: bool = False
    """Whether a part of the image's file is missing or damaged, and was filled in."""
    doubts: list[str] = []
    """Why its matte may be wrong; see `inference.review.doubts`."""
    model: str = ""
    """The model that made it, and the start of its digest."""
    other_confidence: float | None = None
    """In a cascade, of the other model's matte, which was less sure; None where only one model ran."""
    by_strong: bool = False
    """Whether a cascade's strong model made it."""
    stage: str = ""
    """The last stage it reached: where it failed, if it was rejected."""

    @property
    def empty(self) -> bool:
        """Whether the output that was written shows next to nothing: the model found no object."""
        return self.outcome is Outcome.WRITTEN and self.coverage <= EMPTY


class UnavailableReport(Message):
    """A stage failed with a transient error; its image, if there is one, was released and will be tried again."""

    kind: Literal["unavailable"] = "unavailable"
    key: str = ""
    """Empty where the queue itself could not be asked for an image."""
    stage: str
    reason: str
    """The `reason` of a `WatcherError`."""
    detail: str
    job: str = ""
    stages: dict[str, float] = {}
    starts: dict[str, float] = {}
    ended: float = 0.0
    public: str = ""
    """What may be shown outside of the log: nothing about which image it was."""


class BatchReport(Message):
    """One batch went through the device."""

    kind: Literal["batch"] = "batch"
    device: str
    size: int
    slots: int
    trigger: str
    seconds: float


class RehearsalReport(Message):
    """A picture that is known to be good is about to be cut out, or was."""

    kind: Literal["rehearsal"] = "rehearsal"
    passed: bool


class SuspectReport(Message):
    """A crash suspect is about to run, with no other image beside it."""

    kind: Literal["suspect"] = "suspect"
    key: str


class HeartbeatReport(Message):
    """Sent every second or so: the worker is alive, and this is the state of its device."""

    kind: Literal["heartbeat"] = "heartbeat"
    device: str
    memory: dict[str, int]
    """Bytes by kind: total, used, process, allocated, reserved, peak; those that the device knows."""
    batch_limit: int
    out_of_memory: int
    """How often, since the worker started."""
    busy_seconds: float
    """Since the worker started."""
    in_flight: int
    stages: dict[str, int] = {}
    """Images in flight by stage."""
    gpu: dict[str, float] = {}
    """Utilization (0..1), power (watts) and temperature (degrees Celsius); those that the device knows."""
    cpu_seconds: float = 0.0
    """Of this process, since it started."""
    resident_bytes: int | None = None
    """Of this process; None where it could not be read."""


class CountsReport(Message):
    """Sent with each heartbeat: this process's counters since it started, by name and label (see `core.counts`)."""

    kind: Literal["counts"] = "counts"
    counts: dict[str, dict[str, int]]


class NotificationsReport(Message):
    """Sent by a worker on a broker's queue, which delivers the notifications of its images itself."""

    kind: Literal["notifications"] = "notifications"
    progress: Progress


Report = (
    ReadyReport
    | ImageReport
    | UnavailableReport
    | BatchReport
    | RehearsalReport
    | SuspectReport
    | HeartbeatReport
    | CountsReport
    | NotificationsReport
)
_REPORT: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="kind")])
_START = TypeAdapter(WorkerStart)
T = TypeVar("T")


def encode(message: Message) -> str:
    """One line of ASCII, without the line break."""
    try:
        return message.model_dump_json(ensure_ascii=True)
    except PydanticSerializationError:  # a file's name that is not valid UTF-8, which only Python's json can write
        return json.dumps(message.model_dump(mode="json"))


def decode_report(line: str) -> Report:
    """The report of a line. Raises ValueError for anything else."""
    return _decode(_REPORT, line)


def decode_start(line: str) -> WorkerStart:
    """The first line of a worker's input. Raises ValueError for anything else."""
    return _decode(_START, line)


def _decode(adapter: TypeAdapter[T], line: str) -> T:
    try:
        return adapter.validate_json(line)
    except ValidationError as error:
        if any(detail["type"] == "json_invalid" for detail in error.errors(include_input=False)):
            return adapter.validate_python(json.loads(line))  # see `encode`
        raise

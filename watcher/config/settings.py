"""What can be set. Each field of `Settings` is a flag, a variable and a line of the TOML file.

The field's name gives all three: `png_level` is `--png-level`, `ALPHADROP_PNG_LEVEL` and `png_level = 2`. Its
annotation has the group in the help and the placeholder for the value, its docstring is the help text. A field without
a default is a positional argument. Making a `Settings` reads nothing: `load.load_settings` does the reading, once.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from inference.models.thirdparty.contracts import CONTRACTS
from watcher.config import validators
from watcher.config.outputs import OutputSettings, all_outputs, parse_outputs, parse_presets
from watcher.core.jobs import DEFAULT_PATTERN

STRONG_BELOW = 0.8
"""The default of `strong_below`."""
PREFIX = "ALPHADROP_"
"""What the name of every variable begins with."""


class Group(StrEnum):
    """A heading in the help. The help shows the groups in this order; a field without one is hidden from it."""

    PLACES = "Source and sink"
    OUTPUTS = "Outputs"
    EVENTS = "Events and queue"
    NOTIFY = "Notifications"
    PAGE = "Page and API"
    S3 = "S3"
    MODEL = "Devices and model"
    LIMITS = "Throughput and limits"
    OPERATION = "Operation"


@dataclass(frozen=True)
class Placeholder:
    """What stands for the value in the help. The last one of an annotation counts."""

    text: str


class DecidesOutput(StrEnum):
    """Marks a setting that decides what outputs look like or where they go, and says by what it enters their ids."""

    MODEL = "model"
    """By the model that is found with it."""
    CUTOUT = "cutout"
    """As an option of the cut-out, and so of every output."""
    CHANGED_CUTOUT = "changed_cutout"
    """As an option of the cut-out, unless it is the default: ids from before the setting existed stay valid."""
    OUTPUT = "output"
    """By the recipe of the outputs that it concerns."""


Integer = Annotated[int, BeforeValidator(validators.integer)]
Count = Annotated[Integer, Field(ge=0), Placeholder("N")]
Number = Annotated[float, BeforeValidator(validators.number), Field(allow_inf_nan=False), Placeholder("N")]
Share = Annotated[float, BeforeValidator(validators.number), Field(ge=0, le=1)]
Seconds = Annotated[Number, Field(ge=0), Placeholder("SECONDS")]
Interval = Annotated[Number, Field(gt=0), Placeholder("SECONDS")]
Switch = Annotated[bool, BeforeValidator(validators.switch)]
Name = Annotated[str, Placeholder("NAME")]
ManifestPlace = Annotated[str, AfterValidator(validators.manifest), Placeholder("FILE")]
Place = Annotated[str, AfterValidator(validators.place)]
FormerPlace = Annotated[str, AfterValidator(validators.optional_place), Placeholder("SOURCE")]
Queue = Annotated[str, AfterValidator(validators.queue), Field(repr=False), Placeholder("QUEUE")]
Events = Annotated[
    str, AfterValidator(validators.events), Field(repr=False), Placeholder("listing|queue|webhook|QUEUE")
]
Secret = Annotated[str, Field(repr=False), Placeholder("TEXT")]
Notify = Annotated[str, AfterValidator(validators.notify), Field(repr=False), Placeholder("URL")]
After = Annotated[str, AfterValidator(validators.after), Placeholder("keep|tag|delete|move:PREFIX")]
Tokens = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(validators.tokens), Field(repr=False), Placeholder("TEXT,...")
]
UploadPrefix = Annotated[str, AfterValidator(validators.upload_prefix), Placeholder("PREFIX")]
Endpoint = Annotated[str, AfterValidator(validators.endpoint), Placeholder("URL")]
Tags = Annotated[str, AfterValidator(validators.tags), Placeholder("NAME=VALUE,...")]
Devices = Annotated[str, AfterValidator(validators.devices), Placeholder("LIST")]
OutputName = Annotated[str, AfterValidator(validators.output_name), Placeholder("PATTERN")]
Presets = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parse_presets), Placeholder("NAME,...")]
Outputs = Annotated[tuple[OutputSettings, ...], NoDecode, BeforeValidator(parse_outputs), Placeholder("OUTPUT")]
Patterns = Annotated[tuple[str, ...], NoDecode, BeforeValidator(validators.patterns), Placeholder("PATTERN")]
Http = Annotated[str, AfterValidator(validators.http), Placeholder("HOST:PORT")]
Canvas = Annotated[int | None, Field(ge=64, multiple_of=64), BeforeValidator(validators.integer), Placeholder("PIXELS")]
ModelSource = Annotated[str, AfterValidator(validators.model_source), Field(repr=False), Placeholder("URL")]
Contract = Annotated[str, AfterValidator(validators.contract), Placeholder("|".join(CONTRACTS))]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(validators.lower)]


class Settings(BaseSettings):
    """Every setting of every command, checked one by one. Raises pydantic's ValidationError."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, env_prefix=PREFIX, env_ignore_empty=True
    )

    source: Annotated[Place, Group.PLACES]
    """folder or s3://BUCKET/PREFIX with the images to cut out, subfolders included"""
    sink: Annotated[Place, Group.PLACES]
    """folder or s3://BUCKET/PREFIX for the cut-outs; a missing folder is created"""
    output_name: Annotated[OutputName, Group.PLACES, DecidesOutput.OUTPUT] = DEFAULT_PATTERN
    """path of a cut-out below the sink: {dir} is the image's folder with its trailing slash, {stem} the file name
    without its extension, {ext} the extension, {name} the whole file name"""
    preset: Annotated[Presets, Group.OUTPUTS, DecidesOutput.OUTPUT] = ()
    """outputs by the rules of marketplaces, such as amazon-main,shopify, each in a folder of its own below the sink;
    the preset `cutout` is the PNG that is made where no output is asked for"""
    output: Annotated[Outputs, Group.OUTPUTS, DecidesOutput.OUTPUT] = ()
    """one more output: a preset or format, and what to change in it, such as webp,quality=85 or
    shopify,shadow=0.4,name=web; may be given several times. A TOML file has a table [[output]] for each"""
    manifest: Annotated[ManifestPlace, Group.OUTPUTS] = ""
    """file to which one line of JSON is added for each finished image: its outputs with their sizes and SHA-256, or why
    it was rejected; or s3://BUCKET/PREFIX, which gets an object with that line"""
    exclude_sink: Annotated[Switch, Group.PLACES] = False
    """allow a sink inside the source, and ignore the images in it"""
    exclude: Annotated[Patterns, Group.PLACES] = ()
    """leave out the files and folders that match this pattern, such as drafts/ or '*_preview.jpg'; may be given several
    times. Patterns are those of a .gitignore file: without a slash they match at any depth, and ! includes again.
    Service folders of NAS and sync tools, such as @eaDir and #recycle, are left out without being named"""
    moved_from: Annotated[FormerPlace, Group.PLACES] = ""
    """former address of a source that has moved: its outputs are replaced, and not left to it as another source's"""
    after: Annotated[After, Group.PLACES] = "keep"
    """what to do with an image in a bucket once its output is stored: keep it, tag it alphadrop=done, delete it, or
    move it below PREFIX in the same bucket"""
    state: Annotated[Path | None, Group.PLACES, Placeholder("FOLDER")] = None
    """folder on a local disk for the queue and the lock file (default: one for each pair of source and sink, below
    $XDG_STATE_HOME/alphadrop or ~/.local/state/alphadrop)"""

    events: Annotated[Events, Group.EVENTS] = "listing"
    """how new objects of a bucket are found between full listings: `listing` waits for the next one; `queue` reads
    the events that the store sends to --queue; `webhook` accepts them at POST /events; QUEUE, written as for --queue,
    reads them from a queue of their own"""
    events_token: Annotated[Secret, Group.EVENTS] = ""
    """bearer token that POST /events requires; prefer the variable, since other users of this machine can read flags"""
    queue: Annotated[Queue, Group.EVENTS] = ""
    """message queue that `watch` fills and `work` empties: sqs://NAME, the https:// address of an SQS queue, or
    amqp://USER:PASSWORD@HOST/VHOST?queue=NAME (default: an SQLite file in the state folder, for this machine alone)"""
    visibility: Annotated[Interval, Group.EVENTS] = 60
    """SQS visibility timeout in seconds; extended while a job runs"""

    notify: Annotated[Notify, Group.NOTIFY] = ""
    """who is notified when all outputs of an image are stored, or it is rejected: a webhook, https://HOST/PATH;
    sqs://NAME; sns://TOPIC-ARN; amqp://USER:PASSWORD@HOST/VHOST?queue=NAME, or with ?exchange=NAME&routing_key=KEY"""
    notify_secret: Annotated[Secret, Group.NOTIFY] = ""
    """secret with which requests to a webhook are signed, or file:PATH of a file that holds it; prefer the variable or
    a file, since other users of this machine can read flags"""

    page: Annotated[Switch, Group.PAGE] = False
    """serve a page at --http to upload, compare, review and download pictures, and the API that it uses"""
    api: Annotated[Switch, Group.PAGE] = False
    """serve the API at --http without the page"""
    api_token: Annotated[Tokens, Group.PAGE] = ()
    """tokens of at least 16 characters, separated by commas, one of which every request of page and API must carry;
    required unless --http is a loopback address. Prefer the variable, since other users of this machine can read
    flags"""
    upload_prefix: Annotated[UploadPrefix, Group.PAGE] = "uploads/"
    """folder or prefix in the source for what is uploaded: PREFIX/BATCH/PATH"""
    upload_limit: Annotated[Number, Field(gt=0, le=512), Group.PAGE, Placeholder("MB")] = 64
    """largest picture that may be uploaded, in MB of 2^20 bytes"""
    api_timeout: Annotated[Interval, Group.PAGE] = 60
    """longest time in seconds that a synchronous call of the API waits for its picture"""
    api_waits: Annotated[Integer, Field(ge=1, le=150), Group.PAGE, Placeholder("N")] = 64
    """most synchronous calls that wait for their pictures at the same time; more are refused with 429"""
    api_backlog: Annotated[Integer, Field(ge=1), Group.PAGE, Placeholder("N")] = 20_000
    """most uploads that wait for their turn; more are refused with 429 (not with a broker, which knows no turns)"""
    api_urls: Annotated[Switch, Group.PAGE] = False
    """allow the API to fetch pictures from addresses in the public internet that its clients send"""

    s3_endpoint: Annotated[Endpoint, Group.S3] = ""
    """address of an S3-compatible service other than AWS"""
    s3_region: Annotated[Name, Group.S3] = ""
    """region of the buckets and SQS queues"""
    s3_profile: Annotated[Name, Group.S3] = ""
    """profile in the shared AWS credentials file (default: boto3's own search order for credentials)"""
    s3_path_style: Annotated[bool | None, BeforeValidator(validators.switch), Group.S3] = None
    """put the bucket's name into the path of the URL, not into its host name (default: with --s3-endpoint only)"""
    sink_s3_endpoint: Annotated[Endpoint, Group.S3] = ""
    """address of the sink's S3 service (default: the source's)"""
    sink_s3_region: Annotated[Name, Group.S3] = ""
    """region of the sink's bucket (default: the source's)"""
    sink_s3_profile: Annotated[Name, Group.S3] = ""
    """profile for the sink's bucket (default: the source's)"""
    s3_storage_class: Annotated[Name, Group.S3] = ""
    """storage class of the outputs, such as STANDARD_IA"""
    s3_kms_key: Annotated[str, Group.S3, Placeholder("ID")] = ""
    """KMS key to encrypt the outputs with"""
    s3_tags: Annotated[Tags, Group.S3] = ""
    """tags for the outputs, at most ten"""
    s3_acl: Annotated[Name, Group.S3] = ""
    """canned ACL for the outputs, such as public-read"""

    devices: Annotated[Devices, Group.MODEL] = "auto"
    """`auto` uses every GPU, with up to three workers on each as cores and memory allow, or else the CPU with one
    worker for each core and 2 GiB of memory (for a third-party model one on each GPU, or one in all); or a list:
    cuda:0,cuda:1 runs a worker on each, cuda:0x3 three that share a GPU, cpu:2 two that share the cores"""
    model: Annotated[str, Field(min_length=1), Group.MODEL, Placeholder("NAME|FILE"), DecidesOutput.MODEL] = "nano"
    """a model that `alphadrop models` lists, such as nano or isnet-general-use, or a file: .safetensors from
    alphadrop's training, .onnx, .pt2 or TorchScript. A listed model that is not here yet is fetched once"""
    model_source: Annotated[ModelSource, Group.MODEL] = ""
    """address of a mirror to fetch listed models from, by the names of rembg's files; may contain a user and password
    (default: rembg's release on GitHub)"""
    offline: Annotated[Switch, Group.MODEL] = False
    """fetch no model: fail, and say how to bring its file by hand"""
    accept_licence: Annotated[Switch, Group.MODEL] = False
    """allow fetching models whose licence forbids commercial use"""
    model_contract: Annotated[Contract, Group.MODEL, DecidesOutput.MODEL] = ""
    """preprocessing contract of a third-party model; needed only where alphadrop cannot detect it from the file"""
    strong: Annotated[str, Group.MODEL, Placeholder("NAME|FILE"), DecidesOutput.MODEL] = ""
    """a second, better and slower model for the images of which --model is not sure; see docs/models.md"""
    strong_contract: Annotated[Contract, Group.MODEL, DecidesOutput.MODEL] = ""
    """preprocessing contract of --strong; needed only where alphadrop cannot detect it from the file"""
    strong_below: Annotated[Share | None, Group.MODEL, Placeholder("0-1"), DecidesOutput.MODEL] = None
    """confidence, 0 to 1, below which an image goes on to --strong: the same images each time (default: 0.8, unless
    --strong-share is given)"""
    strong_share: Annotated[Share | None, Group.MODEL, Placeholder("0-1"), DecidesOutput.MODEL] = None
    """share of the images, 0 to 1, that go on to --strong: those with the lowest confidence of the last 500; which
    these are depends on the images before"""
    canvas: Annotated[Canvas, Group.MODEL, DecidesOutput.MODEL] = None
    """longer side of the image that the model sees, a multiple of 64: larger finds finer detail and takes longer
    (default: the model's own)"""
    input_alpha: Annotated[Literal["multiply", "ignore", "trust"], Group.MODEL, DecidesOutput.CUTOUT] = "multiply"
    """what to do with an image's own transparency: `multiply` it with the matte; `ignore` it, as if the image stood on
    white; `trust` it as the matte, without running the model"""
    truncated: Annotated[Literal["reject", "keep"], Group.MODEL, DecidesOutput.CHANGED_CUTOUT] = "reject"
    """what to do with a truncated or damaged image: `reject` it; `keep` what can be decoded of a JPEG, PNG or
    uncompressed TIFF, with grey, black or transparent pixels for the rest, and log a warning"""
    batch: Annotated[Count, Group.MODEL] = 0
    """most images in one batch; 0 lets the device decide"""
    max_wait_ms: Annotated[Number, Field(ge=0), Group.MODEL, Placeholder("MS")] = 20
    """milliseconds that an incomplete batch waits for images that are still being decoded"""
    threads: Annotated[Count, Group.MODEL] = 0
    """CPU threads for each worker's model; 0 divides the available cores among the workers"""
    cuda_graphs: Annotated[Literal["auto", "off"], Group.MODEL] = "auto"
    """replay the model's GPU kernels as CUDA graphs; auto runs them one by one, and logs why, if recording fails"""
    device_timeout: Annotated[Interval, Group.MODEL] = 300
    """seconds that a device may take for one batch before its worker is restarted"""

    images_in_flight: Annotated[Count, Group.LIMITS] = 0
    """most images that a worker processes at the same time; 0 lets the worker decide"""
    megapixels_in_flight: Annotated[Number, Field(gt=0), Group.LIMITS] = 100
    """most decoded megapixels that a worker holds in memory at the same time; a pixel with 16 bits a channel counts
    double, and up to sevenfold where outputs keep its depth"""
    max_pixels: Annotated[Integer, Field(gt=0), Group.LIMITS, Placeholder("N")] = 178_000_000
    """reject images with more pixels than this"""
    decode_timeout: Annotated[Interval, Group.LIMITS] = 120
    """seconds that decoding one image may take. Then its worker is restarted; an image that takes as long when it is
    decoded alone is rejected"""
    png_level: Annotated[Integer, Field(ge=0, le=3), Group.LIMITS, Placeholder("0-3"), DecidesOutput.OUTPUT] = 1
    """PNG compression: higher is smaller and slower"""
    rescan: Annotated[Interval | None, Group.LIMITS, Placeholder("SECONDS")] = None
    """seconds between full listings, which find what events have missed (default: 60, or 900 for a bucket with
    events)"""
    settle: Annotated[Seconds, Group.LIMITS] = 2
    """seconds a file must stay unchanged before it is processed; does not delay a file that was closed after writing or
    renamed into place"""

    watch: Annotated[Literal["auto", "events", "polling"], Group.OPERATION] = "auto"
    """how new files in a folder are found: by the kernel's events, or by polling, which network filesystems need; auto
    picks the right one"""
    poll: Annotated[Interval, Group.OPERATION] = 2
    """seconds between two scans of the folder when polling"""
    drain: Annotated[Seconds, Group.OPERATION] = 25
    """seconds that images in flight have to finish after a signal to stop"""
    http: Annotated[Http, Group.OPERATION] = "127.0.0.1:9464"
    """address that serves /metrics, /livez and /readyz; 0.0.0.0:9464 in a container, off to serve nothing"""
    log_format: Annotated[Literal["auto", "json", "text"], Group.OPERATION] = "auto"
    """auto is text on a terminal and JSON elsewhere"""
    log_level: Annotated[LogLevel, Group.OPERATION] = "info"
    """least severe level to log"""

    test_hook: str = ""
    """point at which alphadrop's own tests break a worker"""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read no source: `load_settings` asks them one by one, so that an error can name the one that is wrong."""
        return (init_settings,)

    @property
    def outputs(self) -> tuple[OutputSettings, ...]:
        """The outputs to make of each image: those of `preset` and `output`, or else the cut-out as it is."""
        return all_outputs(self.preset, self.output, self.output_name)

    @property
    def source_uri(self) -> str:
        """The source's canonical address: the same for every way to write it."""
        return validators.place_uri(self.source)

    @property
    def sink_uri(self) -> str:
        """The sink's canonical address: the same for every way to write it."""
        return validators.place_uri(self.sink)

    @property
    def source_path(self) -> Path | None:
        """The source as a folder, absolute and with links resolved; None for a bucket."""
        return None if validators.is_bucket(self.source) else validators.folder_path(self.source)

    @property
    def sink_path(self) -> Path | None:
        """The sink as a folder, whether it exists or not; None for a bucket."""
        return None if validators.is_bucket(self.sink) else validators.folder_path(self.sink)

    @property
    def manifest_path(self) -> Path | None:
        """The manifest as a file, absolute; None for a bucket, or if there is none."""
        is_file = self.manifest and not validators.is_bucket(self.manifest)
        return validators.folder_path(self.manifest) if is_file else None

    @property
    def state_path(self) -> Path:
        """The folder for queue and lock: the same for every way to write the same source and sink."""
        if self.state is not None:
            return validators.folder_path(str(self.state))
        pair = self.source_uri + self.sink_uri
        home = validators.folder_path(os.environ.get("XDG_STATE_HOME") or "~/.local/state")
        return home / "alphadrop" / hashlib.sha256(pair.encode()).hexdigest()[:16]

    @property
    def strong_threshold(self) -> float:
        """The confidence below which an image goes on to `strong`, where no share is given."""
        return STRONG_BELOW if self.strong_below is None else self.strong_below

    @property
    def rembg_path(self) -> Path:
        """The folder in which rembg keeps its models, and alphadrop those that it fetches."""
        return rembg_path()

    @property
    def rescan_seconds(self) -> float:
        """Seconds between full listings: `rescan`, or its default for this source."""
        has_events = self.source_path is None and self.events != "listing"
        return self.rescan or (900.0 if has_events else 60.0)

    @property
    def serves_api(self) -> bool:
        """Whether the API is served, with or without the page."""
        return self.page or self.api

    @property
    def upload_bytes(self) -> int:
        """`upload_limit` in bytes."""
        return int(self.upload_limit * 2**20)

    @property
    def http_address(self) -> tuple[str, int] | None:
        """Host and port of the web server; None if it is off."""
        host, _, port = self.http.rpartition(":")
        return (host.strip("[]"), int(port)) if host else None


def rembg_path() -> Path:
    """Folder of rembg's models, by rembg's own rule: $U2NET_HOME, else .u2net in $XDG_DATA_HOME or the home folder."""
    home = os.environ.get("U2NET_HOME") or os.path.join(os.environ.get("XDG_DATA_HOME") or "~", ".u2net")
    return validators.folder_path(home)


def settings_that_decide(*by: DecidesOutput) -> tuple[str, ...]:
    """The names of the settings that decide outputs in one of these ways."""
    return tuple(name for name, info in Settings.model_fields.items() if set(by) & _marks(info))


def changed_settings(settings: Settings, by: DecidesOutput) -> dict[str, Any]:
    """The settings that decide outputs in this way and differ from their defaults."""
    values = {name: getattr(settings, name) for name in settings_that_decide(by)}
    return {name: value for name, value in values.items() if value != Settings.model_fields[name].default}


def _marks(info: FieldInfo) -> set[DecidesOutput]:
    return {mark for mark in info.metadata if isinstance(mark, DecidesOutput)}


OUTPUT_SETTINGS = settings_that_decide(*DecidesOutput)
"""The settings that every command takes which computes job ids."""

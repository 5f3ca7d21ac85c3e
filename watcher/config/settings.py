"""What can be set: one definition, from which flags, ALPHADROP_* variables, the TOML file and the help are made.

A `Settings` is a plain value and making one reads nothing; `configuration.load_settings` does the reading, once.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from inference.models.thirdparty.contracts import CONTRACTS
from watcher.config import validators as syntax

PREFIX = "ALPHADROP_"


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


# The title stands for the value in --help.
Count = Annotated[int, Field(ge=0, title="N")]
Number = Annotated[float, Field(allow_inf_nan=False, title="N")]
Seconds = Annotated[Number, Field(ge=0, title="SECONDS")]
Interval = Annotated[Number, Field(gt=0, title="SECONDS")]
Place = Annotated[str, AfterValidator(syntax.place)]
Broker = Annotated[str, AfterValidator(syntax.broker), Field(title="QUEUE")]
Events = Annotated[str, AfterValidator(syntax.events), Field(title="listing|queue|webhook|QUEUE")]
After = Annotated[str, AfterValidator(syntax.after), Field(title="keep|tag|delete|move:PREFIX")]
Endpoint = Annotated[str, AfterValidator(syntax.endpoint), Field(title="URL")]
Tags = Annotated[str, AfterValidator(syntax.tags), Field(title="NAME=VALUE,...")]
Devices = Annotated[str, AfterValidator(syntax.devices), Field(title="LIST")]
OutputName = Annotated[str, AfterValidator(syntax.output_name), Field(title="PATTERN")]
Http = Annotated[str, AfterValidator(syntax.http), Field(title="HOST:PORT")]
Contract = Annotated[str, AfterValidator(syntax.contract), Field(title="NAME")]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]


class Settings(BaseSettings):
    """Everything that can be set; the descriptions are the help. Raises pydantic's ValidationError."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, env_ignore_empty=True)

    source: Place = Field(description="folder or s3://BUCKET/PREFIX to watch for images, with all that are below it")
    sink: Place = Field(description="folder (made if it is missing) or s3://BUCKET/PREFIX for the cut-outs")
    output_name: OutputName = Field(
        default="{dir}{stem}.png",
        description="where an output goes, below the sink: {dir} is the image's folder with its slash, {stem} its name "
        "without the extension, {ext} the extension, {name} the whole name",
    )
    exclude_sink: bool = Field(default=False, description="allow a sink inside the source, and leave it unwatched")
    after: After = Field(
        default="keep",
        description="what becomes of an image in a bucket when its output is durable; a tag is alphadrop=done, a "
        "prefix begins at the bucket's root",
    )
    state: Path | None = Field(
        default=None,
        title="FOLDER",
        description="folder for queue and lock, on a local disk; if not given, one for each pair of source and sink "
        "below $XDG_STATE_HOME/alphadrop or ~/.local/state/alphadrop",
    )
    s3_endpoint: Endpoint = Field(default="", description="address of an S3 that is not Amazon's")
    s3_region: str = Field(default="", title="NAME", description="region of buckets and SQS queues")
    s3_profile: str = Field(
        default="", title="NAME", description="profile of the shared credentials file; else boto3's own order decides"
    )
    s3_path_style: bool | None = Field(
        default=None,
        description="whether the bucket stands in the path, not in the host's name; with an endpoint it does",
    )
    sink_s3_endpoint: Endpoint = Field(default="", description="the same for the sink, where it is another S3's")
    sink_s3_region: str = Field(default="", title="NAME", description="region of the sink, where it is another one")
    sink_s3_profile: str = Field(default="", title="NAME", description="profile for the sink, where it is another one")
    s3_storage_class: str = Field(default="", title="NAME", description="storage class of outputs, e.g. STANDARD_IA")
    s3_kms_key: str = Field(default="", title="ID", description="KMS key that outputs are encrypted with")
    s3_tags: Tags = Field(default="", description="tags of outputs")
    s3_acl: str = Field(default="", title="NAME", description="canned ACL of outputs, e.g. public-read")
    queue: Broker = Field(
        default="",
        repr=False,
        description="a broker's queue between `watch` and `work`: sqs://NAME, an SQS queue's https:// address, or "
        "amqp://USER:PASSWORD@HOST/VHOST?queue=NAME; if not given, a queue of this machine's own in the state folder",
    )
    events: Events = Field(
        default="listing",
        repr=False,
        description="how new objects of a bucket are noticed besides listings: not at all; by events that the store "
        "sends to --queue itself, to POST /events, or to another QUEUE, written as for --queue",
    )
    events_token: str = Field(
        default="", repr=False, title="TEXT", description="bearer token that POST /events demands; better a variable"
    )
    visibility: Interval = Field(
        default=60, description="a worker that is silent for so long loses what it has leased from SQS to others"
    )
    devices: Devices = Field(
        default="auto",
        description="auto (every GPU; else the CPU, with a worker for each core and 2 GiB of memory, but one alone for "
        "a model of others) or a list: cuda:0,cuda:1 is a worker on each, cpu:2 is two workers on the CPU that share "
        "its cores",
    )
    model: str = Field(
        default="nano",
        min_length=1,
        title="NAME",
        description="name of a model, path of a file (.safetensors of ours, .onnx, .pt2 or TorchScript), or name of a "
        "model of rembg's, such as isnet-general-use; `alphadrop models` lists what is there",
    )
    model_contract: Contract = Field(
        default="",
        description="the family of somebody else's model, which says how it is fed, where its file does not: "
        + ", ".join(CONTRACTS),
    )
    canvas: int | None = Field(
        default=None,
        ge=64,
        multiple_of=64,
        title="PIXELS",
        description="longer side at which the model sees an image, a multiple of 64: larger finds finer shapes and "
        "takes longer; if not given, the model's own",
    )
    batch: Count = Field(default=0, description="most images in one batch; 0 lets the device decide")
    max_wait_ms: Number = Field(
        default=20, ge=0, title="MS", description="how long a short batch waits for images that are being decoded"
    )
    threads: Count = Field(
        default=0, description="CPU threads of a worker's model; 0 shares the cores allowed to this process"
    )
    cuda_graphs: Literal["auto", "off"] = Field(
        default="auto",
        description="whether a GPU's worker records the network's steps and replays them as one; auto falls back by "
        "itself where that fails, and the log says so",
    )
    device_timeout: Interval = Field(
        default=300, description="a device that takes longer for one batch is given up, and its worker started again"
    )
    images_in_flight: Count = Field(
        default=0, description="most images that a worker has in hand; 0 lets the worker decide"
    )
    megapixels_in_flight: Number = Field(
        default=100, gt=0, description="most decoded megapixels that a worker has in hand"
    )
    max_pixels: int = Field(default=178_000_000, gt=0, title="N", description="an image with more pixels is rejected")
    png_level: int = Field(
        default=1, ge=0, le=3, title="N", description="compression, 0 to 3: higher is smaller and slower"
    )
    settle: Seconds = Field(default=2, description="a file that nothing says is whole must have held still for so long")
    rescan: Interval | None = Field(
        default=None,
        title="SECONDS",
        description="time between full listings, which find what events have missed; if not given, 60, and 900 for a "
        "bucket whose events are heard",
    )
    watch: Literal["auto", "events", "polling"] = Field(
        default="auto", description="how new files are noticed; network filesystems need polling, which auto finds out"
    )
    poll: Interval = Field(default=2, description="time between two looks when polling")
    drain: Seconds = Field(default=25, description="time that images in hand may take to finish after a signal to stop")
    http: Http = Field(
        default="127.0.0.1:9464",
        description="where /metrics, /livez and /readyz are served; 0.0.0.0:9464 in a container, off for nowhere",
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="auto is text on a terminal, json elsewhere"
    )
    log_level: LogLevel = Field(default="info", description="least important kind of line to log")
    test_hook: str = Field(default="", description="where alphadrop's own tests break a worker")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Making one reads nothing: `load_settings` asks the sources, to be able to say which of them is wrong."""
        return (init_settings,)

    @property
    def source_uri(self) -> str:
        """The source, the same for every way to write it."""
        return syntax.place_uri(self.source)

    @property
    def sink_uri(self) -> str:
        """The sink, the same for every way to write it."""
        return syntax.place_uri(self.sink)

    @property
    def source_path(self) -> Path | None:
        """The source as a folder, absolute and with links resolved; None for a bucket."""
        return None if syntax.is_bucket(self.source) else syntax.folder_path(self.source)

    @property
    def sink_path(self) -> Path | None:
        """The sink as a folder, whether it exists or not; None for a bucket."""
        return None if syntax.is_bucket(self.sink) else syntax.folder_path(self.sink)

    @property
    def state_path(self) -> Path:
        """Where queue and lock are: the same for every way to write the same source and sink."""
        if self.state is not None:
            return syntax.folder_path(str(self.state))
        pair = self.source_uri + self.sink_uri
        home = syntax.folder_path(os.environ.get("XDG_STATE_HOME") or "~/.local/state")
        return home / "alphadrop" / hashlib.sha256(pair.encode()).hexdigest()[:16]

    @property
    def rembg_path(self) -> Path:
        """Where rembg keeps its models."""
        return rembg_path()

    @property
    def rescan_seconds(self) -> float:
        """The time between listings that holds."""
        heard = self.source_path is None and self.events != "listing"
        return self.rescan or (900.0 if heard else 60.0)

    @property
    def http_address(self) -> tuple[str, int] | None:
        """Host and port, None where it is off."""
        host, _, port = self.http.rpartition(":")
        return (host.strip("[]"), int(port)) if host else None


def rembg_path() -> Path:
    """Where rembg keeps its models, by its own rule: $U2NET_HOME, else .u2net in $XDG_DATA_HOME or the home folder."""
    home = os.environ.get("U2NET_HOME") or os.path.join(os.environ.get("XDG_DATA_HOME") or "~", ".u2net")
    return syntax.folder_path(home)

"""What the user can set: flags, ALPHADROP_* variables and a TOML file, all three from one definition.

A flag goes before the environment, that before the file, that before the default. No other module reads the
environment. A `Settings` is a plain value and making one reads nothing; `load_settings` does the reading, once.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from watcher import folders, syntax
from watcher.errors import ConfigurationError

PREFIX = "ALPHADROP_"
CONFIG_FILE = "alphadrop.toml"
"""Read where it lies in the working folder, unless --config or ALPHADROP_CONFIG names another."""

# What Kubernetes puts into the pods beside a Service that is called alphadrop or alphadrop-something.
_SERVICE_LINK = re.compile(r"(^|_)(SERVICE_(HOST|PORT)|PORT)(_|$)")


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


# The title stands for the value in --help.
Count = Annotated[int, Field(ge=0, title="N")]
Number = Annotated[float, Field(allow_inf_nan=False, title="N")]
Seconds = Annotated[Number, Field(ge=0, title="SECONDS")]
Interval = Annotated[Number, Field(gt=0, title="SECONDS")]
Folder = Annotated[str, AfterValidator(syntax.folder)]
Devices = Annotated[str, AfterValidator(syntax.devices), Field(title="LIST")]
OutputName = Annotated[str, AfterValidator(syntax.output_name), Field(title="PATTERN")]
Http = Annotated[str, AfterValidator(syntax.http), Field(title="HOST:PORT")]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]


class Settings(BaseSettings):
    """Everything that can be set; the descriptions are the help. Raises pydantic's ValidationError."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, env_ignore_empty=True)

    source: Folder = Field(description="folder to watch for images, with all that are below it")
    sink: Folder = Field(description="folder for the cut-outs; it is made if it is missing")
    output_name: OutputName = Field(
        default="{dir}{stem}.png",
        description="where an output goes, below the sink: {dir} is the image's folder with its slash, {stem} its name "
        "without the extension, {ext} the extension, {name} the whole name",
    )
    exclude_sink: bool = Field(default=False, description="allow a sink inside the source, and leave it unwatched")
    state: Path | None = Field(
        default=None,
        title="FOLDER",
        description="folder for queue and lock, on a local disk; if not given, one for each pair of source and sink "
        "below $XDG_STATE_HOME/alphadrop or ~/.local/state/alphadrop",
    )
    devices: Devices = Field(
        default="auto",
        description="auto (every GPU, else the CPU) or a list: cuda:0,cuda:1 is a worker on each, cpu:2 is two workers "
        "on the CPU that share its cores",
    )
    model: str = Field(
        default="nano", min_length=1, title="NAME", description="name of a model, or path of its weights"
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
    rescan: Interval = Field(default=60, description="time between full listings, which find what events have missed")
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
    def source_path(self) -> Path:
        """The source, absolute and with links resolved."""
        return syntax.folder_path(self.source)

    @property
    def sink_path(self) -> Path:
        """The sink, absolute and with links resolved, whether it exists or not."""
        return syntax.folder_path(self.sink)

    @property
    def state_path(self) -> Path:
        """Where queue and lock are: the same for every way to write the same two folders."""
        if self.state is not None:
            return syntax.folder_path(str(self.state))
        pair = self.source_path.as_uri() + self.sink_path.as_uri()
        home = syntax.folder_path(os.environ.get("XDG_STATE_HOME") or "~/.local/state")
        return home / "alphadrop" / hashlib.sha256(pair.encode()).hexdigest()[:16]

    @property
    def http_address(self) -> tuple[str, int] | None:
        """Host and port, None where it is off."""
        host, _, port = self.http.rpartition(":")
        return (host.strip("[]"), int(port)) if host else None


POSITIONAL = ("source", "sink")
HIDDEN = ("test_hook",)
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Folders": ("source", "sink", "output_name", "exclude_sink", "state"),
    "Devices and model": ("devices", "model", "canvas", "batch", "max_wait_ms", "threads", "device_timeout"),
    "Pace and limits": ("images_in_flight", "megapixels_in_flight", "max_pixels", "png_level", "rescan", "settle"),
    "Operation": ("watch", "poll", "drain", "http", "log_format", "log_level"),
}
# With line breaks, for parsers that keep the text as it is.
ELSEWHERE = """\
Everything above can also be a variable, ALPHADROP_MAX_WAIT_MS=20 for
--max-wait-ms 20, or a line of a TOML file, max_wait_ms = 20. A flag goes
before a variable, and a variable before the file."""


def add_settings_arguments(parser: argparse.ArgumentParser, *only: str) -> None:
    """Give `parser` an option for each field, or for those that `only` names, by field or by group, and --config."""
    for title, names in GROUPS.items():
        chosen = [name for name in names if not only or name in only or title in only]
        group = parser.add_argument_group(title) if chosen else parser
        for name in chosen:
            _add_argument(group, name, Settings.model_fields[name])
    group = parser.add_argument_group("Configuration", ELSEWHERE)
    group.add_argument("--config", metavar="FILE", help=f"read settings from FILE (default: {CONFIG_FILE}, if present)")


def _add_argument(group: argparse._ActionsContainer, name: str, info: FieldInfo) -> None:
    """Values stay text, and what is not given stays out: pydantic converts, and the other sources come next."""
    options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(info)}
    if info.annotation is bool:
        options["action"] = argparse.BooleanOptionalAction
    else:
        options["metavar"] = info.title or "|".join(get_args(info.annotation)) or name.upper()
    if name in POSITIONAL:
        group.add_argument(name, nargs="?", **options)
    else:
        group.add_argument(_flag(name), **options)


def _help(info: FieldInfo) -> str:
    shown = isinstance(info.default, str | int | float) and not isinstance(info.default, bool)
    text = f"{info.description} (default: {info.default})" if shown else str(info.description)
    return text.replace("%", "%%")


def _flag(name: str) -> str:
    return name.upper() if name in POSITIONAL else "--" + name.replace("_", "-")


@dataclass(frozen=True)
class _Layer:
    """What one place says, and how to name one of its settings in a message."""

    values: Mapping[str, object]
    label: Callable[[str], str]


def load_settings(
    args: argparse.Namespace | Sequence[str] = (), *, environ: Mapping[str, str] | None = None
) -> Settings:
    """Settings from flags, environment and file. Raises ConfigurationError with one line for each problem."""
    environ = os.environ if environ is None else environ
    given = vars(args if isinstance(args, argparse.Namespace) else _parse(args))
    file = given.get("config") or environ.get(PREFIX + "CONFIG") or None
    layers = [_flags(given), _variables(environ), _file(file)]
    problems = list(_unknown_keys(layers[-1]))
    known = {k: v for k, v in ChainMap(*(dict(layer.values) for layer in layers)).items() if k in Settings.model_fields}
    try:
        settings = Settings.model_validate(known)
    except ValidationError as error:
        problems += [_problem(detail, layers) for detail in error.errors()]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return settings


def check_folders(settings: Settings) -> None:
    """Look whether source, sink and state can work. Raises ConfigurationError with one line for each problem."""
    paths = settings.source_path, settings.sink_path, settings.state_path
    problems = folders.problems(*paths, exclude_sink=settings.exclude_sink)
    if problems:
        raise ConfigurationError("\n".join(problems))


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """ALPHADROP_* variables that mean nothing, to be warned of: Kubernetes may set some, so they are no errors."""
    known = {PREFIX + name.upper() for name in (*Settings.model_fields, "config")}
    names = (os.environ if environ is None else environ).keys() - known
    return sorted(n for n in names if n.startswith(PREFIX) and not _SERVICE_LINK.search(n.removeprefix(PREFIX)))


def _parse(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="alphadrop")
    add_settings_arguments(parser)
    return parser.parse_args(args)


def _flags(given: Mapping[str, object]) -> _Layer:
    return _Layer({k: v for k, v in given.items() if k in Settings.model_fields and k not in HIDDEN}, _flag)


def _variables(environ: Mapping[str, str]) -> _Layer:
    """An empty variable counts as not set, as manifests like to have them."""
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in environ.items() if value}
    return _Layer(source(), lambda name: PREFIX + name.upper())


def _file(named: str | None) -> _Layer:
    path = Path(named or CONFIG_FILE)
    if not path.is_file():
        if named is None:
            return _Layer({}, str)
        raise ConfigurationError(f"{path} is not there: name a TOML file.")
    try:
        values = TomlConfigSettingsSource(Settings, path).toml_data
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}): name a TOML file.") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}.") from error
    return _Layer(values, lambda name: f"{path}: {name}")


def _unknown_keys(layer: _Layer) -> Iterator[str]:
    names = [name for name in Settings.model_fields if name not in HIDDEN]
    for key in layer.values.keys() - set(names):
        nearest = difflib.get_close_matches(key.lower().replace("-", "_"), names, n=1, cutoff=0)[0]
        yield f"{layer.label(key)} is no setting; the nearest one is {nearest}."


def _problem(detail: ErrorDetails, layers: Sequence[_Layer]) -> str:
    name = str(detail["loc"][0])
    if detail["type"] == "missing":
        first = "first" if name == "source" else "second"
        return f"{_flag(name)} is missing: give a folder as the {first} argument, or set {PREFIX}{name.upper()}."
    label = next(layer.label(name) for layer in layers if name in layer.values)
    return f"{label}: {_reason(detail)}."


def _reason(detail: ErrorDetails) -> str:
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    wanted = re.split(r", (?:unable|got) ", detail["msg"])[0].replace("Input should be", "must be")
    return f"{wanted}, not {detail['input']!r}"

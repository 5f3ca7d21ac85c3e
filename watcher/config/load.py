"""Reads the settings once. A flag overrides an environment variable, which overrides the TOML file and the defaults.

No other module reads settings from the environment. Every error names the flag, variable or line that is wrong.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import tomllib
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from watcher.config.flags import CONFIG_FILE, PUBLIC, add_settings_arguments, flag_of
from watcher.config.outputs import OutputProblems, conflicts
from watcher.config.parser import Parser
from watcher.config.settings import PREFIX, Settings
from watcher.core.errors import ConfigurationError

# Kubernetes sets these in every pod, for each Service that is called alphadrop or alphadrop-something.
_SERVICE_LINK = re.compile(r"(^|_)(SERVICE_(HOST|PORT)|PORT)(_|$)")
_UNUSED = "."
_MESSAGES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_from_float": "must be an integer",
    "int_parsing": "must be an integer",
    "int_type": "must be an integer",
    "path_type": "must be a path",
    "string_type": "must be a string",
}
"""Texts for pydantic's types of errors whose own texts name Python's types."""
OTLP_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""OpenTelemetry's standard variables; the first one that is set wins."""
_COLLECTOR = "http://collector:4318"


class MissingSourceOrSink(ConfigurationError):
    """Source or sink is not given; nothing else is wrong."""

    def __init__(self, missing: Sequence[str]) -> None:
        """`missing` has a sentence for each of the two that is not given."""
        super().__init__("\n".join(missing))
        self.missing = missing


@dataclass(frozen=True)
class _Layer:
    """The values that one place gives, and how to name one of its settings in a message."""

    values: Mapping[str, object]
    label: Callable[[str], str]


def load_settings(
    args: argparse.Namespace | Sequence[str] = (),
    *,
    environ: Mapping[str, str] | None = None,
    need_source_and_sink: bool = True,
) -> Settings:
    """Settings from flags, environment and file. Raises ConfigurationError with one line for each problem.

    Raises MissingSourceOrSink where nothing else is wrong. Without `need_source_and_sink`, for a command that uses
    neither, a missing one is the working directory.
    """
    environ = os.environ if environ is None else environ
    given = vars(args if isinstance(args, argparse.Namespace) else _parse(args))
    file = given.get("config") or environ.get(PREFIX + "CONFIG") or None
    layers = [_flags(given), _variables(environ), _file(file)]
    problems = list(_unknown_keys(layers[-1]))
    known = {k: v for k, v in ChainMap(*(dict(layer.values) for layer in layers)).items() if k in Settings.model_fields}
    if not need_source_and_sink:
        known = {"source": _UNUSED, "sink": _UNUSED} | known
    missing = []
    try:
        settings = Settings.model_validate(known)
    except ValidationError as error:
        details = error.errors()
        absent = [str(detail["loc"][0]) for detail in details if detail["type"] == "missing"]
        missing = [_missing(name) for name in absent if name not in _inside_tables(layers[-1].values)]
        problems += [text for detail in details if detail["type"] != "missing" for text in _problems(detail, layers)]
    else:
        problems += [*conflicts(settings.outputs), *_cascade_problems(settings)]
    if problems:
        raise ConfigurationError("\n".join(problems + missing))
    if missing:
        raise MissingSourceOrSink(missing)
    return settings


def _cascade_problems(settings: Settings) -> Iterator[str]:
    """What is wrong with the settings of a cascade taken together."""
    if settings.strong_share is not None and settings.strong_below is not None:
        yield "--strong-share and --strong-below exclude each other: choose a share of the images, or a confidence."
    given = ("strong_share", "strong_below", "strong_contract")
    for name in (name for name in given if not settings.strong and getattr(settings, name) not in (None, "")):
        yield f"{flag_of(name)} needs --strong, the model that gets the images of which --model is not sure."


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """ALPHADROP_* variables that name no setting. They deserve a warning only: Kubernetes may set more such names."""
    names = (os.environ if environ is None else environ).keys() - set(_known_variables())
    return sorted(n for n in names if n.startswith(PREFIX) and not _SERVICE_LINK.search(n.removeprefix(PREFIX)))


def nearest_variable(name: str) -> str:
    """The variable whose name is most like `name`."""
    return _nearest(name, _known_variables())


def _known_variables() -> list[str]:
    return [PREFIX + name.upper() for name in (*Settings.model_fields, "config")]


def wants_traces(environ: Mapping[str, str] | None = None) -> bool:
    """Whether OpenTelemetry's own variables ask for traces. Raises ConfigurationError for what is not supported."""
    environ = os.environ if environ is None else environ
    name = next((n for n in OTLP_ENDPOINTS if environ.get(n)), None)
    exporters = [word.strip() for word in environ.get("OTEL_TRACES_EXPORTER", "otlp").split(",")]
    if name is None or "none" in exporters or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if not environ[name].startswith(("http://", "https://")):
        raise ConfigurationError(
            f"{name} must be the http:// or https:// address of a collector, for example {_COLLECTOR}."
        )
    for protocol in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if environ.get(protocol):
            if environ[protocol] != "http/protobuf":
                raise ConfigurationError(f"{protocol}={environ[protocol]} is not supported: set http/protobuf.")
            break
    if exporters not in ([""], ["otlp"]):
        raise ConfigurationError(f"OTEL_TRACES_EXPORTER={','.join(exporters)} is not supported: set otlp or none.")
    return True


def _flags(given: Mapping[str, object]) -> _Layer:
    return _Layer({name: value for name, value in given.items() if name in PUBLIC}, flag_of)


def _variables(environ: Mapping[str, str]) -> _Layer:
    """Settings from variables, in capitals or small letters. An empty one counts as not set, as in many manifests."""
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in environ.items() if value}
    return _Layer(source(), lambda name: PREFIX + name.upper())


def _file(named: str | None) -> _Layer:
    """The TOML file's settings. A byte order mark, as some editors of Windows write it, is skipped."""
    path = Path(named or CONFIG_FILE)
    if not path.is_file():
        if named is None:
            return _Layer({}, str)
        problem = "is not a file" if path.exists() else "does not exist"
        raise ConfigurationError(f"{path} {problem}: --config and {PREFIX}CONFIG take the path of a TOML file.")
    try:
        values = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}): name a TOML file.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not in UTF-8: save it in that encoding.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}.") from error
    return _Layer(values, lambda name: f"{path}: {name}")


def _unknown_keys(layer: _Layer) -> Iterator[str]:
    for key in sorted(layer.values.keys() - set(PUBLIC)):
        value = layer.values[key]
        if isinstance(value, dict):
            for header in _headers(key, value):
                yield f"{layer.label(header)} is a table: remove this line, since settings stand outside of tables."
        else:
            nearest = difflib.get_close_matches(key.replace("-", "_").lower(), PUBLIC, n=1)
            hint = f"the nearest one is {nearest[0]}" if nearest else "`alphadrop run --help` lists them"
            yield f"{layer.label(key)} is not a setting; {hint}."


def _headers(name: str, table: Mapping[str, object]) -> Iterator[str]:
    """The header of a table and of those in it as the file has them: [alphadrop], or [tool.alphadrop]."""
    inner = {key: value for key, value in table.items() if isinstance(value, dict)}
    if len(inner) < len(table) or not table:
        yield f"[{name}]"
    for key, value in inner.items():
        yield from _headers(f"{name}.{key}", value)


def _inside_tables(values: Mapping[str, object]) -> Iterator[str]:
    """The keys of every table, at any depth."""
    for value in values.values():
        if isinstance(value, dict):
            yield from value
            yield from _inside_tables(value)


def _nearest(name: str, names: Iterable[str]) -> str:
    """The most similar of `names`, however little it is."""
    return max(names, key=lambda known: difflib.SequenceMatcher(None, known.lower(), name.lower()).ratio())


def _missing(name: str) -> str:
    """The complaint about a source or sink that is not given."""
    order = "first" if name == "source" else "second"
    what = "a folder or s3://BUCKET/PREFIX"
    return f"{flag_of(name)} is missing: give {what} as the {order} argument, or set {PREFIX}{name.upper()}."


def _problems(detail: ErrorDetails, layers: Sequence[_Layer]) -> Iterator[str]:
    name = str(detail["loc"][0])
    label = next(layer.label(name) for layer in layers if name in layer.values)
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, OutputProblems):
        yield from (f"{label} {where}".rstrip() + f": {what}." for where, what in error.problems)
    else:
        yield f"{label}: {_reason(detail, secret=not Settings.model_fields[name].repr)}."


def _reason(detail: ErrorDetails, *, secret: bool) -> str:
    """What the value must be and, unless it may be a secret, what it is."""
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    wanted = _MESSAGES.get(detail["type"]) or detail["msg"].replace("Input should be", "must be")
    return wanted if secret else f"{wanted}, not {_shown(detail['input'])}"


def _shown(value: object) -> str:
    """A value as a TOML file has it, or nearly so."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str | list | dict) else str(value)


def _parse(args: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="alphadrop")
    add_settings_arguments(parser)
    return parser.parse_args(args)

"""Reads the settings, once: a flag goes before the environment, that before the file, that before the default.

No other module reads the environment. What is wrong is said with the name of the flag, variable or line that it is in.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource

from watcher.config.flags import CONFIG_FILE, HIDDEN, add_settings_arguments, flag_of
from watcher.config.settings import PREFIX, Settings
from watcher.core.errors import ConfigurationError

# What Kubernetes puts into the pods beside a Service that is called alphadrop or alphadrop-something.
_SERVICE_LINK = re.compile(r"(^|_)(SERVICE_(HOST|PORT)|PORT)(_|$)")
OTLP_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Standard variables; the first one that is set holds."""
_COLLECTOR = "http://collector:4318"
MISSING = "is missing:"
"""In a complaint, and in no other, that source or sink is not named."""


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


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """ALPHADROP_* variables that mean nothing, to be warned of: Kubernetes may set some, so they are no errors."""
    known = {PREFIX + name.upper() for name in (*Settings.model_fields, "config")}
    names = (os.environ if environ is None else environ).keys() - known
    return sorted(n for n in names if n.startswith(PREFIX) and not _SERVICE_LINK.search(n.removeprefix(PREFIX)))


def wants_traces(environ: Mapping[str, str] | None = None) -> bool:
    """Whether OpenTelemetry's own variables ask for traces. Raises ConfigurationError for what is not supported."""
    environ = os.environ if environ is None else environ
    name = next((n for n in OTLP_ENDPOINTS if environ.get(n)), None)
    exporters = [word.strip() for word in environ.get("OTEL_TRACES_EXPORTER", "otlp").split(",")]
    if name is None or "none" in exporters or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if not environ[name].startswith(("http://", "https://")):
        raise ConfigurationError(f"{name} is no http:// or https:// address: give a collector's, such as {_COLLECTOR}.")
    for protocol in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if environ.get(protocol):
            if environ[protocol] != "http/protobuf":
                raise ConfigurationError(f"{protocol}={environ[protocol]} is not supported: set http/protobuf.")
            break
    if exporters not in ([""], ["otlp"]):
        raise ConfigurationError(f"OTEL_TRACES_EXPORTER={','.join(exporters)} is not supported: set otlp or none.")
    return True


def _flags(given: Mapping[str, object]) -> _Layer:
    return _Layer({k: v for k, v in given.items() if k in Settings.model_fields and k not in HIDDEN}, flag_of)


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
        what = "a folder or s3://BUCKET/PREFIX"
        return f"{flag_of(name)} {MISSING} give {what} as the {first} argument, or set {PREFIX}{name.upper()}."
    label = next(layer.label(name) for layer in layers if name in layer.values)
    return f"{label}: {_reason(detail, secret=not Settings.model_fields[name].repr)}."


def _reason(detail: ErrorDetails, *, secret: bool) -> str:
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    wanted = re.split(r", (?:unable|got) ", detail["msg"])[0].replace("Input should be", "must be")
    return wanted if secret else f"{wanted}, not {detail['input']!r}"


def _parse(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="alphadrop")
    add_settings_arguments(parser)
    return parser.parse_args(args)

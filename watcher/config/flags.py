"""Settings as options of a command, in groups, with their descriptions as the help."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any, NoReturn, get_args

from pydantic.fields import FieldInfo

from watcher.config.settings import Settings

CONFIG_FILE = "alphadrop.toml"
"""Read where it lies in the working folder, unless --config or ALPHADROP_CONFIG names another."""

POSITIONAL = ("source", "sink")
HIDDEN = ("test_hook",)
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Source and sink": ("source", "sink", "output_name", "exclude_sink", "after", "state"),
    "Events and queue": ("events", "events_token", "queue", "visibility"),
    "S3": (
        "s3_endpoint",
        "s3_region",
        "s3_profile",
        "s3_path_style",
        "sink_s3_endpoint",
        "sink_s3_region",
        "sink_s3_profile",
        "s3_storage_class",
        "s3_kms_key",
        "s3_tags",
        "s3_acl",
    ),
    "Devices and model": (
        "devices",
        "model",
        "model_contract",
        "canvas",
        "batch",
        "max_wait_ms",
        "threads",
        "cuda_graphs",
        "device_timeout",
    ),
    "Pace and limits": ("images_in_flight", "megapixels_in_flight", "max_pixels", "png_level", "rescan", "settle"),
    "Operation": ("watch", "poll", "drain", "http", "log_format", "log_level"),
}
# With line breaks, for parsers that keep the text as it is.
ELSEWHERE = """\
Everything above can also be a variable, ALPHADROP_MAX_WAIT_MS=20 for
--max-wait-ms 20, or a line of a TOML file, max_wait_ms = 20. A flag goes
before a variable, and a variable before the file."""
_SECRETS = re.compile(r"(?<=//)\S*(?=@)|(?<=token[= ])\S+", re.IGNORECASE)


class Parser(argparse.ArgumentParser):
    """Quotes a command line that it does not understand without the passwords in it."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with exit code 2."""
        super().error(_SECRETS.sub("...", message))


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
    if info.annotation in (bool, bool | None):
        options["action"] = argparse.BooleanOptionalAction
    else:
        options["metavar"] = info.title or "|".join(get_args(info.annotation)) or name.upper()
    if name in POSITIONAL:
        group.add_argument(name, nargs="?", **options)
    else:
        group.add_argument(flag_of(name), **options)


def _help(info: FieldInfo) -> str:
    shown = isinstance(info.default, str | int | float) and not isinstance(info.default, bool) and info.default != ""
    text = f"{info.description} (default: {info.default})" if shown else str(info.description)
    return text.replace("%", "%%")


def flag_of(name: str) -> str:
    """How a setting is written on the command line."""
    return name.upper() if name in POSITIONAL else "--" + name.replace("_", "-")

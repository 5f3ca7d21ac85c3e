"""Settings as flags of a command, in groups, with their docstrings as the help."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, get_args

from pydantic.fields import FieldInfo

from watcher.config.settings import PREFIX, Group, Placeholder, Settings

CONFIG_FILE = "alphadrop.toml"
"""Read from the working directory, unless --config or ALPHADROP_CONFIG names another file."""
# argparse keeps these line breaks.
OTHER_WAYS = f"""\
Each of these settings can also be an environment variable, for example
{PREFIX}MAX_WAIT_MS=20 for --max-wait-ms 20, or a line of a TOML file,
max_wait_ms = 20. A flag overrides a variable; a variable overrides the file."""


def group_of(info: FieldInfo) -> Group | None:
    """The group of a setting; None for one that has neither a flag nor a line in the file."""
    return next((mark for mark in info.metadata if isinstance(mark, Group)), None)


PUBLIC: Mapping[str, FieldInfo] = {name: info for name, info in Settings.model_fields.items() if group_of(info)}
"""The documented settings, by name."""


def add_settings_arguments(parser: argparse.ArgumentParser, *only: str) -> None:
    """Give `parser` a flag for each setting, and --config; `only` limits it to these settings and groups."""
    for group in Group:
        names = [name for name, info in PUBLIC.items() if group_of(info) is group]
        chosen = [name for name in names if not only or name in only or group in only]
        section = parser.add_argument_group(group) if chosen else parser
        for name in chosen:
            _add_argument(section, name, PUBLIC[name])
    section = parser.add_argument_group("Configuration", OTHER_WAYS)
    section.add_argument("--config", metavar="FILE", help=f"TOML file to read (default: {CONFIG_FILE}, if it exists)")


def _add_argument(section: argparse._ActionsContainer, name: str, info: FieldInfo) -> None:
    """Add a setting's flag. Its value stays text, which pydantic converts; a flag that is not given is left out."""
    options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(info)}
    if info.annotation in (bool, bool | None):
        options["action"] = argparse.BooleanOptionalAction
    elif name in ("output", "exclude"):
        options |= {"action": "append", "metavar": _placeholder(name, info)}
    else:
        options["metavar"] = _placeholder(name, info)
    if info.is_required():
        section.add_argument(name, nargs="?", **options)
    else:
        section.add_argument(flag_of(name), **options)


def _placeholder(name: str, info: FieldInfo) -> str:
    marks = [mark.text for mark in info.metadata if isinstance(mark, Placeholder)]
    return marks[-1] if marks else "|".join(get_args(info.annotation)) or name.upper()


def _help(info: FieldInfo) -> str:
    """The help text: the setting's docstring, and its default unless that is empty or a switch."""
    shown = isinstance(info.default, str | int | float) and not isinstance(info.default, bool) and info.default != ""
    text = f"{info.description} (default: {info.default})" if shown else str(info.description)
    return text.replace("%", "%%")


def flag_of(name: str) -> str:
    """A setting's name on the command line: --png-level, or SOURCE for a positional argument."""
    return name.upper() if Settings.model_fields[name].is_required() else "--" + name.replace("_", "-")

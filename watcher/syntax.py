"""How the values of settings are written. Every check returns its value or raises ValueError, saying what to do."""

from __future__ import annotations

import os
import re
import string
from pathlib import Path
from urllib.parse import unquote, urlsplit

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DEVICE = r"(cpu(:[1-9]\d*)?|cuda:\d+)"
_DEVICES = re.compile(rf"auto|{_DEVICE}(, *{_DEVICE})*")
_HTTP = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(\d{1,5})")
_PLACEHOLDERS = ("dir", "stem", "ext", "name")


def folder(value: str) -> str:
    """A path, or the file:// address of one."""
    if not value.strip() or "\0" in value:
        raise ValueError(f"must name a folder, not {value!r}")
    scheme = _SCHEME.match(value)
    if scheme and scheme[1].lower() != "file":
        raise ValueError(f"{scheme[0]} is not supported yet; name a folder of this machine, as /path or file:///path")
    if scheme and urlsplit(value).netloc not in ("", "localhost"):
        raise ValueError("a file:// address takes an absolute path, as in file:///path")
    return value


def folder_path(value: str) -> Path:
    """The absolute path of a `folder`, with links resolved, whether it exists or not."""
    path = unquote(urlsplit(value).path) if _SCHEME.match(value) else os.path.expanduser(value)
    return Path(os.path.realpath(path))


def devices(value: str) -> str:
    """`auto`, or devices with commas between them."""
    if not _DEVICES.fullmatch(value):
        raise ValueError(f"must be auto, or a list such as cpu, cpu:2 or cuda:0,cuda:1, not {value!r}")
    return value


def http(value: str) -> str:
    """`HOST:PORT` or `off`."""
    match = _HTTP.fullmatch(value)
    if value != "off" and not (match and int(match[2]) <= 65535):
        raise ValueError(f"must be HOST:PORT, for example 0.0.0.0:9464, or off, not {value!r}")
    return value


def output_name(value: str) -> str:
    """A pattern for `work.output_key`."""
    names = _placeholders(value)
    unknown = [name for name in names if name not in _PLACEHOLDERS]
    if unknown:
        raise ValueError(f"knows {{dir}}, {{stem}}, {{ext}} and {{name}}, not {{{unknown[0]}}}")
    if "stem" not in names and "name" not in names:
        raise ValueError("must contain {stem} or {name}, or all images of a folder would share one output")
    if not value.endswith(".png"):
        raise ValueError(f"must end in .png, since that is what outputs are, not {value!r}")
    if value.startswith("/") or ".." in value:
        raise ValueError(f"must stay inside the sink, without a leading slash and without '..', not {value!r}")
    return value


def _placeholders(pattern: str) -> list[str]:
    """What stands in braces, a conversion or format with it, so that `stem:>9` is no known name."""
    try:
        parsed = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise ValueError(f"is no pattern ({error}); an example is {{dir}}{{stem}}.png") from None
    return [
        f"{name}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}"
        for _, name, form, conversion in parsed
        if name is not None
    ]

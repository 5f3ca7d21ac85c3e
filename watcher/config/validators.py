"""Checks of single settings, and the canonical form of addresses.

Every check returns its value or raises ValueError with a text that completes "NAME: ..." and says what would be right.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pydantic_core import PydanticKnownError

from inference.models.thirdparty.contracts import CONTRACTS
from watcher.sources.exclusions import Exclusions

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DEVICE = r"(cpu(:[1-9]\d*)?|cuda:\d+(x[1-9]\d*)?)"
_DEVICES = re.compile(rf"auto|{_DEVICE}(, *{_DEVICE})*")
_HTTP = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(\d{1,5})")
_BUCKET = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,62})(?:/(.*))?", re.DOTALL)
_QUEUE = re.compile(r"(sqs|amqps?|https?)://[^/\s]+\S*")
_RECEIVER = re.compile(r"(sqs|sns|amqps?|https?)://[^/\s]+\S*")
_QUEUES = "sqs://NAME, the https:// address of an SQS queue, or amqp://USER:PASSWORD@HOST/VHOST?queue=NAME"
_TOKEN = re.compile(r"[!-+\--~]{16,512}")
_UPLOAD_PART = re.compile(r"[\w-][\w.-]{0,99}")
_CREDENTIALS = "takes no user, key or password; boto3 finds credentials in the environment or its own files"
_PLACEHOLDERS = ("dir", "stem", "ext", "name")


def integer(value: object) -> object:
    """Refuse a boolean, which pydantic would count as 0 or 1."""
    if isinstance(value, bool):
        raise PydanticKnownError("int_type")
    return value


def number(value: object) -> object:
    """Refuse a boolean, which pydantic would count as 0 or 1."""
    if isinstance(value, bool):
        raise PydanticKnownError("float_type")
    return value


def switch(value: object) -> object:
    """Refuse a number, where pydantic would take 0 and 1."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise PydanticKnownError("bool_type")
    return value


def lower(value: object) -> object:
    """Text in lower case; anything else as it is."""
    return value.lower() if isinstance(value, str) else value


def patterns(value: object) -> tuple[str, ...]:
    """A list of patterns, or a text with semicolons in between."""
    items = [part for part in value.split(";") if part] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError('must be a list of patterns, such as ["drafts/", "*_preview.jpg"]')
    Exclusions(items)
    return tuple(items)


def optional_place(value: str) -> str:
    """A place, or "" for none."""
    return place(value) if value else ""


def place(value: str) -> str:
    """A folder's path or file:// address, or s3://BUCKET/PREFIX."""
    if not value.strip() or "\0" in value:
        raise ValueError(f"must name a folder or a bucket, not {value!r}")
    scheme = _SCHEME.match(value)
    if scheme and {"@", ":"} & set(urlsplit(value).netloc):  # the message leaves the value out: it may hold a secret
        raise ValueError(_CREDENTIALS)
    if is_bucket(value):
        return _bucket(value)
    if scheme and scheme[1].lower() != "file":
        raise ValueError(f"{scheme[0]} is not supported; name a folder, /path or file:///path, or s3://BUCKET/PREFIX")
    if scheme and urlsplit(value).netloc not in ("", "localhost"):
        raise ValueError("a file:// address takes an absolute path, as in file:///path")
    return value


def manifest(value: str) -> str:
    """A file's path or file:// address, s3://BUCKET/PREFIX, or ""."""
    return place(value) if value else value


def is_bucket(value: str) -> bool:
    """Whether a place is a bucket rather than a folder."""
    return value[:5].lower() == "s3://"


def _bucket(value: str) -> str:
    match = _BUCKET.fullmatch("s3" + value[2:])
    if not match:
        raise ValueError(f"must be s3://BUCKET or s3://BUCKET/PREFIX, not {value!r}")
    if (match[2] or "").startswith("/"):
        raise ValueError(f"has two slashes before its prefix, so no key would match; write one, not {value!r}")
    return value


def place_uri(value: str) -> str:
    """The canonical address of a `place`: file:///real/path, or s3://bucket/prefix/ with special characters quoted.

    A prefix is taken literally, as other S3 tools do: `%20` in it is three characters of a key.
    """
    if not is_bucket(value):
        return folder_path(value).as_uri()
    bucket, prefix = value[5:].partition("/")[::2]
    prefix = prefix.rstrip("/")
    return f"s3://{bucket}/" + (quote(prefix) + "/" if prefix else "")


def folder_path(value: str) -> Path:
    """The absolute path of a folder, with links resolved, whether it exists or not."""
    path = unquote(urlsplit(value).path) if _SCHEME.match(value) else os.path.expanduser(value)
    return Path(os.path.realpath(path))


def devices(value: str) -> str:
    """`auto`, or a list of devices separated by commas."""
    if not _DEVICES.fullmatch(value):
        raise ValueError(f"must be auto, or a list such as cpu, cpu:2, cuda:0,cuda:1 or cuda:0x3, not {value!r}")
    return value


def http(value: str) -> str:
    """`HOST:PORT` or `off`."""
    match = _HTTP.fullmatch(value)
    if value != "off" and not (match and int(match[2]) <= 65535):
        raise ValueError(f"must be HOST:PORT, for example 0.0.0.0:9464, or off, not {value!r}")
    return value


def queue(value: str) -> str:
    """The address of a message queue, or "". No message repeats it: it may hold a password."""
    if value and not _QUEUE.fullmatch(value):
        raise ValueError(f"must be {_QUEUES}")
    return value


def events(value: str) -> str:
    """`listing`, `queue`, `webhook`, or the address of a message queue, which no message repeats."""
    if value not in ("listing", "queue", "webhook") and not _QUEUE.fullmatch(value):
        raise ValueError(f"must be listing, queue, webhook, {_QUEUES}")
    return value


def notify(value: str) -> str:
    """The address of a receiver of notifications, or "". No message repeats it: it may hold a password."""
    if value and not _RECEIVER.fullmatch(value):
        raise ValueError(
            "must be https://HOST/PATH, sqs://NAME, sns://TOPIC-ARN, or amqp://USER:PASSWORD@HOST/VHOST?queue=NAME"
        )
    return value


def tokens(value: object) -> tuple[str, ...]:
    """A list of secret tokens, or a text with commas in between. No message repeats them."""
    items = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError('must be a list of texts, such as ["one token", "another"]')
    if not all(_TOKEN.fullmatch(item) for item in items):
        raise ValueError(
            "must have 16 to 512 printable ASCII characters in each token, no spaces; `openssl rand -hex 24` makes one"
        )
    return tuple(items)


def upload_prefix(value: str) -> str:
    """A prefix of keys below the source, with the slash added."""
    prefix = value.strip("/") + "/"
    parts = prefix[:-1].split("/")
    if value.startswith("/") or not all(_UPLOAD_PART.fullmatch(part) for part in parts):
        raise ValueError(
            "must be a folder below the source, such as uploads/, of letters, digits, dots, dashes and underscores, "
            f"no part of it hidden, not {value!r}"
        )
    return prefix


def contract(value: str) -> str:
    """The name of a preprocessing contract, or ""."""
    if value and value not in CONTRACTS:
        raise ValueError(f"must be one of {', '.join(CONTRACTS)}, not {value!r}")
    return value


def after(value: str) -> str:
    """`keep`, `tag`, `delete` or `move:PREFIX/`, with the slash added."""
    word, colon, prefix = value.partition(":")
    if word == "move" and prefix.strip("/") and not prefix.startswith("/"):
        return f"move:{prefix.rstrip('/')}/"
    if colon or word not in ("keep", "tag", "delete"):
        raise ValueError(f"must be keep, tag, delete, or move:PREFIX with a prefix in the same bucket, not {value!r}")
    return value


def tags(value: str) -> str:
    """`NAME=VALUE` pairs separated by commas; S3 allows ten."""
    pairs = [pair.partition("=") for pair in value.split(",")] if value else []
    if any(not name.strip() or not equals for name, equals, _ in pairs) or len(pairs) > 10:
        raise ValueError(f"must be at most ten pairs such as team=shop,kind=cutout, not {value!r}")
    return value


def endpoint(value: str) -> str:
    """The http:// or https:// address of a service, without a trailing slash; or ""."""
    parts = urlsplit(value)
    if "@" in value:  # the message leaves the value out: it may hold a secret
        raise ValueError(_CREDENTIALS)
    if value and not (parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/")):
        raise ValueError("must be an address such as https://minio.example:9000, without a path")
    return value.rstrip("/")


def model_source(value: str) -> str:
    """The http:// or https:// address of a folder with model files; or "". No message repeats it: see `queue`."""
    parts = urlsplit(value)
    if value and not (parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment):
        raise ValueError("must be an address such as https://mirror.example/models")
    return value.rstrip("/")


def output_name(value: str) -> str:
    """The pattern of a cut-out's keys."""
    return key_pattern(value, ("png",))


def key_pattern(value: str, extensions: Sequence[str], *, more: Sequence[str] = ()) -> str:
    """A pattern for `jobs.output_key` that ends in one of `extensions`; `more` are placeholders to name in messages."""
    names = _placeholders(value)
    unknown = [name for name in names if name not in _PLACEHOLDERS]
    if unknown:
        known = [f"{{{name}}}" for name in (*_PLACEHOLDERS, *more)]
        raise ValueError(f"takes {', '.join(known[:-1])} and {known[-1]}, not {{{unknown[0]}}}")
    if "stem" not in names and "name" not in names:
        raise ValueError("must contain {stem} or {name}, or all images of a folder would share one output")
    if not value.endswith(tuple(f".{extension}" for extension in extensions)):
        wanted = " or ".join(f".{extension}" for extension in extensions)
        raise ValueError(f"must end in {wanted}, as the output's format is {extensions[-1].upper()}, not {value!r}")
    if value.startswith("/") or ".." in value:
        raise ValueError(f"must stay inside the sink, without a leading slash and without '..', not {value!r}")
    return value


def _placeholders(pattern: str) -> list[str]:
    """The texts in braces, each with its conversion and format, so that `stem:>9` is not taken for `stem`."""
    try:
        parsed = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise ValueError(f"is not a valid pattern ({error}); an example is {{dir}}{{stem}}.png") from None
    return [
        f"{name}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}"
        for _, name, form, conversion in parsed
        if name is not None
    ]

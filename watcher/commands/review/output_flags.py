"""The `--output` flags that ask for the outputs that a sink has of an image."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from inference.compose import PRESETS
from watcher.commands.review.items import Item, output_options
from watcher.config.outputs import parse_outputs
from watcher.core.jobs import DEFAULT_PATTERN, PLAIN, output_key


def output_flags(items: Iterable[Item]) -> str:
    """The flags for all outputs of these images, for a shell; "" where those of one output cannot be told.

    An output does not record its name and the pattern of its key. The flags name it so that its key is the same.
    """
    texts = dict.fromkeys(_text_of(item.key, key, recorded) for item in items for key, recorded in item.options.items())
    return "" if None in texts else " ".join(f"--output {shlex.quote(text)}" for text in texts if text)


def _text_of(source_key: str, key: str, recorded: str) -> str | None:
    look = output_options(recorded)
    texts = _candidates(source_key, key, look) if look is not None else ()
    return next((text for text in texts if _makes(text, source_key, key)), None)


def _candidates(source_key: str, key: str, look: Mapping[str, Any]) -> Iterator[str]:
    """The texts that may have asked for an output, the shortest first."""
    folder = key.partition("/")[0]
    if not look:
        yield PLAIN
    if folder in PRESETS and PRESETS[folder].spec.changes() == look:
        yield folder
    fields = [f"{field}={_written(value)}" for field, value in look.items() if field != "format"]
    text = ",".join([look.get("format", "png"), *fields])
    yield text
    yield f"{text},name={folder}"
    stem = output_key("{dir}{stem}", source_key)
    before, found, after = key.rpartition(stem)
    if found:
        yield f"{text},key={before}{{dir}}{{stem}}{after}"


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _makes(text: str, source_key: str, key: str) -> bool:
    """Whether an output that is asked for so has this key."""
    try:
        (output,) = parse_outputs(text)
    except ValueError:  # of a version with other fields, or a key with braces of its own
        return False
    return output_key(output.pattern or DEFAULT_PATTERN, source_key) == key

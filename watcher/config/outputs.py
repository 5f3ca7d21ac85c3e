"""The outputs that the settings ask for: `[[output]]` tables, their short form on the command line, and presets.

An output is written as a table, `{"preset": "shopify", "format": "webp"}`, or as text, `shopify,format=webp`. Its
fields are `name`, `key` and `preset`, and those of `OutputSpec`, which override the preset's.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from inference.compose import PRESETS, OutputSpec
from inference.compose.values import Format
from watcher.config import validators
from watcher.core.jobs import DEFAULT_PATTERN, PLAIN, output_key

DEFAULT_KEY = "{output}/{dir}{stem}.{format}"
"""The pattern of an output that has none of its own; the plain one has `--output-name`."""
EXTENSIONS: Mapping[Format, tuple[str, ...]] = {
    Format.PNG: ("png",),
    Format.WEBP: ("webp",),
    Format.JPEG: ("jpg", "jpeg"),
    Format.TIFF: ("tif", "tiff"),
    Format.AVIF: ("avif",),
}
"""What a key may end in, by format; the first one stands for `{format}`."""
_OWN_FIELDS = ("name", "key", "preset")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_PROBES = [f"{folder}x.y{ext}" for folder in ("", "a/") for ext in (".jpg", ".png", ".webp", ".tif", ".avif")]


class OutputProblems(ValueError):
    """What is wrong with the outputs: for each problem which output, and a clause that says what would be right."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{where}: {what}" for where, what in problems))
        self.problems = tuple(problems)


class OutputSettings(BaseModel):
    """One output: how it is named, where it goes and what it looks like."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = PLAIN
    pattern: str = DEFAULT_PATTERN
    """Of its keys, with only those fields that `jobs.output_key` knows."""
    spec: OutputSpec = OutputSpec()


def parse_outputs(value: object) -> tuple[OutputSettings, ...]:
    """The outputs of the setting `output`: tables, texts, or one text with semicolons in between.

    Raises OutputProblems, which names the output and the field of every problem.
    """
    items = [value] if isinstance(value, str | Mapping) else value
    if isinstance(value, Mapping) or not isinstance(items, Iterable):
        raise OutputProblems([("", "must be a table with two brackets, [[output]], for each output")])
    texts = [part for item in items for part in (item.split(";") if isinstance(item, str) else [item])]
    outputs: list[OutputSettings] = []
    problems: list[tuple[str, str]] = []
    for number, item in enumerate((text for text in texts if text != ""), 1):
        try:
            outputs.append(item if isinstance(item, OutputSettings) else _output(item))
        except OutputProblems as error:
            problems += [(f"{number}{where}", what) for where, what in error.problems]
    if problems:
        raise OutputProblems(problems)
    return tuple(outputs)


def parse_presets(value: object) -> tuple[str, ...]:
    """The names of the setting `preset`: a list, or a text with commas in between. Raises OutputProblems."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise OutputProblems([("", f"must be names with commas in between, such as {', '.join((PLAIN, *PRESETS))}")])
    words = tuple(word for word in (name.strip() for name in names) if word)
    unknown = [problem for word in words for problem in _preset_problems(word)]
    if unknown:
        raise OutputProblems([("", problem) for problem in unknown])
    return words


def all_outputs(
    presets: Sequence[str], outputs: Sequence[OutputSettings], output_name: str
) -> tuple[OutputSettings, ...]:
    """The outputs to make; the plain one where none is asked for. `output_name` is the pattern of the plain one."""
    asked = [*(_output({"preset": name}) for name in presets), *outputs]
    return tuple(
        output if output.pattern else output.model_copy(update={"pattern": output_name})
        for output in asked or [OutputSettings(pattern="")]
    )


def conflicts(outputs: Sequence[OutputSettings]) -> Iterator[str]:
    """A sentence for each pair of outputs that have the same name, or that would overwrite each other."""
    for at, second in enumerate(outputs):
        for number, first in enumerate(outputs[:at], 1):
            both = f'output {number} ("{first.name}") and output {at + 1} ("{second.name}")'
            if first.name == second.name:
                yield f"{both} have one name: give one of them another `name`."
            elif _meet(first.pattern, second.pattern):
                yield f"{both} have one key, {second.pattern}: give one of them another `key`, such as {DEFAULT_KEY}."


def _meet(one: str, other: str) -> bool:
    return any(output_key(one, key) == output_key(other, key) for key in _PROBES)


def _output(item: object) -> OutputSettings:
    """One output of a table or a text. Raises OutputProblems with the rest of `output 2 ("shop")`."""
    fields = _fields_of_text(item) if isinstance(item, str) else item
    if not isinstance(fields, Mapping):
        raise OutputProblems([("", f"must be a table or a text such as shopify,format=webp, not {item!r}")])
    if "spec" in fields and "pattern" in fields:  # what a worker is sent has been read already
        return OutputSettings.model_validate(fields)
    return _output_of_table(fields)


def _fields_of_text(text: str) -> dict[str, Any]:
    """Read `shopify,format=webp,trim`: the first word may be a preset or a format; a word alone is a switch."""
    fields: dict[str, Any] = {}
    for number, word in enumerate(part.strip() for part in text.split(",")):
        field, equals, value = (part.strip() for part in word.partition("="))
        if equals:
            fields[field] = value
        elif number == 0 and word not in OutputSpec.model_fields:
            is_format = word.lower() in {name for names in EXTENSIONS.values() for name in names} | set(Format)
            fields["format" if is_format else "preset"] = word
        elif word:
            fields[word] = True
    return fields


def _output_of_table(fields: Mapping[str, Any]) -> OutputSettings:
    name = fields.get("name")
    shown = name if isinstance(name, str) else fields.get("preset")
    where = f' ("{shown}")' if isinstance(shown, str) else ""
    problems = list(_field_problems(fields))
    if problems:
        raise OutputProblems([(where, problem) for problem in problems])
    preset = str(fields.get("preset", PLAIN))
    look = {field: value for field, value in fields.items() if field not in _OWN_FIELDS}
    base = PRESETS[preset].spec.changes() if preset in PRESETS else {}
    try:
        spec = OutputSpec.model_validate(base | look)
    except ValidationError as error:
        raise OutputProblems([(where, _spec_problem(detail)) for detail in error.errors()]) from error
    name = str(name or (preset if "preset" in fields or spec.is_plain else spec.format.value))
    try:
        return OutputSettings(name=name, pattern=_pattern(fields.get("key"), name, spec), spec=spec)
    except ValueError as error:
        raise OutputProblems([(where, f"key: {error}")]) from error


def _field_problems(fields: Mapping[str, Any]) -> Iterator[str]:
    known = (*_OWN_FIELDS, *OutputSpec.model_fields)
    for field in fields:
        if field not in known:
            yield f"{field} is not a field of an output; {_hint(field, known)}"
    for field in _OWN_FIELDS:
        if field in fields and not isinstance(fields[field], str):
            yield f"{field}: must be a string, not {fields[field]!r}"
    name, preset = fields.get("name", PLAIN), fields.get("preset")
    if isinstance(name, str) and not _NAME.fullmatch(name):
        yield f"name: takes up to 40 small letters, digits, - and _, and begins with a letter or digit, not {name!r}"
    if isinstance(preset, str):
        yield from (f"preset: {problem}" for problem in _preset_problems(preset))


def _preset_problems(name: str) -> Iterator[str]:
    known = (PLAIN, *PRESETS)
    if name not in known:
        yield f"takes the name of a preset, not {name!r}; {_hint(name, known)}"


def _pattern(key: str | None, name: str, spec: OutputSpec) -> str:
    """The pattern of an output's keys, or "" for that of `--output-name`. Raises ValueError."""
    if key is None and spec.is_plain and name == PLAIN:
        return ""
    extensions = EXTENSIONS[spec.format]
    pattern = (DEFAULT_KEY if key is None else key).replace("{output}", name).replace("{format}", extensions[0])
    return validators.key_pattern(pattern, extensions, more=("output", "format"))


def _spec_problem(detail: ErrorDetails) -> str:
    field = ".".join(str(part) for part in detail["loc"])
    text = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else _wanted(detail)
    return f"{field}: {text}" if field else text


def _wanted(detail: ErrorDetails) -> str:
    return f"{detail['msg'].replace('Input should be', 'must be')}, not {detail['input']!r}"


def _hint(name: str, names: Sequence[str]) -> str:
    """The most similar of `names`, or all of them where none is similar."""
    nearest = difflib.get_close_matches(name.lower(), names, n=1)
    return f"the nearest one is {nearest[0]}" if nearest else f"there are {', '.join(names)}"

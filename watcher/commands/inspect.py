"""`alphadrop inspect`: print what outputs and error records say."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console

from inference.codec import PictureInfo, probe
from inference.compose import read_text
from inference.errors import PictureError
from watcher.commands.command import Command, ExitCode
from watcher.commands.terminal import make_table, printable
from watcher.config import validators
from watcher.config.flags import add_settings_arguments
from watcher.config.load import load_settings
from watcher.config.settings import Group, Settings
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import ImageRef
from watcher.stores.error_records import parse_error_record
from watcher.stores.output_metadata import KEYWORD, object_texts
from watcher.wiring import Wiring

_NUMBERS = ("matte_coverage", "confidence", "other_confidence")
_TITLES = {
    "source": "made of",
    "version": "version",
    "job": "job",
    "output": "output",
    "model": "model",
    "matte_coverage": "coverage",
    "confidence": "confidence",
    "doubts": "doubts",
    "other_confidence": "other model's confidence",
    "box": "object",
    "options": "options",
}
"""The order in which texts are printed, and what they are called there. Others follow under their own names."""


@dataclass(frozen=True)
class _File:
    """An output's file, and the metadata that its store has for it."""

    name: str
    data: bytes = field(repr=False)
    texts: Mapping[str, str]
    """The metadata of an object, under the names that files use."""

    @property
    def recorded(self) -> dict[str, str]:
        """What the output records about itself, by name."""
        if self.picture is None and (record := _error_record(self.data)):
            return record
        said = {word.removeprefix(KEYWORD): text for word, text in read_text(self.data).items() if KEYWORD in word}
        return {**self.texts, **said}

    @property
    def picture(self) -> PictureInfo | None:
        """Format and size in pixels; None if the file is no picture."""
        try:
            return probe(self.data)
        except PictureError:
            return None


def inspect(args: argparse.Namespace) -> ExitCode:
    """Print every file; the exit code is 3 if one of them records nothing."""
    settings = load_settings(args, need_source_and_sink=False)
    silent = 0
    for place in args.files:
        file = _open_object(settings, place) if validators.is_bucket(place) else _open_file(place)
        silent += not file.recorded
        if args.json:
            print(json.dumps(as_json(file)))
        else:
            _print(file)
    return ExitCode.REJECTED if silent else ExitCode.OK


def as_json(file: _File) -> dict[str, object]:
    """What is known of a file as JSON values, by name."""
    picture, recorded = file.picture, dict[str, object](file.recorded)
    for name in _NUMBERS:
        if name in recorded:
            recorded[name] = float(str(recorded[name]))
    if "box" in recorded:
        recorded["box"] = [int(side) for side in str(recorded["box"]).split(",")]
    if "options" in recorded:
        recorded["options"] = json.loads(str(recorded["options"]))
    looks = {"format": picture.format, "width": picture.width, "height": picture.height} if picture else {}
    return {"file": file.name, "bytes": len(file.data), **looks, **recorded}


def _print(file: _File) -> None:
    picture, recorded = file.picture, file.recorded
    looks = f"{picture.format}, {picture.width} x {picture.height} pixels, " if picture else ""
    table = make_table("file", printable(file.name))
    table.add_row("", f"{looks}{len(file.data):,} bytes")
    if not recorded:
        table.add_row("", "says nothing of a job: alphadrop did not write it, or its metadata was removed")
    for name in (*_TITLES, *(name for name in recorded if name not in _TITLES)):
        if name in recorded:
            table.add_row(_TITLES.get(name, name), printable(_readable(name, recorded[name])))
    Console().print(table)


def _error_record(data: bytes) -> dict[str, str]:
    """Why an image was rejected, if the file is an error record; otherwise nothing."""
    try:
        record = parse_error_record(data)
    except ValueError:
        return {}
    return {
        "source": record["key"],
        **{name: record[name] for name in ("version", "job", "reason", "detail", "when") if name in record},
    }


def _readable(name: str, text: str) -> str:
    if name == "box":
        left, top, right, bottom = (int(side) for side in text.split(","))
        return f"{right - left} x {bottom - top} pixels, {left} from the left and {top} from the top"
    if name == "doubts":
        return text.replace(",", ", ").replace("_", " ")
    if name == "options":
        return ", ".join(f"{option} {json.dumps(value)}" for option, value in json.loads(text).items())
    return text


def _open_file(place: str) -> _File:
    try:
        return _File(place, validators.folder_path(place).read_bytes(), {})
    except OSError as error:
        raise ConfigurationError(f"{place} cannot be read ({error.strerror}): name the file of an output.") from error


def _open_object(settings: Settings, place: str) -> _File:
    from watcher.stores.s3 import S3Store  # loads boto3, which a folder does without

    folder, _, key = place.rpartition("/")
    store = Wiring.of(settings.model_copy(update={"sink": folder})).open_sink(Counts())
    assert isinstance(store, S3Store)
    metadata = store.metadata(key)
    if metadata is None:
        raise ConfigurationError(f"{place} does not exist: name the object of an output.")
    return _File(place, store.read(ImageRef(key, "", 0)), object_texts(metadata))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="path of a file, or s3://BUCKET/KEY")
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each file")
    add_settings_arguments(parser, Group.S3)


COMMAND = Command(
    """\
Reads PNG, WebP, JPEG, TIFF and AVIF files that alphadrop wrote, the error records
below _failed/, and both as objects in a bucket.""",
    """\
examples:
  alphadrop inspect cutouts/shoe.png
  alphadrop inspect cutouts/*.png --json
  alphadrop inspect cutouts/_failed/shoe.jpg.json
  alphadrop inspect s3://shop/out/shoe.png

Exit code:
  0  every file says how it was made, or why there is no output
  2  wrong usage, or a file cannot be read
  3  a file says nothing
  4  a bucket cannot be reached""",
    _add_arguments,
    inspect,
    "FILE...",
)

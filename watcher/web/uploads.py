"""Takes uploads in: a body of bounded size, a picture by its contents, and a key that is safe in every store."""

from __future__ import annotations

import asyncio
import re
import secrets
import unicodedata
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from inference.codec.header import identify
from inference.errors import PictureError
from watcher.core.reasons import Reason
from watcher.sources.source_filter import EXTENSIONS, is_hidden
from watcher.web.errors import ApiError, bad_request, too_many

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FILE_FIELD = "image_file"
"""The field of a form that has the picture."""
MAX_FIELD = 8192
"""Bytes of any other field."""
MAX_FIELDS = 64
"""Parts of a form."""
CHUNK_TIMEOUT = 30.0
"""Seconds in which the next piece of a body must arrive."""
MEMORY = 256 * 2**20
"""Bytes of uploads that are in memory at a time."""
MAX_UPLOADS = 32
"""Uploads that are received at a time."""
MAX_PART = 180
"""Bytes of a file's or folder's name: an output's ending must still fit into 255."""
MAX_PATH = 700
"""Bytes of a path: a bucket's key has 1024, with prefix and batch."""
_BATCH = re.compile(r"[^\W_][\w .@+()-]{0,79}")
_FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp", "GIF": "gif", "AVIF": "avif"}


@dataclass(frozen=True)
class File:
    """A picture in a request."""

    data: bytes = field(default=b"", repr=False)
    """Its bytes; empty if there was none."""
    name: str = ""
    """The name that the client gave it."""


@dataclass(frozen=True)
class Form:
    """The pictures and the fields of a request."""

    files: dict[str, File] = field(default_factory=dict)
    """The pictures, by the name of their field."""
    fields: dict[str, str] = field(default_factory=dict)
    """Fields of the form, or parameters of the address."""

    @property
    def picture(self) -> File:
        """The one picture of an upload."""
        return self.files.get(FILE_FIELD, File())


class Receiver:
    """Receives bodies within limits of size, number and memory. For one event loop."""

    def __init__(self, max_bytes: int, memory: int = MEMORY, uploads: int = MAX_UPLOADS) -> None:
        self.max_bytes = max_bytes
        self._memory, self._uploads = max(memory, max_bytes), uploads

    async def receive(
        self, request: Request, names: tuple[str, ...] = (FILE_FIELD,), large_fields: frozenset[str] = frozenset()
    ) -> Form:
        """The form or the raw picture of a request.

        `names` are the fields that have pictures; a file of another name stands for the first, if that is the only one.
        `large_fields` may be as long as a picture, encoded in base64. Raises ApiError: 400 for a broken body, 408 for
        one that stops, 413 for one that is too long, 415 for another type, 429 beyond the limits.
        """
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        limit = len(names) * self.max_bytes + MAX_FIELD * MAX_FIELDS
        if large_fields:
            limit = limit * 4 // 3
        with self._reserved(_length(request, limit, self.max_bytes)):
            if kind == b"multipart/form-data":
                parts = _Parts(self.max_bytes, names, large_fields)
                return await _receive_form(request, options.get(b"boundary", b""), parts)
            if kind.startswith(b"image/") or kind == b"application/octet-stream":
                file = File(await _receive_raw(request, self.max_bytes))
                return Form({names[0]: file}, dict(request.query_params))
        raise ApiError(
            415,
            "unsupported_media_type",
            "Unsupported media type",
            f"send multipart/form-data with the field {FILE_FIELD}, or the picture itself as image/jpeg or the like",
        )

    async def receive_text(self, request: Request, pictures: int) -> bytes:
        """The body of a request that is text, large enough for this many pictures in base64. Raises ApiError."""
        limit = pictures * (self.max_bytes * 4 // 3) + MAX_FIELD * MAX_FIELDS
        with self._reserved(_length(request, limit, self.max_bytes)):
            return await _receive_raw(request, limit)

    def require_size(self, picture: bytes) -> None:
        """Raise ApiError, 413, for a picture that is too long."""
        if len(picture) > self.max_bytes:
            raise _too_large(self.max_bytes)

    @contextmanager
    def _reserved(self, size: int) -> Iterator[None]:
        if self._uploads < 1 or size > self._memory:
            raise too_many("too_many_uploads", "too many uploads are in progress; send this one again", 1)
        self._uploads -= 1
        self._memory -= size
        try:
            yield
        finally:
            self._uploads += 1
            self._memory += size


def sniff(data: bytes) -> str:
    """The format of a picture by its first bytes, such as JPEG. Raises ApiError: 415, or 400 for an empty file."""
    if not data:
        raise bad_request("no_image", f"the request has no picture: send it in the field {FILE_FIELD}")
    try:
        return identify(data[:4096])
    except PictureError as error:
        raise ApiError(415, Reason.NOT_A_PICTURE.value, "Not a picture", str(error)) from error


def upload_key(prefix: str, batch: str, path: str, format: str) -> str:
    """The key of an upload below the source: `<prefix><batch>/<path>`.

    A name without an extension of a picture gets the one of its format; without a path the name is random. Raises
    ApiError for a batch or path that is not safe.
    """
    batch = unicodedata.normalize("NFC", batch)
    if not _BATCH.fullmatch(batch) or batch != batch.strip(" .") or len(batch.encode()) > MAX_PART:
        raise bad_request("bad_batch", "a batch is a name of letters, digits, spaces, dots and dashes, at most 80")
    path = unicodedata.normalize("NFC", path) or f"picture-{secrets.token_hex(4)}"
    problem = path_problem(path)
    if problem:
        raise bad_request("bad_path", f"the path {problem}; send it as folder/name.jpg")
    stem, dot, extension = path.rpartition("/")[2].rpartition(".")
    known = stem and dot and extension.lower() in EXTENSIONS
    return f"{prefix}{batch}/{path}" + ("" if known else f".{_FORMATS.get(format, format.lower())}")


def path_problem(path: str) -> str:
    """Why a relative path is not safe as a key in every store and in a zip file; empty if it is."""
    parts = path.split("/")
    if "\\" in path or any(unicodedata.category(c) in _UNSAFE or c in _DIRECTIONS for c in path):
        return "has a backslash or control characters"
    if {"", ".", ".."} & set(parts):
        return "is not relative, or has empty parts or dots alone"
    if is_hidden(path):
        return "has a part that begins with a dot, which the daemon takes for a temporary file"
    if any(len(part.encode()) > MAX_PART or part != part.strip(" ") for part in parts):
        return f"has a part longer than {MAX_PART} bytes, or with spaces at its ends"
    return "is too long" if len(path.encode()) > MAX_PATH else ""


_UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories: control characters, surrogates, line and paragraph separators."""
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reverse the text after them, so that gpj.exe looks like exe.jpg."""


def numbered(key: str, number: int) -> str:
    """Another key for a file whose name is taken.

    >>> numbered("uploads/b/shoe.jpg", 2)
    'uploads/b/shoe-2.jpg'
    """
    stem, _, extension = key.rpartition(".")
    return f"{stem}-{number}.{extension}"


def _length(request: Request, limit: int, reserve: int) -> int:
    """The memory to reserve for a request: the length that it announces, or else the most that it may have."""
    text = request.headers.get("content-length", "")
    if not text:
        return reserve
    if not text.isdecimal() or int(text) > limit:
        raise _too_large(reserve)
    return int(text)


def _too_large(limit: int) -> ApiError:
    shown = f"{limit / 2**20:g}"
    detail = f"a picture may have {shown} MB; send a smaller one, or raise --upload-limit"
    return ApiError(413, Reason.TOO_LARGE.value, "Too large", detail, {"connection": "close"})


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """The pieces of a body. Raises ApiError when the next one does not arrive."""
    stream = request.stream().__aiter__()
    while True:
        try:
            async with asyncio.timeout(CHUNK_TIMEOUT):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            detail = f"the upload stopped for {CHUNK_TIMEOUT:g} seconds"
            raise ApiError(408, "timeout", "Request timeout", detail, {"connection": "close"}) from error
        except ClientDisconnect as error:
            raise bad_request("incomplete", "the connection was closed during the upload") from error
        if chunk is None:
            return
        yield chunk


async def _receive_raw(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in _chunks(request):
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


async def _receive_form(request: Request, boundary: bytes, parts: _Parts) -> Form:
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        async for chunk in _chunks(request):
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise bad_request("bad_form", f"the body is not valid multipart/form-data: {error}") from error
    if not parts.finished:
        raise bad_request("bad_form", "the form is incomplete: its last boundary is missing")
    return parts.form


class _Parts:
    """Collects the parts of a form: files, and small fields."""

    def __init__(self, limit: int, names: tuple[str, ...], large_fields: frozenset[str]) -> None:
        self._limit, self._names, self._large_fields = limit, names, large_fields
        self._header_name, self._header_value = bytearray(), bytearray()
        self._name, self._filename, self._body = "", "", bytearray()
        self._count = 0
        self._files: dict[str, File] = {}
        self._fields: dict[str, str] = {}
        self.finished = False
        """Whether the end of the form was seen."""

    @property
    def form(self) -> Form:
        """The files and fields that were collected."""
        return Form(self._files, self._fields)

    def callbacks(self) -> MultipartCallbacks:
        """The functions that the parser calls for each piece."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._extend(self._header_name, data[start:end]),
            "on_header_value": lambda data, start, end: self._extend(self._header_value, data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": self._add,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._count += 1
        if self._count > MAX_FIELDS:
            raise bad_request("bad_form", f"the form has more than {MAX_FIELDS} parts")
        self._name, self._filename, self._body = "", "", bytearray()

    def _extend(self, text: bytearray, data: bytes) -> None:
        text += data
        if len(text) > MAX_FIELD:
            raise bad_request("bad_form", "a header of the form is too long")

    def _end_header(self) -> None:
        name, value = bytes(self._header_name).lower(), bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()
        if name == b"content-disposition":
            _, options = parse_options_header(value)
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
            self._filename = options.get(b"filename", b"").decode("utf-8", "replace")

    @property
    def _is_file(self) -> bool:
        return self._name in self._names or bool(self._filename)

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._body += data[start:end]
        limit = self._limit if self._is_file else MAX_FIELD
        if self._name in self._large_fields:
            limit = self._limit * 4 // 3 + 4
        if len(self._body) > limit:
            if limit == MAX_FIELD:
                raise bad_request("bad_form", f"the field {self._name[:80]!r} is longer than {MAX_FIELD} bytes")
            raise _too_large(self._limit)

    def _end(self) -> None:
        if self._is_file:
            self._add_file(File(bytes(self._body), self._filename))
        else:
            self._fields[self._name] = self._body.decode("utf-8", "replace")
        self._body = bytearray()

    def _add_file(self, file: File) -> None:
        name = self._names[0] if len(self._names) == 1 else self._name
        if name not in self._names:
            raise bad_request("bad_form", f"the file in {name[:80]!r} is not expected: send {' or '.join(self._names)}")
        if name in self._files:
            raise bad_request("two_files", f"the form has two files in {name}: send one request for each")
        self._files[name] = file

    def _finish(self) -> None:
        self.finished = True

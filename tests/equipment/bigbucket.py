"""A bucket of a million pictures, none of which is stored: its keys are computed for each request.

Half of it are sources, `in/0012/photo 0012345.jpg`, the other half their outputs, `out/0012/photo 0012345.png`. The
server is a process of its own; it knows of S3 what a listing, a look and a read need, and takes small objects beside
them (error records, probes), which it never lists.
"""

from __future__ import annotations

import json
import multiprocessing
import threading
import urllib.request
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.equipment.daemon import colour, photo
from tests.equipment.refusals import Answer

BUCKET = "big"
PAGE = 1000
"""Keys of one page, which is S3's limit."""
PICTURE = photo(colour(0))
"""What every source holds."""
_LAST = "\U0010ffff"
_WRITTEN = {"earlier": 1, "in": 2, "out": 3}
_ENDING = {"in": ".jpg", "out": ".png"}
_COUNTS = "/-/counts"

Metadata = Callable[[str, str], Mapping[str, str]]
"""What an output says of its job, by the source's key below `in/` and its ETag: names without `x-amz-meta-`."""


def no_metadata(key: str, etag: str) -> Mapping[str, str]:
    """No metadata, as for an output that alphadrop did not write."""
    return {}


@dataclass(frozen=True)
class Contents:
    """What is in the bucket. It goes to another process: `metadata` is a module's function, or a `partial` of one."""

    count: int
    missing: Collection[int] = frozenset()
    """The pictures without an output."""
    outdated: Collection[int] = frozenset()
    """Those whose output is older than the picture, and made from another version of it."""
    metadata: Metadata = no_metadata

    def numbers(self, side: str, prefix: str, after: str) -> Iterator[int]:
        """The pictures with a key that begins with `prefix` and comes after `after`, in the order of their keys."""
        keys = _Keys(side, self.count)
        first = max(bisect_left(keys, prefix), bisect_left(keys, after + "\0"))
        for number in range(first, bisect_left(keys, prefix + _LAST)):
            if side == "in" or number not in self.missing:
                yield number

    def number(self, key: str) -> int | None:
        """Which picture a key belongs to; None where there is no such object."""
        side = key.partition("/")[0]
        digits = key.rpartition(" ")[2].partition(".")[0]
        if side not in _ENDING or not digits.isdecimal() or key != key_of(side, int(digits)):
            return None
        number = int(digits)
        return number if number < self.count and (side == "in" or number not in self.missing) else None

    def modified(self, side: str, number: int) -> int:
        """The day of January 2024 on which an object was written."""
        return _WRITTEN["earlier" if side == "out" and number in self.outdated else side]

    def headers(self, key: str, number: int) -> list[tuple[str, str]]:
        """The headers of an object, as HEAD answers them."""
        side = key.partition("/")[0]
        day = self.modified(side, number)
        weekday = ("Mon", "Tue", "Wed")[day - 1]
        said = [
            ("ETag", f'"{etag_of(side, number)}"'),
            ("Last-Modified", f"{weekday}, {day:02} Jan 2024 00:00:00 GMT"),
            ("Content-Type", "image/jpeg" if side == "in" else "image/png"),
        ]
        if side == "in":
            return said
        source_etag = etag_of("earlier" if number in self.outdated else "in", number)
        metadata = self.metadata(key_of("in", number).removeprefix("in/"), source_etag)
        return [*said, *((f"x-amz-meta-{name}", value) for name, value in metadata.items())]


class _Keys:
    """The sorted keys of one side, as a sequence for `bisect`."""

    def __init__(self, side: str, count: int) -> None:
        self._side = side
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> str:
        return key_of(self._side, number)


def key_of(side: str, number: int) -> str:
    """The key of a picture ("in") or of its output ("out")."""
    return f"{side}/{number // 1000:04}/photo {number:07}{_ENDING[side]}"


def etag_of(side: str, number: int) -> str:
    """The ETag of a picture, of its version before ("earlier"), or of its output, without quotes."""
    return f"{_WRITTEN[side]:04x}{number:028x}"


class BigBucket:
    """`with BigBucket(Contents(200_000, missing={5})) as bucket:`, an S3 endpoint at `bucket.url`."""

    bucket = BUCKET

    def __init__(self, contents: Contents) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(contents, theirs), daemon=True
        )
        self._process.start()
        theirs.close()
        self.port = int(self._ours.recv())

    def __enter__(self) -> BigBucket:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()  # tells it to end
        self._process.join()
        self._process.close()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def counts(self) -> Counter[str]:
        """How many requests there were: `list`, `head`, `get`, `put`, `delete`."""
        with urllib.request.urlopen(self.url + _COUNTS) as answer:
            return Counter(json.load(answer))


def _serve(contents: Contents, parent: Connection) -> None:
    server = _Server(contents)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    parent.send(server.server_address[1])
    parent.poll(None)  # until the parent closes its end, or has died


class _Server(ThreadingHTTPServer):
    """Answers the requests for the contents."""

    request_queue_size = 128

    def __init__(self, contents: Contents) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contents = contents
        self.counts: Counter[str] = Counter()
        self.others: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @contextmanager
    def counting(self, what: str) -> Iterator[None]:
        """Count a request of this kind; inside the block, only one thread changes `others`."""
        with self._lock:
            self.counts[what] += 1
            yield

    def page(self, query: Mapping[str, str]) -> bytes:
        """One page of ListObjectsV2."""
        prefix, after = query.get("prefix", ""), query.get("start-after", "")
        after = query.get("continuation-token", after)
        most = min(int(query.get("max-keys", PAGE)), PAGE)
        encoded = "encoding-type" in query
        rows = self._rows(prefix, after, most + 1, "%20" if encoded else " ")
        return _listing(quote(prefix) if encoded else escape(prefix), encoded, rows, most)

    def _rows(self, prefix: str, after: str, most: int, space: str) -> list[tuple[str, str]]:
        """Key and XML of the next objects; a space is all that needs to be encoded in keys."""
        rows: list[tuple[str, str]] = []
        for side in ("in", "out"):
            for number in self.contents.numbers(side, prefix, after):
                if len(rows) == most:
                    return rows
                rows.append(self._row(side, number, space))
        return rows

    def _row(self, side: str, number: int, space: str) -> tuple[str, str]:
        key, day = key_of(side, number), self.contents.modified(side, number)
        return key, (
            f"<Contents><Key>{key.replace(' ', space)}</Key><LastModified>2024-01-{day:02}T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{etag_of(side, number)}&quot;</ETag><Size>{len(PICTURE)}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )


def _listing(prefix: str, encoded: bool, rows: list[tuple[str, str]], most: int) -> bytes:
    shown, more = rows[:most], len(rows) > most
    token = f"<NextContinuationToken>{shown[-1][0]}</NextContinuationToken>" if more and shown else ""
    encoding = "<EncodingType>url</EncodingType>" if encoded else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><Prefix>{prefix}</Prefix><KeyCount>{len(shown)}</KeyCount>"
        f"<MaxKeys>{most}</MaxKeys>{encoding}<IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        f"{''.join(row for _, row in shown)}</ListBucketResult>"
    ).encode()


class _Handler(BaseHTTPRequestHandler):
    """One client's connection."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """A page of a listing, an object, or the counts."""
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        if url.path == _COUNTS:
            return self._send(Answer(200, [], json.dumps(self.server.counts).encode()))
        if "list-type" in query:
            with self.server.counting("list"):
                pass
            return self._send(Answer(200, [("Content-Type", "application/xml")], self.server.page(query)))
        return self._object()

    do_HEAD = do_GET  # noqa: N815

    def do_PUT(self) -> None:
        """Store a small object beside the pictures."""
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.counting("put"):
            if self.headers.get("If-None-Match") == "*" and self._found() is not None:
                return self._send(_refusal(412, "PreconditionFailed"))
            self.server.others[self._key] = data
            return self._send(Answer(200, [("ETag", '"0"')]))

    def do_DELETE(self) -> None:
        """Delete a small object."""
        with self.server.counting("delete"):
            self.server.others.pop(self._key, None)
            self._send(Answer(204, []))

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the counts are enough."""

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").removeprefix("/")

    def _object(self) -> None:
        with self.server.counting(self.command.lower()):
            found = self._found()
        if found is None:
            return self._send(_refusal(404, "NoSuchKey"))
        wanted = self.headers.get("If-Match")
        if wanted and ("ETag", f'"{wanted.strip(chr(34))}"') not in found.headers:
            return self._send(_refusal(412, "PreconditionFailed"))
        return self._send(found)

    def _found(self) -> Answer | None:
        """The object at the key; the bucket itself counts, too."""
        key = self._key
        number = self.server.contents.number(key)
        if number is not None:
            return Answer(200, self.server.contents.headers(key, number), PICTURE)
        if not key or key in self.server.others:
            return Answer(200, [("ETag", '"0"')], self.server.others.get(key, b""))
        return None

    def _send(self, answer: Answer) -> None:
        self.wfile.write(answer.head() + (b"" if self.command == "HEAD" else answer.body))


def _refusal(status: int, code: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    return Answer(status, [("Content-Type", "application/xml")], body)

"""Fetches known models: once, resumed after an interruption, checked, and put in place in one step. No torch.

A download is written to NAME.onnx.partial beside its final path. The process that holds a lock on that file fetches;
any other waits for it. The file is renamed only when its digests are right, so a file that is in place is whole. A
process that is killed leaves the partial file, and the kernel releases its lock: the next one resumes.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from inference.errors import ModelError
from inference.models.thirdparty.known import RELEASE, Digests, KnownModel, digests_of

TIMEOUT = 30.0
"""Seconds that a server may be silent."""
ATTEMPTS = 5
"""How often in a row a request may fail before the download is given up. Any progress starts the count again."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before the second attempt, doubled before each further one; and the most that a server's Retry-After gets."""
PIECE = 1 << 18
"""Bytes that are read at a time."""
TRANSIENT = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
"""Statuses below 500 after which the same request may work."""
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class DownloadFailed(ModelError):
    """The network or the server did not deliver the file; a later attempt may work."""


@dataclass(frozen=True)
class DownloadOptions:
    """How models are fetched."""

    source: str = ""
    """Base address of a mirror with the same files; empty for rembg's release. May contain a user and a password."""
    offline: bool = False
    """Whether nothing may be fetched."""
    accept_licence: bool = False
    """Whether models whose licence forbids commercial use may be fetched."""


class Reporter(Protocol):
    """Receives the progress of a download."""

    def progress(self, done: int, total: int) -> None:
        """Bytes that are there, of how many."""
        ...

    def note(self, text: str) -> None:
        """Something that a person may want to know, as a clause."""
        ...


class Silent:
    """Reports nothing."""

    def progress(self, done: int, total: int) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""


class _Interrupted(Exception):
    """The connection ended early, or the server has a transient error."""

    def __init__(self, why: str, pause: float | None = None) -> None:
        super().__init__(why)
        self.pause = pause
        """Seconds that the server asks to wait."""


def fetch(
    model: KnownModel,
    folder: Path,
    options: DownloadOptions,
    report: Reporter | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Path:
    """Return the path of the model's file in `folder`, fetched if it is not there.

    A file that is there already must have the right digests. Raises DownloadFailed where network or server are at
    fault, and ModelError for anything that another attempt does not change; the message says what to do.
    """
    path = model.path_in(folder)
    if path.is_file():
        return _checked(model, path)
    _require_permission(model, path, options)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked_partial(path, report or Silent()) as file:
            if path.is_file():  # another process has fetched it while this one waited
                _remove(_partial(path), _validator(path))
                return _checked(model, path)
            _Download(model, path, file, options, report or Silent(), pause).run()
    except OSError as error:
        raise _unwritable(model, path, error) from error
    return path


def by_hand(model: KnownModel, path: Path) -> str:
    """Say how to bring the file without a network."""
    return (
        f"To bring it by hand, fetch {RELEASE}/{model.asset} on another machine and copy it to {path} (SHA-256 "
        f"{model.sha256}), or set U2NET_HOME to a folder that has it."
    )


def _checked(model: KnownModel, path: Path) -> Path:
    found = digests_of(path)
    if not found.match(model):
        raise ModelError(
            f"{path} is not the file that is known as {model.name}: its SHA-256 is {found.sha256}, not {model.sha256}. "
            f"Move it away and pull again; or, if it is a model of your own, give --model its path."
        )
    return path


def _require_permission(model: KnownModel, path: Path, options: DownloadOptions) -> None:
    licence = model.licence
    if not licence.commercial and not options.accept_licence:
        raise ModelError(
            f"The licence of {model.name}, {licence.name}, forbids commercial use: read {licence.url}, and give "
            "--accept-licence if your use is allowed."
        )
    if options.offline:
        raise ModelError(f"{path} does not exist, and --offline forbids fetching it. {by_hand(model, path)}")


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _validator(path: Path) -> Path:
    """The file that remembers which version of the server's file the partial file is a part of."""
    return path.with_name(path.name + ".validator")


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


@contextmanager
def _locked_partial(path: Path, report: Reporter) -> Iterator[IO[bytes]]:
    """Open the partial file when no other process works on it. The lock ends with this process, however it ends."""
    partial = _partial(path)
    while True:
        with partial.open("a+b") as file:
            _lock(file, path, report)
            if _is_at(file, partial):
                yield file
                return


def _lock(file: IO[bytes], path: Path, report: Reporter) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report.note(f"another process is fetching {path.name}; waiting for it")
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        # A file system without locks. Two processes might then write at once; the digests would show it.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether the open file still has this path: the process that held the lock may have renamed or removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _unwritable(model: KnownModel, path: Path, error: OSError) -> ModelError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ModelError(
            f"The disk is full: {model.name} needs {model.megabytes} in {path.parent}. Make room there, or set "
            "U2NET_HOME to a folder on another disk. What was fetched is kept, and the next attempt resumes."
        )
    return ModelError(
        f"{path} cannot be written ({error.strerror or error}): give this user write permission on {path.parent}, or "
        "set U2NET_HOME to another folder."
    )


@dataclass(frozen=True)
class _Address:
    """Where to fetch from, and how to authenticate there."""

    url: str
    """Without user and password, so that messages may contain it."""
    authorization: str

    @classmethod
    def of(cls, base: str, asset: str) -> _Address:
        """The address of a file below a base address, which may contain a user and a password."""
        parts = urlsplit(base)
        user, at, host = parts.netloc.rpartition("@")
        token = base64.b64encode(unquote(user).encode()).decode() if at else ""
        clean = urlunsplit((parts.scheme, host, f"{parts.path.rstrip('/')}/{asset}", parts.query, ""))
        return cls(clean, f"Basic {token}" if token else "")


class _Download:
    """One download, by the process that holds the lock on the partial file."""

    def __init__(
        self,
        model: KnownModel,
        path: Path,
        file: IO[bytes],
        options: DownloadOptions,
        report: Reporter,
        pause: Callable[[float], None],
    ) -> None:
        self._model, self._path, self._file = model, path, file
        self._report, self._pause = report, pause
        base = options.source or RELEASE
        # Mirrors may have the file under the name that rembg publishes or under the one that it is kept under.
        names = dict.fromkeys((model.asset, f"{model.name}.onnx"))
        self._addresses = [_Address.of(base, name) for name in (names if options.source else [model.asset])]

    def run(self) -> None:
        """Fetch, check and put in place. Raises ModelError, DownloadFailed or OSError."""
        self._require_space()
        resumed = self._size() > 0
        self._fetch_all()
        if not (found := self._digests()).match(self._model) and resumed:
            self._report.note("the resumed file has a wrong digest; fetching it again from the start")
            self._start_over()
            self._fetch_all()
            found = self._digests()
        if not found.match(self._model):
            self._start_over()
            _remove(_partial(self._path))
            raise ModelError(
                f"What {self._addresses[0].url} delivered is not {self._model.name}: its SHA-256 is {found.sha256}, "
                f"not {self._model.sha256}. Nothing was put in place. A proxy or mirror may have altered the file: "
                f"check --model-source. {by_hand(self._model, self._path)}"
            )
        self._put_in_place()

    def _require_space(self) -> None:
        space = os.statvfs(self._path.parent)
        if space.f_bavail * space.f_frsize < self._model.bytes - self._size():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def _start_over(self) -> None:
        self._file.truncate(0)
        _remove(_validator(self._path))

    def _digests(self) -> Digests:
        self._file.flush()
        return digests_of(_partial(self._path))

    def _put_in_place(self) -> None:
        os.fsync(self._file.fileno())
        _partial(self._path).rename(self._path)
        _remove(_validator(self._path))
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _fetch_all(self) -> None:
        """Request until the partial file has its full size, as long as there is progress."""
        failures, wait = 0, FIRST_PAUSE
        if self._size() > self._model.bytes:
            self._start_over()
        while self._size() < self._model.bytes:
            before = self._size()
            try:
                self._request()
            except _Interrupted as error:
                failures, wait = (0, FIRST_PAUSE) if self._size() > before else (failures, wait)
                failures += 1
                if failures >= ATTEMPTS:
                    raise self._failed(str(error)) from error
                seconds = wait if error.pause is None else error.pause
                self._report.note(f"{error}; trying again in {seconds:g} s")
                self._pause(seconds)
                wait = min(LONGEST_PAUSE, wait * 2)

    def _request(self) -> None:
        """Request what is missing, and append it. Raises _Interrupted, ModelError or DownloadFailed."""
        try:
            with self._open() as response:
                self._require_size(response)
                self._remember_validator(response)
                self._append(response)
        except (OSError, http.client.HTTPException) as error:
            raise _network_error(error) from error

    @contextmanager
    def _open(self) -> Iterator[http.client.HTTPResponse]:
        """The server's answer to a request for the rest of the file, with a status that has content."""
        last = self._addresses[-1]
        for address in list(self._addresses):
            try:
                with urllib.request.urlopen(self._make_request(address), timeout=TIMEOUT) as response:
                    self._addresses = [address]
                    yield response
                    return
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == HTTPStatus.NOT_FOUND and address is not last:
                        continue
                    self._reject(error, address)

    def _make_request(self, address: _Address) -> urllib.request.Request:
        headers = {"User-Agent": "alphadrop", "Accept-Encoding": "identity"}
        if size := self._size():
            headers["Range"] = f"bytes={size}-"
            with contextlib.suppress(FileNotFoundError):
                headers["If-Range"] = _validator(self._path).read_text("ascii")
        request = urllib.request.Request(address.url, headers=headers)
        if address.authorization:  # not for the server that a redirection leads to
            request.add_unredirected_header("Authorization", address.authorization)
        return request

    def _reject(self, error: urllib.error.HTTPError, address: _Address) -> None:
        """Raise what an error status means."""
        said = f"{address.url} answers {error.code} {error.reason}"
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self._start_over()
            raise _Interrupted(said, pause=0.0)
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code in TRANSIENT:
            asked = error.headers.get("Retry-After", "")
            raise _Interrupted(said, pause=min(LONGEST_PAUSE, float(asked)) if asked.isdecimal() else None)
        raise self._failed(said)

    def _require_size(self, response: http.client.HTTPResponse) -> None:
        """Prepare the partial file for the content, which must be the rest of the model's file, or all of it."""
        length, expected = response.headers.get("Content-Length"), self._model.bytes
        total = int(length) if length and length.isdecimal() else expected
        if response.status == HTTPStatus.PARTIAL_CONTENT:
            match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != self._size():
                self._start_over()
                raise _Interrupted(f"{response.url} sent another part of the file than was asked for", pause=0.0)
            total = expected if match[2] == "*" else int(match[2])
        else:
            self._start_over()  # the server ignores ranges, or has another version of the file by now
        if total != expected:
            raise self._failed(f"{response.url} is {total:,} bytes long, not {expected:,}: it is another file")

    def _remember_validator(self, response: http.client.HTTPResponse) -> None:
        tag = response.headers.get("ETag", "")
        strong = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")
        with self._writing():
            if strong and strong.isascii():
                _validator(self._path).write_text(strong, "ascii")
            else:
                _remove(_validator(self._path))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Convert errors of the disk, which must not be taken for errors of the network."""
        try:
            yield
        except OSError as error:
            raise _unwritable(self._model, self._path, error) from error

    def _append(self, response: http.client.HTTPResponse) -> None:
        done, total = self._size(), self._model.bytes
        while piece := response.read1(PIECE):
            if done + len(piece) > total:
                self._start_over()
                raise self._failed(f"{response.url} sends more than the {total:,} bytes of {self._model.name}")
            with self._writing():
                self._file.write(piece)
                self._file.flush()
            done += len(piece)
            self._report.progress(done, total)
        if done < total:
            raise _Interrupted(f"the connection ended after {done:,} of {total:,} bytes")

    def _failed(self, why: str) -> DownloadFailed:
        return DownloadFailed(
            f"{self._model.name} ({self._model.megabytes}) could not be fetched: {why}. What was fetched is kept, and "
            f"the next attempt resumes. --model-source names a mirror; HTTPS_PROXY names a proxy. "
            f"{by_hand(self._model, self._path)}"
        )


def _network_error(error: Exception) -> _Interrupted | DownloadFailed:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadFailed(
            f"The server's certificate is not trusted ({reason.verify_message}): if a proxy has its own authority, "
            "name its certificate in SSL_CERT_FILE."
        )
    return _Interrupted(f"{type(reason).__name__}: {reason}" if str(reason) else type(reason).__name__)

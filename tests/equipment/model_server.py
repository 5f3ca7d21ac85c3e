"""An HTTP server for models whose answers a test can script: cut short, failing, with or without ranges."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from inference.models.thirdparty.known import U2NET, KnownModel

ETAG = '"first"'


@dataclass
class ModelServer:
    """The files of a server by path, the requests that it has had, and how it answers the next ones."""

    files: dict[str, bytes]
    address: str = ""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and headers."""
    script: deque[Callable[[Answer], None]] = field(default_factory=deque)
    """Answers to the next requests; after them, `serve`."""

    def ranges(self) -> list[str]:
        """The Range header of each request."""
        return [headers.get("Range", "") for _, headers in self.requests]


class Answer(BaseHTTPRequestHandler):
    """One request and its answer."""

    model_server: ModelServer

    def do_GET(self) -> None:
        """Answer as scripted."""
        server = self.model_server
        server.requests.append((self.path, dict(self.headers)))
        (server.script.popleft() if server.script else serve)(self)

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def head(self, status: int, **headers: object) -> None:
        """Send the status and the headers; an underscore in a name is a hyphen."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


def serve(answer: Answer, tag: str = ETAG, cut: int | None = None, hold: Callable[[], None] = lambda: None) -> None:
    """Send the file or the part that was asked for; with `cut`, end the connection after so many bytes.

    `hold` is called before the bytes after `cut`, or before the last byte.
    """
    content = answer.model_server.files.get(answer.path)
    if content is None:
        answer.head(404, Content_Length=0)
        return
    asked, start = answer.headers.get("Range"), 0
    if asked and answer.headers.get("If-Range", tag) == tag:
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        where = f"bytes {start}-{len(content) - 1}/{len(content)}"
        answer.head(206, Content_Length=len(content) - start, Content_Range=where, ETag=tag)
    else:
        answer.head(200, Content_Length=len(content), ETag=tag)
    end = len(content) - 1 if cut is None else start + cut
    answer.wfile.write(content[start:end])
    answer.wfile.flush()
    hold()
    if cut is None:
        answer.wfile.write(content[end:])


def cut_after(count: int, tag: str = ETAG) -> Callable[[Answer], None]:
    """An answer that ends early."""
    return lambda answer: serve(answer, tag, cut=count)


def status(code: int, **headers: object) -> Callable[[Answer], None]:
    """An answer without content."""
    return lambda answer: answer.head(code, Content_Length=0, **headers)


def whole(answer: Answer) -> None:
    """An answer of a server that knows no ranges and no versions."""
    content = answer.model_server.files[answer.path]
    answer.head(200, Content_Length=len(content))
    answer.wfile.write(content)


@contextmanager
def model_server(files: Mapping[str, bytes]) -> Iterator[ModelServer]:
    """A server on this machine with these files, by name."""
    state = ModelServer({f"/{name}": content for name, content in files.items()})
    handler = type("Handler", (Answer,), {"model_server": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.address = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def model_of(content: bytes, name: str = "tiny") -> KnownModel:
    """A known model whose file has this content."""
    sha256, md5 = hashlib.sha256(content), hashlib.md5(content, usedforsecurity=False)
    asset, size = f"{name}-epoch_1.onnx", len(content)
    return KnownModel(name, asset, size, sha256.hexdigest(), md5.hexdigest(), "u2net", U2NET, "tests")

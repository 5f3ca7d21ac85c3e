"""A child process that answers one request at a time, for what must not run in the supervisor: decoders and torch.

A message is two lengths of four bytes, a header of JSON, and bytes. A child that is late is killed, one that nobody has
asked for a while ends by itself, and the next request starts another.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from watcher.core.python import python

IDLE_SECONDS = 60.0
"""Seconds without a request after which a child ends."""
_LENGTHS = struct.Struct(">II")

Answer = tuple[dict[str, Any], bytes]


class ChildFailed(Exception):
    """The child died or was too slow; the message says which."""


class Child:
    """Runs `python -m MODULE` when it is needed. Thread-safe: requests wait for each other."""

    def __init__(self, module: str, timeout: float) -> None:
        """`timeout` is how many seconds one answer may take."""
        self._module, self._timeout = module, timeout
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def ask(self, header: Mapping[str, Any], body: bytes = b"") -> Answer:
        """The child's answer. Raises ChildFailed."""
        with self._lock:
            for is_last in (False, True):
                process = self._running()
                try:
                    return self._exchange(process, header, body)
                except EOFError as error:
                    self._end()
                    if is_last or error.args:  # one that was idle may have ended while it was asked
                        raise ChildFailed("the process died") from error
                except OSError as error:
                    self._end()
                    if is_last:
                        raise ChildFailed("the process died") from error
                except BaseException:
                    self._end()
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the child; a request in progress fails, and so does every later one."""
        self._closed = True
        process = self._process
        if process:
            process.kill()
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise ChildFailed("the daemon is stopping")
        if self._process is None or self._process.poll() is not None:
            self._end()
            command = python("-m", self._module)
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        return self._process

    def _exchange(self, process: subprocess.Popen[bytes], header: Mapping[str, Any], body: bytes) -> Answer:
        assert process.stdin and process.stdout
        # Killing the child ends a read and a write that would wait for ever.
        until = time.monotonic() + self._timeout
        timer = threading.Timer(self._timeout, process.kill)
        timer.start()
        try:
            write_message(process.stdin, header, body)
            return _read(process.stdout)
        finally:
            timer.cancel()
            if time.monotonic() >= until:
                self._end()
                raise ChildFailed(f"no answer within {self._timeout:g} seconds")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        process.kill()
        process.wait()


def serve(handle: Callable[[dict[str, Any], bytes], Answer], idle: float = IDLE_SECONDS) -> None:
    """The child's side: answer requests until there is none for `idle` seconds, or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the parent too, which then closes the pipe
    requests, answers = os.fdopen(0, "rb", buffering=0, closefd=False), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print must not get among the answers
    with requests, answers:
        while select.select([requests], [], [], idle)[0]:
            try:
                header, body = _read(requests)
            except EOFError:
                return
            write_message(answers, *handle(header, body))


def write_message(stream: Any, header: Mapping[str, Any], body: bytes) -> None:
    """Write one message. Raises OSError."""
    text = json.dumps(header).encode()
    for part in (_LENGTHS.pack(len(text), len(body)) + text, body):
        rest = memoryview(part)
        while rest:
            rest = rest[stream.write(rest) :]


def _read(stream: Any) -> Answer:
    """Read one message. Raises EOFError: with an argument if it broke off."""
    header, body = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    return json.loads(_exactly(stream, header)), _exactly(stream, body)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = stream.read(min(size - len(data), 1 << 20))
        if not chunk:
            raise EOFError(*(["broke off"] if data else []))
        data += chunk
    return bytes(data)

"""Folders and buckets as producer, reader and judge see them: without any code of alphadrop."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import ClientError

PIECES = 3
"""Parts of a file that is copied slowly."""


class Place(Protocol):
    """Files by key."""

    @property
    def address(self) -> str:
        """As the command takes it."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Make it appear at once."""
        ...

    def copy_slowly(self, key: str, data: bytes, pause: Callable[[], None]) -> float:
        """Make it appear in pieces, where that is possible; the longest time between two of them in seconds."""
        ...

    def delete(self, key: str) -> None:
        """Delete the file."""
        ...

    def identities(self) -> dict[str, Hashable]:
        """A value for each file that is not hidden, by key; it changes when the file does."""
        ...

    def read(self, key: str) -> bytes | None:
        """The file's bytes; None if it is not there."""
        ...


@dataclass(frozen=True)
class Folder:
    """Files below a folder."""

    root: Path

    @property
    def address(self) -> str:
        """See `Place`."""
        return str(self.root)

    def put(self, key: str, data: bytes) -> None:
        """See `Place`."""
        path = self._path(key)
        temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
        temporary.write_bytes(data)
        temporary.replace(path)

    def copy_slowly(self, key: str, data: bytes, pause: Callable[[], None]) -> float:
        """See `Place`."""
        longest, size = 0.0, len(data) // PIECES + 1
        with self._path(key).open("wb", buffering=0) as file:
            last = time.monotonic()
            for start in range(0, len(data), size):
                if start:
                    pause()
                file.write(data[start : start + size])
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
        return longest

    def delete(self, key: str) -> None:
        """See `Place`."""
        self._path(key).unlink()

    def identities(self) -> dict[str, Hashable]:
        """See `Place`."""
        found: dict[str, Hashable] = {}
        for at, _, names in os.walk(self.root):
            for name in names:
                if not name.startswith("."):
                    path = os.path.join(at, name)
                    with contextlib.suppress(OSError):
                        status = os.stat(path)
                        found[os.path.relpath(path, self.root)] = (status.st_ino, status.st_mtime_ns, status.st_size)
        return found

    def read(self, key: str) -> bytes | None:
        """See `Place`."""
        try:
            return (self.root / key).read_bytes()
        except OSError:
            return None

    def hidden(self) -> list[str]:
        """The files that are hidden, which only a writer may leave, and only while it writes."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob(".*") if path.is_file())

    def _path(self, key: str) -> Path:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class Bucket:
    """Objects below a prefix. Clients are not faulty ones."""

    client: Any
    bucket: str
    prefix: str

    @property
    def address(self) -> str:
        """See `Place`."""
        return f"s3://{self.bucket}/{self.prefix.rstrip('/')}"

    def put(self, key: str, data: bytes) -> None:
        """See `Place`."""
        self.client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data)

    def copy_slowly(self, key: str, data: bytes, pause: Callable[[], None]) -> float:
        """See `Place`: an object appears whole."""
        self.put(key, data)
        return 0.0

    def delete(self, key: str) -> None:
        """See `Place`."""
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def identities(self) -> dict[str, Hashable]:
        """See `Place`."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        return {
            entry["Key"].removeprefix(self.prefix): (entry["ETag"], str(entry["LastModified"]))
            for page in pages
            for entry in page.get("Contents", ())
        }

    def read(self, key: str) -> bytes | None:
        """See `Place`."""
        try:
            body: bytes = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read()
        except ClientError:
            return None
        return body

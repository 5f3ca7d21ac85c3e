"""A server, and a client that has no proxy before it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.equipment.moto import moto_server
from tests.unit.equipment.clients import connect


@pytest.fixture(scope="session")
def moto() -> int:
    """The port of moto's server."""
    return moto_server().port


@pytest.fixture(scope="session")
def behind(moto: int) -> Iterator[Any]:
    """A client that has no proxy before it."""
    with closing(connect(moto)) as client:
        yield client


@pytest.fixture
def bucket(behind: Any) -> str:
    """An empty bucket."""
    name = f"b-{uuid.uuid4().hex[:12]}"
    behind.create_bucket(Bucket=name)
    return name

"""Clients of S3 and SQS that try as often as a test wants."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

from tests.equipment.moto import REGION


@cache
def session() -> Any:
    """One for all clients, each of which would take a tenth of a second otherwise."""
    return boto3.session.Session("test", "test", region_name=REGION)


def connect(port: int, attempts: int = 5, service: str = "s3") -> Any:
    """A client of what listens there."""
    config = Config(retries={"mode": "standard", "total_max_attempts": attempts}, read_timeout=30)
    return session().client(service, endpoint_url=f"http://127.0.0.1:{port}", config=config)


def keys(client: Any, bucket: str, **query: Any) -> list[str]:
    """All keys that are listed, in their order."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, **query)
    return [found["Key"] for page in pages for found in page.get("Contents", [])]

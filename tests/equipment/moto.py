"""A real HTTP server that speaks S3 and SQS: moto in a process of its own, on a free port, gone when the tests are."""

from __future__ import annotations

import atexit
import http.client
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
import pytest

from tests.equipment.rabbit import free_port
from tests.equipment.support import wait_until
from watcher.aws.clients import AwsOptions, make_client
from watcher.core.counts import Counts
from watcher.stores.s3 import S3Store
from watcher.stores.s3_config import ConditionalWrites, PutOptions, S3Config

REGION = "us-east-1"
STARTED = 300.0
"""Seconds after which the server is taken for stuck: far more than the slowest machine needs."""

PORTS = 5
"""So many are tried: another process may take one before the server does."""


@dataclass(frozen=True)
class Moto:
    """The server; its buckets and queues live until the end of the session."""

    port: int

    @property
    def endpoint(self) -> str:
        """The address of every service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """An environment in which boto3 finds this server and nothing else."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.endpoint}

    def client(self, service: str = "s3") -> Any:
        """A boto3 client for the test itself."""
        return _client(self.endpoint, service)

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def store(
        self, uri: str, put: PutOptions | None = None, conditional_writes: ConditionalWrites | None = None
    ) -> S3Store:
        """A store on this server. All share one client, which takes longer to make than a test."""
        return S3Store(uri, _our_client(self.endpoint), put, conditional_writes)

    def config(self, put: PutOptions | None = None, conditional_writes: ConditionalWrites | None = None) -> S3Config:
        """The config of a store on this server; by default it enforces the conditional writes of Amazon S3."""
        return S3Config(AwsOptions(self.endpoint), put or PutOptions(), conditional_writes or ConditionalWrites())


CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def use_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let boto3 find the credentials of the tests, and no others."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@cache
def _client(endpoint: str, service: str) -> Any:
    return boto3.session.Session().client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


@cache
def _our_client(endpoint: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        use_credentials(patch)
        return make_client("s3", AwsOptions(endpoint), Counts())


@cache
def moto_server(name: str = "") -> Moto:
    """The one server of this session, or another one of that name; started when it is first asked for."""
    started = (_started(Moto(free_port())) for _ in range(PORTS))
    moto = next(filter(None, started), None)
    if moto is None:
        raise AssertionError(f"moto's server has ended at once on each of {PORTS} ports")
    return moto


def _started(moto: Moto) -> Moto | None:
    """Start the server; None if it ended at once because another process took the port."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "moto.server", "-p", str(moto.port)],
        env={**os.environ, **CREDENTIALS},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(_end, process)
    wait_until(lambda: process.poll() is not None or _answers(moto), STARTED, "moto's server did not start")
    return moto if process.poll() is None else None


def _answers(moto: Moto) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", moto.port, timeout=STARTED)
    try:
        connection.request("GET", "/moto-api/data.json")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()

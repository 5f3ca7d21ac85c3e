"""Clients for S3, SQS and SNS. boto3 is imported when the first client is made: folders do not need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError

DEFAULT_REGION = "us-east-1"
"""The region that other services than Amazon's expect in a signature, unless they are configured otherwise."""
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
_OPS = {
    "GetObject": "get",
    "HeadObject": "head",
    "HeadBucket": "head",
    "PutObject": "put",
    "ListObjectsV2": "list",
    "DeleteObject": "delete",
    "CopyObject": "copy",
    "GetObjectTagging": "tag",
    "PutObjectTagging": "tag",
    "ReceiveMessage": "receive",
    "SendMessage": "send",
    "SendMessageBatch": "send",
    "PublishBatch": "send",
    "DeleteMessage": "delete",
    "DeleteMessageBatch": "delete",
    "ChangeMessageVisibility": "extend",
    "ChangeMessageVisibilityBatch": "extend",
}


@dataclass(frozen=True)
class AwsOptions:
    """How to reach a service. Empty values are left to boto3: its environment variables, files and roles."""

    endpoint: str = ""
    """Address of a service other than Amazon's."""
    region: str = ""
    profile: str = ""
    path_style: bool | None = None
    """Whether URLs have the bucket in the path instead of the host name; None: only if there is an endpoint."""
    connections: int = 16
    """Connections kept open: as many as threads use the client."""
    connect_timeout: float = 5
    """Seconds."""
    read_timeout: float = 30
    """Seconds without a byte."""
    attempts: int = 5
    """Attempts for one request, including the first."""


def make_client(service: str, options: AwsOptions, counts: Counts) -> Any:
    """Make a client for `s3`, `sqs` or `sns` that is safe to use from any thread. Raises ConfigurationError.

    Each has a session of its own, because sessions are not thread-safe. Answers that ask for fewer requests are counted
    as `throttled_requests`, even if a later attempt succeeds.
    """
    try:
        with translate_errors(service):
            client = _client(service, options)
            if not options.endpoint and not is_amazon(client):  # the endpoint is set in boto3's own files or variables
                client = _client(service, replace(options, endpoint=client.meta.endpoint_url))
    except ValueError as error:
        raise ConfigurationError(f"{service}: the endpoint must be an http:// or https:// address") from error
    client.meta.events.register(f"needs-retry.{service}", _throttle_counter(counts))
    return client


def _client(service: str, options: AwsOptions) -> Any:
    import boto3

    session = boto3.session.Session(profile_name=options.profile or None, region_name=options.region or None)
    return session.client(
        service,
        region_name=session.region_name or (DEFAULT_REGION if options.endpoint else None),
        endpoint_url=options.endpoint or None,
        config=_config(options),
    )


def _config(options: AwsOptions) -> Any:
    from botocore.config import Config

    # Not adaptive: when 5 % of the answers were SlowDown at random, 16 threads made 8 requests a second with it, and
    # 200 to 290 with standard. The caller waits when it gets Throttled.
    retries = {"mode": "standard", "total_max_attempts": options.attempts}
    # R2, Ceph and others refuse or ignore the checksums that boto3 adds since 1.36:
    # https://github.com/boto/boto3/issues/4392
    checksums = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    return Config(
        s3={"addressing_style": _addressing(options)},
        retries=retries,
        max_pool_connections=options.connections,
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
        tcp_keepalive=True,
        **(checksums if options.endpoint else {}),
    )


def _addressing(options: AwsOptions) -> str:
    if options.path_style is None:
        return "path" if options.endpoint else "auto"
    return "path" if options.path_style else "virtual"


def is_amazon(client: Any) -> bool:
    """Whether a client talks to Amazon's own service."""
    return (urlsplit(client.meta.endpoint_url).hostname or "").endswith(_AMAZON)


def _throttle_counter(counts: Counts) -> Callable[..., None]:
    from watcher.aws.errors import is_throttle

    def count(response: Any = None, operation: Any = None, **_: object) -> None:
        if response is not None and is_throttle(response[1]):
            counts.add("throttled_requests", _OPS.get(operation.name, "other"))

    return count


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Translate what boto3 raises in the block into our errors; messages start with `what`, an action and an address.

    Raises Throttled, Denied, SourceMissing, Unavailable or ConfigurationError; see `errors.translate`.
    """
    try:
        yield
    except Exception as error:
        from watcher.aws.errors import translate

        ours = translate(error, what)
        if ours is None:
            raise
        raise ours from error

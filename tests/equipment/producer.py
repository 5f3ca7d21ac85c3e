"""Puts pictures into a bucket as a shop would, announces them as a store would, and lists them for the judge.

The producer is a process of its own and knows nothing of the daemon but where events go.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import multiprocessing
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Self, TypeVar
from urllib.parse import quote_plus, urlsplit

import boto3
import pika
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.equipment.daemon import colour, photo
from tests.equipment.support import STUCK

FOLDERS = ("", "shoes/", "Hüte & Mützen/", "a/b/c/d/e/", "100%/", "red [new]/x=1;y/")
NAMES = (
    "photo {}",
    "a+b+{}",
    "50%2Foff {}",
    "u\u0308ber {}",  # as a Mac spells it
    "größe {}",
    "left|right {}",
    "it's (1) ~ {}!",
    "🥾 {}",
    "two  spaces {}",
    "{}&amp;<b>",
    "a#b?c={}",
    "plain{}",
)
_PAUSE = 0.1
_T = TypeVar("_T")


@dataclass(frozen=True)
class Plan:
    """What to put where, and where to send events. `events` is "" (nowhere), an amqp:// URI or an http:// address."""

    endpoint: str
    bucket: str
    count: int
    listing: Path
    """The list of the pictures, a line of JSON for each."""
    prefix: str = "in/"
    first: int = 0
    """The number of the first picture; no two pictures of one number differ, in key or bytes."""
    rate: float = 100.0
    """Pictures in a second."""
    threads: int = 4
    events: str = ""
    exchange: str = ""
    routing_key: str = ""
    """The queue's name, where `exchange` is the nameless one."""
    token: str = ""
    """The token that a webhook requires."""
    twice: bool = False
    """Whether each event is sent twice."""
    shuffled: int = 0
    """How many events are held back, to come in another order; 0 for none."""
    seed: int = 1


def key_of(number: int) -> str:
    """The key of a picture, below the prefix. The keys contain the characters that are often encoded wrongly."""
    name = NAMES[number % len(NAMES)].format(f"{number:05}")
    return f"{FOLDERS[number // len(NAMES) % len(FOLDERS)]}{name}.png"


class Producer:
    """`with Producer(plan) as producer: producer.wait()`; killed at the end if it was not waited for."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._process = multiprocessing.get_context("spawn").Process(target=produce, args=(plan,), daemon=True)
        self._process.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()

    @property
    def running(self) -> bool:
        """Whether pictures or events are left to be sent."""
        return self._process.is_alive()

    def put_so_far(self) -> int:
        """How many pictures have been put."""
        return self.plan.listing.read_bytes().count(b"\n") if self.plan.listing.exists() else 0

    def wait(self) -> None:
        """Wait until all pictures are put and all events sent; fails if the producer failed."""
        self._process.join(STUCK)
        assert self._process.exitcode == 0, f"the producer ended with {self._process.exitcode}"


def produce(plan: Plan) -> None:
    """Put all pictures at a steady rate, and send an event for each once it is stored."""
    events: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    numbers, start, noting = itertools.count(), time.monotonic(), threading.Lock()

    def put_some(client: Any) -> None:
        while (position := next(numbers)) < plan.count:
            time.sleep(max(0.0, start + position / plan.rate - time.monotonic()))
            key, data = key_of(plan.first + position), photo(colour(plan.first + position))
            etag = _put(client, plan, key, data)
            with noting:
                _note(file, key, data, plan.first + position)
            events.put(minio_event(plan.bucket, plan.prefix + key, len(data), etag))

    with plan.listing.open("a", encoding="utf-8") as file, ThreadPoolExecutor(plan.threads + 1) as pool:
        sending = pool.submit(_send_events, plan, iter(events.get, None))
        for putting in [pool.submit(put_some, _client(plan)) for _ in range(plan.threads)]:
            putting.result()
        events.put(None)
        sending.result()


def _client(plan: Plan) -> Any:
    session = boto3.session.Session("test", "test", region_name="us-east-1")
    retries = {"mode": "standard", "total_max_attempts": 5}
    return session.client("s3", endpoint_url=plan.endpoint, config=Config(retries=retries))


def _put(client: Any, plan: Plan, key: str, data: bytes) -> str:
    """Put a picture, with retries; returns the ETag."""
    return _retry(
        lambda: str(client.put_object(Bucket=plan.bucket, Key=plan.prefix + key, Body=data)["ETag"]).strip('"'),
        (ClientError, BotoCoreError),
    )


def _note(file: Any, key: str, data: bytes, number: int) -> None:
    line = {"key": key, "sha256": hashlib.sha256(data).hexdigest(), "colour": colour(number)}
    file.write(json.dumps(line) + "\n")
    file.flush()


def _send_events(plan: Plan, events: Iterable[bytes]) -> None:
    if plan.twice:
        events = (event for event in events for _ in range(2))
    if plan.shuffled:
        events = _shuffled(events, plan.shuffled, Random(plan.seed))
    with closing(_listener(plan)) as listener:
        for event in events:
            listener.send(event)


def _shuffled(events: Iterable[bytes], window: int, random: Random) -> Iterator[bytes]:
    """The events in another order: `window` of them are held back, and each new one releases a random one of these."""
    held: list[bytes] = []
    for event in events:
        held.append(event)
        if len(held) > window:
            yield held.pop(random.randrange(len(held)))
    random.shuffle(held)
    yield from held


class _NoEvents:
    """Sends no events: the store does, or the daemon lists."""

    def send(self, event: bytes) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class _Amqp(_NoEvents):
    """Sends events to RabbitMQ. An event is delivered when the broker has confirmed it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._connection: pika.BlockingConnection | None = None
        self._channel: Any = None

    def send(self, event: bytes) -> None:
        """Send an event until the broker confirms it."""
        _retry(lambda: self._publish(event), (pika.exceptions.AMQPError,))

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            with suppress(pika.exceptions.AMQPError):
                self._connection.close()
        self._connection = None

    def _publish(self, event: bytes) -> None:
        try:
            self._open()
            properties = pika.BasicProperties(content_type="application/json", delivery_mode=2)
            self._channel.basic_publish(self._plan.exchange, self._plan.routing_key, event, properties, mandatory=True)
        except pika.exceptions.AMQPError:
            self.close()
            raise

    def _open(self) -> None:
        if self._connection is None:
            self._connection = pika.BlockingConnection(pika.URLParameters(self._plan.events))
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()


class _Webhook(_NoEvents):
    """Posts events to a webhook, each on a new connection, because the receiver may have been restarted."""

    def __init__(self, plan: Plan) -> None:
        self._url = urlsplit(plan.events)
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {plan.token}"}

    def send(self, event: bytes) -> None:
        """Post an event until it is accepted, as MinIO with a queue directory does."""
        _retry(lambda: self._post(event), (OSError, http.client.HTTPException))

    def _post(self, event: bytes) -> None:
        with closing(http.client.HTTPConnection(self._url.netloc, timeout=30)) as connection:
            connection.request("POST", self._url.path or "/events", event, self._headers)
            answer = connection.getresponse()
            answer.read()
            if not 200 <= answer.status < 300:
                raise ConnectionError(f"the webhook answered {answer.status}")


def _listener(plan: Plan) -> _NoEvents:
    scheme = plan.events.partition(":")[0]
    return {"": _NoEvents(), "amqp": _Amqp(plan), "http": _Webhook(plan)}[scheme]


def _retry(attempt: Callable[[], _T], errors: tuple[type[Exception], ...]) -> _T:
    """Retry until it works; raises the last error after STUCK seconds."""
    deadline = time.monotonic() + STUCK
    while True:
        try:
            return attempt()
        except errors:
            if time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)


def minio_event(bucket: str, key: str, size: int, etag: str) -> bytes:
    """The event that MinIO sends to a webhook or a broker for an object that was put."""
    written = {
        "key": quote_plus(key),
        "size": size,
        "eTag": etag,
        "contentType": "image/png",
        "sequencer": "17E91C3AF1",
    }
    record = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "awsRegion": "",
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        "eventName": "s3:ObjectCreated:Put",
        "userIdentity": {"principalId": "shop"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": written,
        },
    }
    return json.dumps({"EventName": "s3:ObjectCreated:Put", "Key": f"{bucket}/{key}", "Records": [record]}).encode()

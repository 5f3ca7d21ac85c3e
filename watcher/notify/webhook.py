"""A webhook: one signed POST for each notification."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from importlib.metadata import version

import urllib3

from watcher.core.errors import Denied, Unavailable
from watcher.core.notification import Notification
from watcher.notify.address import WebhookAddress
from watcher.notify.base import ACCEPTED, Answer, Reply
from watcher.notify.signature import ID, SIGNATURE, TIMESTAMP, sign
from watcher.queues.outbox import Waiting

REQUESTS = 8
"""Requests at a time."""
CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 10.0
"""Seconds; a receiver that needs longer should answer first and work afterwards."""
MAX_ANSWER = 1024
"""Bytes of an answer that are read; the rest is thrown away with the connection."""
MAX_SHOWN = 200
"""Characters of a refusal that are logged."""
LONGEST_RETRY_AFTER = 300.0
DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
BUSY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


class WebhookTarget:
    """A `Target` at an http:// or https:// address. It follows no redirect: only the operator's address counts."""

    batch = REQUESTS

    def __init__(self, address: WebhookAddress, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        """Requests are signed with `key`. Opens nothing."""
        self.name = address.name
        self._url, self._key, self._clock = address.url, key, clock
        self._http = urllib3.PoolManager(
            maxsize=REQUESTS,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
            retries=False,  # which turns redirects off as well
        )
        self._threads = ThreadPoolExecutor(REQUESTS, thread_name_prefix="notify")
        self._agent = f"alphadrop/{version('alphadrop')}"

    def send(self, waiting: Sequence[Waiting]) -> list[Answer]:
        """See `Target.send`."""
        return list(self._threads.map(lambda one: self._post(one.id, one.body), waiting))

    def check(self, test: Notification) -> str:
        """See `Target.check`. Sends `test`, since nothing else shows whether address and secret are right."""
        answer = self._post(test.id, test.body())
        if answer.reply is not Reply.ACCEPTED:
            kind = Denied if answer.reason == "denied" else Unavailable
            raise kind(f"{answer.problem}; check the address, --notify-secret and the receiver's log")
        return f"{self.name} has accepted a notification of type {test.type}"

    def close(self) -> None:
        """See `Target.close`."""
        self._threads.shutdown(wait=False)
        self._http.clear()

    def _post(self, id_: str, body: bytes) -> Answer:
        timestamp = int(self._clock())
        headers = {
            "content-type": "application/json",
            "user-agent": self._agent,
            ID: id_,
            TIMESTAMP: str(timestamp),
            SIGNATURE: sign(self._key, id_, timestamp, body),
        }
        try:
            response = self._http.request("POST", self._url, body=body, headers=headers, preload_content=False)
            try:
                text = response.read(MAX_ANSWER, decode_content=False)
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            return Answer(Reply.UNAVAILABLE, f"{self.name}: {_cause(error)}")
        return self._judge(response.status, response.headers.get("retry-after", ""), text)

    def _judge(self, status: int, retry_after: str, text: bytes) -> Answer:
        if 200 <= status < 300:
            return ACCEPTED
        problem = f"{self.name} answers {status}"
        if status in DENIED:
            return Answer(Reply.UNAVAILABLE, f"{problem}; check --notify-secret on both sides", "denied")
        if 300 <= status < 400:
            return Answer(Reply.UNAVAILABLE, f"{problem}, a redirect, which is not followed: correct the address")
        if status in BUSY or status >= 500:
            reason = "throttled" if status == HTTPStatus.TOO_MANY_REQUESTS else "unavailable"
            return Answer(Reply.UNAVAILABLE, problem, reason, _seconds(retry_after))
        said = text.decode("utf-8", "replace")[:MAX_SHOWN].strip()
        return Answer(Reply.REFUSED, f"{problem}: {said}" if said else problem, "refused")


def _cause(error: urllib3.exceptions.HTTPError) -> str:
    """The error without urllib3's connection objects and without the path, which may be secret."""
    match error:
        case urllib3.exceptions.NameResolutionError():
            return "the host's name cannot be resolved"
        case urllib3.exceptions.NewConnectionError():
            return "no connection: it does not listen, or a firewall is on the way"
        case urllib3.exceptions.ConnectTimeoutError():
            return f"no connection within {CONNECT_TIMEOUT:.0f} s"
        case urllib3.exceptions.ReadTimeoutError():
            return f"no answer within {READ_TIMEOUT:.0f} s"
        case urllib3.exceptions.SSLError():
            return f"the TLS connection failed ({_innermost(error)})"
        case _:
            return f"the connection failed ({_innermost(error)})"


def _innermost(error: BaseException) -> str:
    inner = next((part for part in error.args if isinstance(part, BaseException)), None)
    return _innermost(inner) if inner else str(error) or type(error).__name__


def _seconds(retry_after: str) -> float:
    """A Retry-After header in seconds; 0 for none, and for a date, which only proxies for people send."""
    return min(float(retry_after), LONGEST_RETRY_AFTER) if retry_after.strip().isdecimal() else 0.0

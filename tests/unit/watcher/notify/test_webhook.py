"""The webhook against a real HTTP server: what it sends, and what it makes of each answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from tests.equipment.notes import WRITER, done
from tests.equipment.rabbit import free_port
from tests.equipment.receiver import SECRET, Receiver, receiving
from watcher.core.errors import Denied, Unavailable
from watcher.notify.address import WebhookAddress
from watcher.notify.base import ACCEPTED, Answer, Reply
from watcher.notify.signature import read_secret
from watcher.notify.webhook import WebhookTarget
from watcher.queues.outbox import MemoryOutbox, Waiting


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def target(receiver: Receiver) -> Iterator[WebhookTarget]:
    with closing(WebhookTarget(WebhookAddress(f"{receiver.url}?token=hidden"), read_secret(SECRET))) as target:
        yield target


def waiting(*keys: str) -> list[Waiting]:
    outbox = MemoryOutbox()
    for key in keys:
        outbox.add(done(key))
    return outbox.due(100)


def test_a_request_is_signed_and_carries_the_notification(receiver: Receiver, target: WebhookTarget) -> None:
    before = int(time.time())
    (one,) = waiting("shoes/a.jpg")
    assert target.send([one]) == [ACCEPTED]
    (headers,) = receiver.headers
    assert receiver.unsigned == 0 and receiver.bodies == [one.body]
    assert headers["webhook-id"] == one.id and before <= int(headers["webhook-timestamp"]) <= time.time()
    assert headers["content-type"] == "application/json" and headers["user-agent"].startswith("alphadrop/")


def test_several_are_sent_side_by_side_and_answered_one_by_one(receiver: Receiver, target: WebhookTarget) -> None:
    receiver.answer = lambda message: 503 if message["key"] == "b" else 200
    answers = target.send(waiting("a", "b", "c"))
    assert [answer.reply for answer in answers] == [Reply.ACCEPTED, Reply.UNAVAILABLE, Reply.ACCEPTED]
    assert sorted(message["key"] for message in receiver.accepted) == ["a", "c"]


@dataclass
class Case:
    """An answer of the receiver, and what is to be made of it."""

    status: int
    reply: Reply
    reason: str
    says: str
    headers: dict[str, str] | None = None
    retry_after: float = 0.0


CASES = (
    Case(301, Reply.UNAVAILABLE, "unavailable", "not followed", {"location": "http://169.254.169.254/"}),
    Case(400, Reply.REFUSED, "refused", "answers 400: no such article"),
    Case(401, Reply.UNAVAILABLE, "denied", "--notify-secret"),
    Case(403, Reply.UNAVAILABLE, "denied", "--notify-secret"),
    Case(404, Reply.REFUSED, "refused", "answers 404"),
    Case(408, Reply.UNAVAILABLE, "unavailable", "answers 408"),
    Case(429, Reply.UNAVAILABLE, "throttled", "answers 429", {"retry-after": "17"}, 17.0),
    Case(429, Reply.UNAVAILABLE, "throttled", "answers 429", {"retry-after": "99999"}, 300.0),
    Case(503, Reply.UNAVAILABLE, "unavailable", "answers 503", {"retry-after": "Fri, 31 Dec 2027 23:59:59 GMT"}),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.status} {case.headers or ''}")
def test_every_answer_but_success_is_refused_or_tried_again(
    receiver: Receiver, target: WebhookTarget, case: Case
) -> None:
    receiver.answer, receiver.answer_headers = (lambda message: case.status), case.headers or {}
    receiver.text = b"no such article"
    (answer,) = target.send(waiting("a"))
    assert (answer.reply, answer.reason, answer.retry_after) == (case.reply, case.reason, case.retry_after)
    assert case.says in answer.problem
    assert len(receiver.requests) == 1
    assert "hidden" not in answer.problem and "/hook" not in answer.problem


def test_of_a_long_answer_only_the_beginning_is_read(receiver: Receiver, target: WebhookTarget) -> None:
    receiver.answer, receiver.text = (lambda message: 400), b"x" * 200_000
    for _ in range(2):
        (answer,) = target.send(waiting("a"))
        assert answer.problem.endswith("x" * 200) and len(answer.problem) < 300


def test_connections_are_kept_for_the_next_request(receiver: Receiver, target: WebhookTarget) -> None:
    for _ in range(3):
        target.send(waiting("a"))
    assert target._http.connection_from_url(receiver.url).num_connections == 1


def problem_at(url: str) -> Answer:
    with closing(WebhookTarget(WebhookAddress(url), read_secret(SECRET))) as target:
        return target.send(waiting("a"))[0]


def test_a_receiver_that_is_not_there_is_away() -> None:
    gone = problem_at(f"http://127.0.0.1:{free_port()}/hook")
    assert gone.reply is Reply.UNAVAILABLE and "does not listen" in gone.problem and "/hook" not in gone.problem
    unknown = problem_at("http://alphadrop.invalid/hook")
    assert unknown.reply is Reply.UNAVAILABLE and "alphadrop.invalid" in unknown.problem


def test_a_receiver_that_hangs_up_or_speaks_no_tls_is_away() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(60)
        target = WebhookTarget(WebhookAddress(f"http://127.0.0.1:{server.getsockname()[1]}/"), b"k" * 16)
        with closing(target):
            answers = target._threads.submit(target.send, waiting("a"))
            server.accept()[0].close()
            (answer,) = answers.result()
    assert answer.reply is Reply.UNAVAILABLE and "the connection failed" in answer.problem
    with receiving() as plain:
        answer = problem_at(plain.url.replace("http://", "https://"))
    assert answer.reply is Reply.UNAVAILABLE and "TLS" in answer.problem


def test_the_check_sends_one_notification_of_type_test(receiver: Receiver, target: WebhookTarget) -> None:
    said = target.check(WRITER.test())
    (message,) = receiver.accepted
    assert message["type"] == "test" and "test" in said and "hidden" not in said
    receiver.answer = lambda message: 401
    with pytest.raises(Denied, match="--notify-secret"):
        target.check(WRITER.test())
    receiver.answer = lambda message: 500
    with pytest.raises(Unavailable, match="answers 500; check the address"):
        target.check(WRITER.test())

"""SIGKILL at every step from a job's end to its delivery, and a receiver that is away: the judge finds nothing wrong.

A program ends jobs in a real queue and sends their notifications to a real HTTP server. One run after the other, it is
killed one step later: before each SQL statement that ends a job or a notification, before its commit, and before and
after each request. Then it is started again. The judge knows what the program was to finish, and what the receiver has
accepted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.equipment.notes import done, job
from tests.equipment.rabbit import free_port
from tests.equipment.receiver import SECRET, Receiver, judge, receiving
from tests.equipment.support import ROOT, wait_until
from watcher.core.jobs import Outcome
from watcher.notify.address import WebhookAddress
from watcher.notify.sender import Pace, Sender
from watcher.notify.signature import read_secret
from watcher.notify.webhook import WebhookTarget
from watcher.queues.sqlite import SqliteQueue

FINISHED = {"a.jpg": ["1 image.done", "2 image.done"], "bad.jpg": ["1 image.rejected"]}
"""What the program finishes: of each key, the version and type of its notifications, in their order."""

PROGRAM = """
import os, signal, sys
from contextlib import closing
from pathlib import Path

from tests.equipment.notes import BROKEN, WRITER, job
from watcher.core.jobs import Outcome
from watcher.core.notification import Matte, OutputFile
from watcher.notify.address import WebhookAddress
from watcher.notify.sender import Pace, Sender
from watcher.notify.webhook import WebhookTarget
from watcher.queues.sqlite import SqliteQueue

PACE = Pace(one=(0, 0), target=(0, 0))
JOBS = (job("a.jpg", "1"), job("bad.jpg", "1"), job("a.jpg", "2"))
steps = 0


def step():
    global steps
    steps += 1
    if steps == last:
        os.kill(os.getpid(), signal.SIGKILL)


ENDS = ("SET state = 'done'", "SET state = 'rejected'", "INSERT INTO outbox", "DELETE FROM outbox")
wrote = False


def before_statement(statement):
    global wrote
    if any(text in statement for text in ENDS) or (wrote and statement == "COMMIT"):
        wrote = statement != "COMMIT"
        step()


class Target(WebhookTarget):
    def send(self, waiting):
        step()
        answers = super().send(waiting)
        step()
        return answers


def finish(queue):
    # What the sink shows of a real image, that it is done, is here known from the queue.
    ended = {id_ for id_, state in queue.known([one.id for one in JOBS]).items() if state in ("done", "rejected")}
    if JOBS[2].id in queue.known([JOBS[2].id]):
        ended.add(JOBS[0].id)  # a newer version has replaced it
    for one in JOBS:
        if one.id in ended:
            continue
        queue.put([one])
        [lease] = queue.lease("worker", 1, alone=True)
        assert lease.job == one
        if one.ref.key == "bad.jpg":
            lease.reject(BROKEN, WRITER.rejected(one, BROKEN, lease.found_at))
        else:
            output = OutputFile(name="cutout", key=one.output, format="png", bytes=1234)
            lease.done(Outcome.WRITTEN, WRITER.done(one, lease.found_at, [output], Matte(0.25)))


def run(path, url):
    with closing(SqliteQueue(Path(path))) as queue:
        queue._database._connection.execute("PRAGMA synchronous = OFF")  # only the power's failure asks for more
        queue.abandon_all()
        queue._database._connection.set_trace_callback(before_statement)
        finish(queue)
        sender = Sender(queue.outbox, Target(WebhookAddress(url), secret), pace=PACE)
        while queue.outbox.stats().pending:
            sender.step()


secret = sys.argv[1].encode()
for line in sys.stdin:
    path, url, number = line.split()
    last = int(number)
    child = os.fork()
    if not child:
        run(path, url)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Program:
    """Runs the program in a process of its own each time, which is forked from one that has imported everything."""

    def __init__(self, process: subprocess.Popen[str], receiver: Receiver) -> None:
        self._process, self._receiver = process, receiver

    def run(self, queue: Path, kill_at: int) -> bool:
        """Whether it came to its end before the step at which it is killed; 0 kills it never."""
        assert self._process.stdin and self._process.stdout
        print(queue, self._receiver.url, kill_at, file=self._process.stdin, flush=True)
        code = int(self._process.stdout.readline())
        assert code in (0, -9)
        return code == 0


@contextmanager
def program(receiver: Receiver) -> Iterator[Program]:
    command = [sys.executable, "-c", PROGRAM, SECRET]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Program(process, receiver)
        assert process.stdin
        process.stdin.close()


def what_arrived(receiver: Receiver) -> list[dict[str, Any]]:
    """Each message under the name that FINISHED gives it."""
    return [{**message, "id": f"{message['source_version']} {message['type']}"} for message in receiver.accepted]


def test_a_kill_at_any_step_loses_nothing_invents_nothing_and_keeps_the_order(tmp_path: Path) -> None:
    repeated, ended, kill_at = set(), False, 0
    with receiving() as receiver, program(receiver) as child:
        while not ended:
            kill_at += 1
            receiver.accepted.clear()
            queue = tmp_path / f"{kill_at}.sqlite"
            ended = child.run(queue, kill_at)
            assert child.run(queue, 0)
            assert judge(what_arrived(receiver), FINISHED) == [], f"killed at step {kill_at}"
            ids = [message["id"] for message in receiver.accepted]
            repeated |= {id_ for id_ in ids if ids.count(id_) > 1}
        assert receiver.unsigned == 0
    assert kill_at > 15  # from the first put to the last delivery
    assert repeated  # a kill between a delivery and its mark: the same notification again, under the same id


def test_the_judge_notices_what_is_lost_invented_or_out_of_order() -> None:
    first, second = {"key": "a", "id": "1"}, {"key": "a", "id": "2"}
    assert judge([first, second], {"a": ["1", "2"]}) == []
    assert judge([first, first, second, first], {"a": ["1", "2"]}) == []
    assert judge([first], {"a": ["1", "2"]}) and judge([second, first], {"a": ["1", "2"]})
    assert judge([first, second, {"key": "b", "id": "3"}], {"a": ["1", "2"]})


def test_a_receiver_that_is_away_gets_everything_when_it_is_back(tmp_path: Path) -> None:
    port, count = free_port(), 60
    pace = Pace(one=(0.02, 0.1), target=(0.02, 0.05), poll=0.02)
    with closing(SqliteQueue(tmp_path / "queue.sqlite")) as queue, capture_logs() as lines:
        target = WebhookTarget(WebhookAddress(f"http://127.0.0.1:{port}/"), read_secret(SECRET))
        sender = Sender(queue.outbox, target, pace=pace)
        sender.start()
        finished: dict[str, list[str]] = {}
        for number in range(count):
            notification = done(f"{number % 7}.jpg", str(number))
            finish(queue, f"{number % 7}.jpg", str(number))
            finished.setdefault(notification.key, []).append(notification.id)
            if number == count // 3:
                wait_until(lambda: events(lines, "notification_failed") > 20)
        assert queue.outbox.stats().pending == count
        with receiving(port) as receiver:
            assert sender.drain(patience=600) == 0
            sender.stop(60)
            assert judge(receiver.accepted, finished) == []
            assert len(receiver.accepted) == count
    assert events(lines, "notify_failed") == events(lines, "notify_recovered") == 1


def finish(queue: SqliteQueue, key: str, version: str) -> None:
    queue.put([job(key, version)])
    (lease,) = queue.lease("worker", 1, alone=True)
    lease.done(Outcome.WRITTEN, done(key, version))


def events(lines: list[Any], name: str) -> int:
    return sum(line["event"] == name for line in lines)


@pytest.mark.parametrize("known", [True, False])
def test_a_job_that_another_worker_has_ended_before_is_not_announced_again(tmp_path: Path, known: bool) -> None:
    with closing(SqliteQueue(tmp_path / "queue.sqlite")) as queue:
        queue.put([job("a")])
        (lease,) = queue.lease("worker", 1, alone=True)
        lease.done(Outcome.WRITTEN, done("a"))
        if not known:
            queue.forget_key("a")
        lease.done(Outcome.ALREADY_DONE, done("a"))
        assert queue.outbox.stats().pending == 1


def test_messages_are_json_that_any_program_reads(tmp_path: Path) -> None:
    message = json.loads(done("ü.jpg").body())
    assert message["key"] == "ü.jpg" and message["outputs"][0]["key"] == "ü.jpg.png"

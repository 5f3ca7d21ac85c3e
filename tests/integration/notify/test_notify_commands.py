"""`once`, `status`, `retry` and `doctor` with --notify, as a user sees them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.equipment.daemon import Folders, colour, coloured
from tests.equipment.notes import done
from tests.equipment.rabbit import free_port
from tests.equipment.receiver import SECRET, receiving
from tests.equipment.support import Call, alphadrop, log_events
from watcher.commands.doctor import _check_receiver
from watcher.config.settings import Settings
from watcher.core.errors import Unavailable
from watcher.queues.sqlite import SqliteQueue
from watcher.queues.sqlite_outbox import add_notification
from watcher.wiring import Wiring


def test_once_says_what_is_not_delivered_and_the_next_one_delivers_it(folders: Folders, call: Call) -> None:
    coloured(folders.source / "a.png", colour(1))
    (folders.source / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    port, state = free_port(), ("--state", folders.state)
    options = (*folders.places, *state, "--model", "fake", "--devices", "cpu", "--notify", f"http://127.0.0.1:{port}/")

    first = alphadrop("once", *options, "--drain", "0", ALPHADROP_NOTIFY_SECRET=SECRET)
    assert first.code == 4 and "2 notifications are not delivered" in " ".join(first.err.split())
    assert [event["level"] for event in log_events(first.err) if event["event"] == "notify_failed"] == ["warning"]
    assert call("status", *folders.places, *state).words("notifications")[1] == "2"

    with receiving(port) as receiver:
        second = alphadrop("once", *options, ALPHADROP_NOTIFY_SECRET=SECRET)
    assert second.code == 3 and "notifications" not in second.err  # one image is still rejected
    assert {message["key"]: message["type"] for message in receiver.accepted} == {
        "a.png": "image.done",
        "bad.jpg": "image.rejected",
    }
    assert not call("status", *folders.places, *state).words("notifications")


def test_what_was_set_aside_is_shown_and_sent_again_on_demand(folders: Folders, call: Call) -> None:
    folders.state.mkdir()
    with closing(SqliteQueue(folders.state / "queue.sqlite")) as queue:
        with queue._database.transaction() as connection:
            add_notification(connection, done("shoes/a.jpg"))
        queue.outbox.set_aside(queue.outbox.due(1)[0], "https://shop.example answers 400: no such article")
    places = (*folders.places, "--state", folders.state)
    shown = call("status", *places).out
    assert "set aside" in shown and "shoes/a.jpg: https://shop.example answers 400: no such article" in shown
    again = call("retry", *places, "--notifications")
    assert again.code == 0 and "1 notification is pending again" in again.err
    with closing(SqliteQueue(folders.state / "queue.sqlite")) as queue:
        assert [waiting.key for waiting in queue.outbox.due(1)] == ["shoes/a.jpg"]


def test_without_an_embedded_queue_nothing_that_was_set_aside_is_kept(call: Call) -> None:
    refused = call("retry", "s3://in", "s3://out", "--queue", "sqs://jobs", "--notifications")
    assert refused.code == 2 and "notification_set_aside" in refused.err


def test_the_doctor_tries_the_receiver(tmp_path: Path) -> None:
    with receiving() as receiver:
        settings = Settings(
            source=str(tmp_path), sink=str(tmp_path), model="fake", notify=receiver.url, notify_secret=SECRET
        )
        assert "has accepted" in _check_receiver(Wiring.of(settings))
        assert [message["type"] for message in receiver.accepted] == ["test"]
    with pytest.raises(Unavailable, match="does not listen"):
        _check_receiver(Wiring.of(settings))

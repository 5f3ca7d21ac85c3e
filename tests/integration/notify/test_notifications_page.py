"""docs/notifications.md is true: its messages are those of the model, and its example verifies our requests."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from tests.equipment.notes import done
from tests.equipment.pages import blocks
from tests.equipment.receiver import SECRET, receiving
from tests.equipment.support import ROOT
from watcher.core.notification import Notification, OutputFile
from watcher.core.reasons import Reason
from watcher.notify.address import WebhookAddress
from watcher.notify.signature import ID, SIGNATURE, TIMESTAMP, read_secret
from watcher.notify.webhook import WebhookTarget
from watcher.queues.outbox import MemoryOutbox

PAGE = ROOT / "docs" / "notifications.md"


def example(language: str, label: str) -> str:
    [block] = [block for block in blocks(PAGE, language) if block.label == label]
    return block.text


@pytest.mark.parametrize("label", ["done", "rejected"])
def test_the_pages_messages_are_written_as_the_model_writes_them(label: str) -> None:
    shown = json.loads(example("json", label))
    notification = Notification.model_validate(shown)
    assert json.loads(notification.body()) == shown
    assert notification.type == f"image.{label}"
    assert label == "done" or notification.reason in set(Reason)


def test_the_page_explains_every_field() -> None:
    table = PAGE.read_text("utf-8").split("| field | meaning |")[1].split("\n\n")[0]
    fields = {*Notification.model_fields, *OutputFile.model_fields}
    assert {name for name in fields if f"`{name}`" not in table} <= {"name", "format"}  # which explain themselves


def test_the_pages_example_accepts_our_requests_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    program: dict[str, Any] = {}
    exec(example("python", "verify"), program)
    is_authentic = program["is_authentic"]
    outbox = MemoryOutbox()
    outbox.add(done("a.jpg"))
    with receiving() as receiver:
        with closing(WebhookTarget(WebhookAddress(receiver.url), read_secret(SECRET))) as target:
            target.send(outbox.due(1))
        [headers], [body] = receiver.headers, receiver.bodies
    secret = SECRET.encode()
    assert is_authentic(headers, body, secret)
    assert not is_authentic(headers, body + b" ", secret)
    assert not is_authentic(headers, body, b"another secret")
    assert not is_authentic({**headers, ID: "another"}, body, secret)
    later = int(headers[TIMESTAMP]) + 1
    assert not is_authentic({**headers, TIMESTAMP: str(later)}, body, secret)
    assert not is_authentic({**headers, SIGNATURE: "v1,"}, body, secret)
    monkeypatch.setattr(program["time"], "time", lambda: later + 400.0)
    assert not is_authentic(headers, body, secret)

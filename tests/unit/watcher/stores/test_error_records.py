"""What the sink says about images that could not be cut out."""

from __future__ import annotations

import json
from pathlib import Path

from watcher.core.jobs import ImageRef, Job, Rejection
from watcher.core.reasons import Reason
from watcher.stores.error_records import ErrorRecord, read_error_records, record_key, write_error_record
from watcher.stores.local import LocalStore


def test_a_record_holds_the_name_of_the_reason_and_is_read_back(tmp_path: Path):
    sink, rejection = LocalStore(tmp_path), Rejection(Reason.TRUNCATED, "The file ends early.")
    write_error_record(sink, Job("1" * 64, ImageRef("a.jpg", "v", 5), "a.png"), rejection)
    assert json.loads((tmp_path / "_failed/a.jpg.json").read_text())["reason"] == "truncated"
    assert list(read_error_records(sink)) == [ErrorRecord("a.jpg", rejection)]


def test_a_record_of_an_earlier_version_with_a_reason_that_is_unknown_now_is_still_read(tmp_path: Path):
    sink = LocalStore(tmp_path)
    sink.put_record(record_key("a.jpg"), json.dumps({"key": "a.jpg", "reason": "melted", "detail": "Hot."}).encode())
    assert list(read_error_records(sink)) == [ErrorRecord("a.jpg", Rejection(Reason.OTHER, "melted: Hot."))]

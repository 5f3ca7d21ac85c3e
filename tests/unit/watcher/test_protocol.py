"""Reports arrive as they were sent, one line each."""

from __future__ import annotations

import pytest

from watcher.core.jobs import Outcome
from watcher.protocol import (
    STAGES,
    BatchReport,
    HeartbeatReport,
    ImageReport,
    ReadyReport,
    Report,
    UnavailableReport,
    decode_report,
    encode,
)

EVERY_KIND: list[Report] = [
    ReadyReport(device="cuda:0", device_name="NVIDIA H200", model="nano", warmup_seconds=12.5),
    ImageReport(key="a.jpg", job="f" * 64, outcome=Outcome.WRITTEN),
    ImageReport(
        key='Hüte/\n"x"\u2028.jpg',
        job="f" * 64,
        outcome=Outcome.REJECTED,
        output="Hüte/x.png",
        reason="truncated",
        detail="The file\nends early: copy it again.",
        stages=dict.fromkeys(STAGES, 0.125),
        bytes_in=2**40,
        bytes_out=1,
        pixels=10**9,
        coverage=0.5,
        stage="decode",
    ),
    UnavailableReport(key="a.jpg", stage="put", reason="unavailable", detail="No space left on device"),
    BatchReport(device="cpu", size=3, slots=4, trigger="idle", seconds=0.5),
    HeartbeatReport(
        device="cuda:0",
        memory={"total": 1 << 37, "used": 0},
        batch_limit=16,
        out_of_memory=1,
        busy_seconds=2.5,
        in_flight=3,
    ),
]


@pytest.mark.parametrize("report", EVERY_KIND, ids=lambda report: report.kind)
def test_a_report_comes_back_as_it_was(report: Report) -> None:
    line = encode(report)
    assert len(line.splitlines()) == 1
    assert decode_report(line + "\n") == report


def test_a_key_that_is_not_valid_utf8_arrives() -> None:
    report = UnavailableReport(
        key=b"caf\xe9.jpg".decode("utf-8", "surrogateescape"), stage="read", reason="unavailable", detail=""
    )
    assert encode(report).isascii()
    assert decode_report(encode(report)) == report


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Warning: something a library printed",
        "[1, 2]",
        '"ready"',
        "{}",
        '{"kind": "rumour"}',
        '{"kind": null}',
        '{"kind": "batch", "device": "cpu"}',
        '{"kind": "trouble", "key": "", "stage": "", "reason": "", "detail": "", "more": 1}',
    ],
)
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode_report(line)

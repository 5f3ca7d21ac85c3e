"""What a worker says arrives as it was said, one line each."""

from __future__ import annotations

import pytest

from watcher.core.protocol import (
    STAGES,
    BatchReport,
    DeviceReport,
    ImageReport,
    Ready,
    Report,
    TroubleReport,
    decode_report,
    encode_report,
)

EVERY_KIND: list[Report] = [
    Ready("cuda:0", "NVIDIA H200", "nano", 12.5),
    ImageReport("a.jpg", "f" * 64, "written"),
    ImageReport(
        'Hüte/\n"x"\u2028.jpg',
        "f" * 64,
        "rejected",
        "Hüte/x.png",
        "truncated",
        "The file\nends early: copy it again.",
        dict.fromkeys(STAGES, 0.125),
        bytes_in=2**40,
        bytes_out=1,
        pixels=10**9,
        coverage=0.5,
        stage="decode",
    ),
    TroubleReport("a.jpg", "put", "Unavailable", "No space left on device"),
    BatchReport("cpu", 3, 4, "idle", 0.5),
    DeviceReport("cuda:0", {"total": 1 << 37, "used": 0}, 16, 1, 2.5, 3),
]


@pytest.mark.parametrize("report", EVERY_KIND, ids=lambda report: report.kind)
def test_a_report_comes_back_as_it_was(report: Report) -> None:
    line = encode_report(report)
    assert len(line.splitlines()) == 1
    assert decode_report(line + "\n") == report


def test_a_key_that_is_no_valid_text_passes() -> None:
    report = TroubleReport(b"caf\xe9.jpg".decode("utf-8", "surrogateescape"), "read", "Unavailable", "")
    assert encode_report(report).isascii()
    assert decode_report(encode_report(report)) == report


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
def test_what_is_no_report_is_refused(line: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode_report(line)

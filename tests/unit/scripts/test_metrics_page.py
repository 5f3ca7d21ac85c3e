"""The page of metrics: current, and complete."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.metrics_page import PAGE, render, section
from watcher.telemetry.metrics import definitions
from watcher.telemetry.metrics.definitions import ALL
from watcher.telemetry.metrics.registry import Metric


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text("utf-8") == render(), "run `make reference`"


def test_every_series_has_a_section_with_all_values_of_its_labels_and_all_its_buckets() -> None:
    page = render()
    for series in ALL:
        _, _, rest = page.partition(f"\n### {series.full_name}\n")
        text = rest.partition("\n#")[0]
        assert series.help in " ".join(text.split())
        for values in series.labels.values():
            assert [value for value in values if f"`{value}`" not in text] == []
        assert not series.buckets or f"{series.buckets[-1]:g}" in text


def test_no_line_is_too_long_to_be_read() -> None:
    assert max(map(len, render().splitlines())) <= 132


@pytest.mark.parametrize(
    ("series", "words"),
    [
        (
            definitions.STAGE_DURATION,
            [
                "*Histogram, seconds.* Time that an image spent in each stage.",
                "- `stage`: `queue_wait`",
                "- buckets: 0.001",
            ],
        ),
        (definitions.DEVICE_POWER, ["*Gauge, watts, only when known.*", "- `device`"]),
        (definitions.LAST_OUTPUT, ["*Gauge, Unix time in seconds, only when known.*"]),
        (definitions.FAILURES, ["`not_a_picture`, `truncated`", "with `decode`;", "`denied` with every `stage`"]),
        (definitions.BUILD, ["### alphadrop_build_info", "- with `version`, `model`, `digest`"]),
    ],
    ids=["stages", "power", "timestamp", "pairs", "info"],
)
def test_a_section_says_type_unit_labels_and_buckets(series: Metric[Any], words: list[str]) -> None:
    text = " ".join(section(series).split())
    assert [word for word in words if word not in text] == []

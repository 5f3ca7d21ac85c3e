"""The page of metrics is current and complete."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.metrics_page import PAGE, render, section
from watcher.telemetry.metrics import definitions
from watcher.telemetry.metrics.definitions import ALL
from watcher.telemetry.metrics.registry import Metric


def test_the_page_is_generated_from_the_code() -> None:
    assert PAGE.read_text("utf-8") == render(), "run `make reference`"


def test_every_metric_has_a_section_with_its_label_values_and_buckets() -> None:
    page = render()
    for metric in ALL:
        _, _, rest = page.partition(f"\n### {metric.full_name}\n")
        text = rest.partition("\n#")[0]
        assert metric.help in " ".join(text.split())
        for values in metric.labels.values():
            assert [value for value in values if f"`{value}`" not in text] == []
        assert not metric.buckets or f"{metric.buckets[-1]:g}" in text


def test_no_line_is_too_long() -> None:
    assert max(map(len, render().splitlines())) <= 132


@pytest.mark.parametrize(
    ("metric", "words"),
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
def test_a_section_has_type_unit_labels_and_buckets(metric: Metric[Any], words: list[str]) -> None:
    text = " ".join(section(metric).split())
    assert [word for word in words if word not in text] == []

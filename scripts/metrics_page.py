"""Writes docs/metrics.md from the definitions of the metrics: `make reference`."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from watcher.telemetry.metrics.definitions import ALL, SECTIONS
from watcher.telemetry.metrics.registry import DEVICE, Metric

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
WIDTH = 130
INTRO = """\
# Metrics

Every metric on `/metrics`. `make reference` generates this page from `watcher/telemetry/metrics/definitions.py`.
[observability.md](observability.md) explains how to scrape them, and what else the daemon reports.

- Counters and histograms cover the whole process. They never decrease while it runs, even when a worker crashes.
- Every combination of labels exists at 0 from the start; combinations with a `device`, from the first report of that
  device. The exceptions are marked *only when known*: where 0 would be wrong, there is no sample until a value is
  known, and none after the worker that reported it has ended.
- `device` is the name of the worker: its device, with a number where several workers share one (`cuda:0`, `cpu:1`).
- No label contains a key, a file name or a job id. A label value that is not listed here is counted as `other`.
- Query a histogram `x` through `x_bucket`, `x_sum` and `x_count`.
- The page also has the standard `process_*` metrics and `python_info` of the supervisor process.
"""


def render() -> str:
    """The whole page."""
    parts = [INTRO, f"{len(ALL)} metrics:\n"]
    for title, metrics in SECTIONS.items():
        parts += [f"## {title}\n", *map(section, metrics)]
    return "\n".join(parts)


def section(metric: Metric[Any]) -> str:
    """The section about one metric."""
    lines = [f"### {metric.full_name}", "", *textwrap.wrap(prose(metric), WIDTH, break_long_words=False), ""]
    for item in items(metric):
        lines += textwrap.wrap(f"- {item}", WIDTH, subsequent_indent="  ", break_long_words=False)
    return "\n".join(lines).rstrip() + "\n"


def prose(metric: Metric[Any]) -> str:
    """Type, unit, help and notes."""
    kind = ", ".join(
        filter(None, (metric.kind.__name__, metric.units, "only when known" if metric.only_when_known else ""))
    )
    return f"*{kind}.* {metric.help} {metric.notes}".rstrip()


def items(metric: Metric[Any]) -> Iterator[str]:
    """Labels with their values, and buckets."""
    if metric.combinations:
        yield pairs(metric)
    else:
        for label, values in metric.labels.items():
            yield f"`{label}`" if label == DEVICE else f"`{label}`: {listed(values)}"
    if metric.info_labels:
        yield f"with {listed(metric.info_labels)}"
    if metric.buckets:
        yield f"buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)}"


def pairs(metric: Metric[Any]) -> str:
    """Two labels of which only some values occur together."""
    (first, all_firsts), (second, seconds) = metric.labels.items()
    having: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for value in seconds:
        having[tuple(one for one, other in metric.combinations if other == value)].append(value)
    described = (
        f"{listed(values)} with {f'every `{first}`' if set(firsts) == set(all_firsts) else listed(firsts)}"
        for firsts, values in having.items()
    )
    return f"`{first}`: {listed(all_firsts)}; `{second}`: {'; '.join(described)}"


def listed(values: Any) -> str:
    """Values as code, separated by commas."""
    return ", ".join(f"`{value}`" for value in values)


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
    print(f"{PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}: {len(ALL)} metrics")

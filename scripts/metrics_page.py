"""Writes docs/metrics.md from the catalogue of series: `make reference`."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from watcher.telemetry.metrics.catalogue import ALL, GROUPS
from watcher.telemetry.metrics.series import DEVICE, Series

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
WIDTH = 130
INTRO = """\
# Metrics

Every series that `/metrics` shows; `make reference` writes this page from
`watcher/telemetry/metrics/catalogue.py`. How to scrape them, and what else a daemon reports, is in
[observability.md](observability.md).

- Counters and histograms are the whole daemon's. They grow as long as it runs, whichever of its workers die.
- Every set of labels stands at 0 from the start, those with a `device` from when that device is first heard of. Of
  series that are called late, 0 would be a lie: they are there when there is something to tell, and gone when their
  worker is.
- `device` is the worker's name: its device, with a number where several workers share one (`cuda:0`, `cpu:1`).
- No label ever holds a key, a file's name or a job. A value that is not listed here counts as `other`.
- A histogram `x` is read through `x_bucket`, `x_sum` and `x_count`.
- Besides these, the page has the usual `process_*` and `python_info` of the supervisor's process.
"""


def render() -> str:
    """The whole page."""
    parts = [INTRO, f"{len(ALL)} series:\n"]
    for title, group in GROUPS.items():
        parts += [f"## {title}\n", *map(section, group)]
    return "\n".join(parts)


def section(series: Series[Any]) -> str:
    """What is said of one series."""
    lines = [f"### {series.full_name}", "", *textwrap.wrap(prose(series), WIDTH, break_long_words=False), ""]
    for item in items(series):
        lines += textwrap.wrap(f"- {item}", WIDTH, subsequent_indent="  ", break_long_words=False)
    return "\n".join(lines).rstrip() + "\n"


def prose(series: Series[Any]) -> str:
    """Type, unit, help, and what it is good for."""
    kind = ", ".join(filter(None, (series.kind.__name__, series.units, "late" if series.late else "")))
    return f"*{kind}.* {series.text} {series.use}".rstrip()


def items(series: Series[Any]) -> Iterator[str]:
    """Labels with their values, buckets."""
    if series.only:
        yield pairs(series)
    else:
        for label, values in series.labels.items():
            yield f"`{label}`" if label == DEVICE else f"`{label}`: {words(values)}"
    if series.facts:
        yield f"with {words(series.facts)}"
    if series.buckets:
        yield f"buckets: {', '.join(f'{bound:g}' for bound in series.buckets)}"


def pairs(series: Series[Any]) -> str:
    """Two labels of which not each value occurs with each."""
    (first, all_firsts), (second, seconds) = series.labels.items()
    having: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for value in seconds:
        having[tuple(one for one, other in series.only if other == value)].append(value)
    described = (
        f"{words(values)} with {f'every `{first}`' if set(firsts) == set(all_firsts) else words(firsts)}"
        for firsts, values in having.items()
    )
    return f"`{first}`: {words(all_firsts)}; `{second}`: {'; '.join(described)}"


def words(values: Any) -> str:
    """Values as code, with commas between."""
    return ", ".join(f"`{value}`" for value in values)


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
    print(f"{PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}: {len(ALL)} series")

"""A real Prometheus server for a test: its own process on a free port, with its own data folder."""

from __future__ import annotations

import json
import math
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.equipment.rabbit import free_port
from tests.equipment.requirements import require_program
from tests.equipment.support import wait_until

START_TIMEOUT = 300.0
"""Seconds in which the server must start or stop: far more than the slowest machine needs."""
CONFIG = """
global:
  scrape_interval: 1s
  scrape_timeout: 1s
  evaluation_interval: 1s
rule_files: [{rules}]
scrape_configs:
  - job_name: {job}
    static_configs:
      - targets: ["127.0.0.1:{target}"]
        labels: {{namespace: {namespace}}}
"""


@dataclass(frozen=True)
class Line:
    """One time series of a result: its labels and its (Unix time, value) pairs, without NaN and infinity."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass
class Prometheus:
    """A server that scrapes one target every second."""

    folder: Path
    target: int
    """The port on 127.0.0.1 that it scrapes."""
    rules: Sequence[Path] = ()
    job: str = "alphadrop"
    namespace: str = "shop"
    port: int = field(default_factory=free_port)

    def value(self, expr: str) -> float:
        """The current value of an expression with one result; NaN if there is none."""
        result = self._get("query", query=expr)["result"]
        return float(result[0]["value"][1]) if result else math.nan

    def lines(self, expr: str, start: float, end: float, step: float = 1.0) -> list[Line]:
        """Every time series of an expression that has values between `start` and `end`."""
        matrix = self._get("query_range", query=expr, start=start, end=end, step=step)["result"]
        lines = (Line(series["metric"], tuple(_numbers(series["values"]))) for series in matrix)
        return [line for line in lines if line.points]

    def failing_rules(self) -> dict[str, str]:
        """The rules that could not be evaluated, with the error, and those that have not been evaluated yet."""
        rules = [rule for group in self._get("rules")["groups"] for rule in group["rules"]]
        return {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"}

    def is_ready(self) -> bool:
        """Whether the server is ready."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=10):
                return True
        except urllib.error.HTTPError as answer:  # it is starting
            answer.close()
        except OSError:
            pass
        return False

    def _get(self, path: str, **query: object) -> Any:
        parameters = urllib.parse.urlencode(query)
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/api/v1/{path}?{parameters}", timeout=60
            ) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{query}: {json.load(error)['error']}") from None


def _numbers(values: Sequence[tuple[float, str]]) -> Iterator[tuple[float, float]]:
    for moment, text in values:
        if math.isfinite(float(text)):
            yield moment, float(text)


@contextmanager
def running_prometheus(folder: Path, target: int, rules: Sequence[Path] = ()) -> Iterator[Prometheus]:
    """Run a server. Without Prometheus, skip the test, or fail it with `--demand-all`."""
    require_program("prometheus", "run `make services`, or install the package prometheus.")
    server = Prometheus(folder, target, rules)
    config = folder / "prometheus.yml"
    names = ", ".join(map(str, rules))
    config.write_text(CONFIG.format(rules=names, job=server.job, target=target, namespace=server.namespace), "utf-8")
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{server.port}",
        "--log.level=warn",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until(lambda: server.is_ready() or process.poll() is not None, START_TIMEOUT, "Prometheus did not start")
        assert process.poll() is None, (folder / "prometheus.log").read_text("utf-8")
        yield server
    finally:
        process.terminate()
        process.wait(START_TIMEOUT)


def wait_for_value(server: Prometheus, expr: str, at_least: float) -> None:
    """Wait until the server has scraped a value of at least `at_least`."""
    wait_until(lambda: server.value(expr) >= at_least, message=f"{expr} never reached {at_least}", pause=0.2)


def now() -> float:
    """The current Unix time, for queries."""
    return time.time()

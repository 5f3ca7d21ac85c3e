"""The plain file of rules in the form in which the Prometheus operator takes them."""

from __future__ import annotations

from textwrap import indent

_HEAD = """\
# Made from alerts.yaml by `make dashboard`; edit that one.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: alphadrop
  labels:
    app.kubernetes.io/name: alphadrop
spec:
"""


def render(alerts: str) -> str:
    """The custom resource with the rules of a plain file, without that file's opening comment."""
    return _HEAD + indent(alerts[alerts.index("groups:\n") :], "  ", lambda line: bool(line.strip()))

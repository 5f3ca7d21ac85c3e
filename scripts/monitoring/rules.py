"""Converts the plain rule file to a PrometheusRule, the custom resource of the Prometheus operator."""

from __future__ import annotations

from textwrap import indent

_HEAD = """\
# Generated from alerts.yaml by `make dashboard`; edit that file.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: alphadrop
  labels:
    app.kubernetes.io/name: alphadrop
spec:
"""


def render(alerts: str) -> str:
    """The custom resource with the rules of a plain file, without the comment at the top of that file."""
    return _HEAD + indent(alerts[alerts.index("groups:\n") :], "  ", lambda line: bool(line.strip()))

"""Who uses the page and the API, and how long do they wait?"""

from __future__ import annotations

from scripts.monitoring.panels import Panel, Query, Row

_SENT = 'method="POST", route=~"/v1/cutouts|/v1.0/removebg|/api/remove"'
"""Requests that bring a picture."""

API = Row(
    "Page and API: who sends pictures, and how long they wait",
    (
        Panel(
            "API requests",
            "By outcome, the page's own requests included. limited: answered with 429. failed: an error of alphadrop, "
            "storage or queue.",
            "suffix: /s",
            (Query("sum by (outcome) (rate(alphadrop_api_requests_total[$__rate_interval]))", "{{outcome}}"),),
            width=6,
            min=0,
            no_value="no --page or --api",
            colours={"failed": "red"},
        ),
        Panel(
            "Uploads",
            "Accepted pictures, by route.",
            "suffix: /s",
            (
                Query(
                    f'sum by (route) (rate(alphadrop_api_requests_total{{{_SENT}, outcome=~"ok|accepted"}}'
                    "[$__rate_interval]))",
                    "{{route}}",
                ),
            ),
            width=6,
            stacked=True,
            min=0,
            no_value="no --page or --api",
        ),
        Panel(
            "Refused uploads",
            "Pictures that were not accepted. limited: too many clients wait, or the backlog is too long. refused: not "
            "a picture, too large, a wrong token or parameter.",
            "suffix: /s",
            (
                Query(
                    f'sum by (outcome) (rate(alphadrop_api_requests_total{{{_SENT}, outcome!~"ok|accepted"}}'
                    "[$__rate_interval]))",
                    "{{outcome}}",
                ),
            ),
            width=6,
            stacked=True,
            min=0,
            no_value="none",
            colours={"failed": "red"},
        ),
        Panel(
            "Time of a call",
            "95th percentile, by route. Where the client waits for its cut-out, this covers all of its processing.",
            "s",
            (
                Query(
                    "histogram_quantile(0.95, sum by (le, route) "
                    f"(rate(alphadrop_api_request_duration_seconds_bucket{{{_SENT}}}[5m])))",
                    "{{route}}",
                ),
            ),
            width=6,
            min=0,
            no_value="no uploads",
        ),
    ),
)

"""What arrives?"""

from __future__ import annotations

from scripts.monitoring.panels import Panel, Query, Row

INGESTION = Row(
    "Ingestion: what arrives",
    (
        Panel(
            "Images discovered",
            "Per second, by how. Where events work, reconcile and scan are the images whose event was missed.",
            "suffix: /s",
            (Query("sum by (via) (rate(alphadrop_images_discovered_total[$__rate_interval]))", "{{via}}"),),
            stacked=True,
            min=0,
            runbook="AlphadropEventsMissed",
        ),
        Panel(
            "Found only by listings",
            "Images in the last ten minutes. Stays near 0 after the first listing, unless there are no events at all.",
            "short",
            (Query("sum(increase(alphadrop_reconcile_found_images_total[10m]))", "found"),),
            width=4,
            min=0,
            thresholds=((None, "green"), (100, "yellow")),
            runbook="AlphadropEventsMissed",
        ),
        Panel(
            "Since last listing",
            "Time since the last successful full listing of the source.",
            "s",
            (Query("max(time() - alphadrop_reconcile_last_success_timestamp_seconds)", "ago"),),
            width=4,
            min=0,
            thresholds=((None, "green"), (7200, "red")),
            runbook="AlphadropReconcileStale",
        ),
        Panel(
            "Listings",
            "Mean duration of the full listings, and how many failed in the last hour.",
            "s",
            (
                Query(
                    "sum(increase(alphadrop_reconcile_duration_seconds_sum[1h]))"
                    " / sum(increase(alphadrop_reconcile_duration_seconds_count[1h]))",
                    "seconds",
                ),
                Query('sum(increase(alphadrop_reconcile_runs_total{result="failed"}[1h]))', "failed"),
            ),
            width=4,
            min=0,
            runbook="AlphadropReconcileStale",
        ),
        Panel(
            "Source",
            "Whether every process with a source can watch and list it.",
            "none",
            (Query("min(alphadrop_source_healthy)"),),
            kind="stat",
            width=4,
            thresholds=((None, "red"), (1, "green")),
            value_texts=((0, "unavailable"), (1, "ok")),
            no_value="no source",
            runbook="AlphadropSourceUnhealthy",
        ),
        Panel(
            "Event messages",
            "Per second, by result. ignored: about other objects. invalid: contains no known event.",
            "suffix: /s",
            (Query("sum by (result) (rate(alphadrop_event_messages_total[$__rate_interval]))", "{{result}}"),),
            width=6,
            min=0,
            runbook="AlphadropMessagesInvalid",
        ),
        Panel(
            "Throttled requests",
            "Requests per second that a store or broker has throttled, by operation.",
            "suffix: /s",
            (
                Query(
                    "sum by (operation) (rate(alphadrop_throttled_requests_total[$__rate_interval]))",
                    "{{operation}}",
                ),
            ),
            width=6,
            min=0,
            thresholds=((None, "green"), (1, "yellow")),
            runbook="AlphadropStoreThrottled",
        ),
        Panel(
            "inotify overflows",
            "How often in the last hour the kernel dropped file events. A listing follows at once, so no image is "
            "missed.",
            "short",
            (Query("sum(increase(alphadrop_watch_overflows_total[1h]))", "overflows"),),
            width=6,
            min=0,
            runbook="AlphadropEventsMissed",
        ),
        Panel(
            "Conditional writes",
            "Whether the sink's store honours each condition. no: alphadrop checks the image again after each write "
            "instead. A folder needs no conditions.",
            "none",
            (Query("max by (condition) (alphadrop_sink_conditional_writes)", "{{condition}}"),),
            kind="stat",
            width=6,
            thresholds=((None, "blue"), (1, "green")),
            value_texts=((0, "no"), (1, "yes")),
            no_value="folder",
        ),
    ),
)

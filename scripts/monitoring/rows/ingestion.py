"""What arrives?"""

from __future__ import annotations

from scripts.monitoring.panels import Panel, Query, Row

INGESTION = Row(
    "Ingestion: what arrives",
    (
        Panel(
            "Images noticed",
            "By how, a second. Where events are heard, reconcile and scan are what they have missed.",
            "suffix: /s",
            (Query("sum by (via) (rate(alphadrop_images_discovered_total[$__rate_interval]))", "{{via}}"),),
            stacked=True,
            least=0,
            runbook="AlphadropEventsMissed",
        ),
        Panel(
            "Found by listings alone",
            "Within ten minutes. After the first listing it should stay at 0, unless nobody sends events.",
            "short",
            (Query("sum(increase(alphadrop_reconcile_found_images_total[10m]))", "found"),),
            width=4,
            least=0,
            steps=((None, "green"), (100, "yellow")),
            runbook="AlphadropEventsMissed",
        ),
        Panel(
            "Since the last listing",
            "Time since a full listing of the source has ended well.",
            "s",
            (Query("max(time() - (alphadrop_reconcile_last_success_timestamp_seconds > 0))", "ago"),),
            width=4,
            least=0,
            steps=((None, "green"), (7200, "red")),
            runbook="AlphadropReconcileStale",
        ),
        Panel(
            "Listings",
            "How long they take, in the mean, and how many an hour fail.",
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
            least=0,
            runbook="AlphadropReconcileStale",
        ),
        Panel(
            "Source",
            "Whether arrivals can be noticed, of the processes that watch one.",
            "none",
            (
                Query(
                    "min(alphadrop_source_healthy and on (namespace, job, instance)"
                    " sum by (namespace, job, instance) (alphadrop_reconcile_runs_total) > 0)",
                ),
            ),
            kind="stat",
            width=4,
            steps=((None, "red"), (1, "green")),
            words=((0, "not seen"), (1, "seen")),
            nothing="not watched",
            runbook="AlphadropSourceUnhealthy",
        ),
        Panel(
            "Messages",
            "Events that came as messages, a second. ignored: of others' objects. invalid: no events at all.",
            "suffix: /s",
            (Query("sum by (result) (rate(alphadrop_event_messages_total[$__rate_interval]))", "{{result}}"),),
            width=6,
            least=0,
            runbook="AlphadropMessagesInvalid",
        ),
        Panel(
            "Throttled requests",
            "Requests that a store or broker asked to send more slowly, a second, by operation.",
            "suffix: /s",
            (
                Query(
                    "sum by (operation) (rate(alphadrop_throttled_requests_total[$__rate_interval]))", "{{operation}}"
                ),
            ),
            width=6,
            least=0,
            steps=((None, "green"), (1, "yellow")),
            runbook="AlphadropStoreThrottled",
        ),
        Panel(
            "Events lost by the kernel",
            "Times within an hour that a burst of files was too much for inotify. A listing follows at once.",
            "short",
            (Query("sum(increase(alphadrop_watch_overflows_total[1h]))", "overflows"),),
            width=6,
            least=0,
            runbook="AlphadropEventsMissed",
        ),
        Panel(
            "The sink's conditions",
            "Whether the sink's store keeps older outputs from replacing newer ones. no: alphadrop looks again "
            "after each put. A folder needs none.",
            "none",
            (Query("max by (condition) (alphadrop_sink_conditional_writes)", "{{condition}}"),),
            kind="stat",
            width=6,
            steps=((None, "blue"), (1, "green")),
            words=((0, "no"), (1, "yes")),
        ),
    ),
)

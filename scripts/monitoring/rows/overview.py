"""Is it working, how fast, how far behind?"""

from __future__ import annotations

from scripts.monitoring.panels import Panel, Query, Row

_WRITTEN = 'sum(rate(alphadrop_images_processed_total{outcome="written"}[$__rate_interval]))'
_PENDING = 'max(alphadrop_queue_images{state="pending"})'
_BROKER = "Processes on one broker's queue all see the same queue, so the largest number is taken, not the sum."

OVERVIEW = Row(
    "Overview",
    (
        Panel(
            "Ready",
            "Whether every process can do its work. If not, its page /readyz says which part is missing, and why.",
            "none",
            (Query("min(alphadrop_ready)"),),
            kind="stat",
            width=2,
            height=4,
            steps=((None, "red"), (1, "green")),
            words=((0, "no"), (1, "yes")),
            nothing="no process",
            runbook="AlphadropNotReady",
        ),
        Panel(
            "Alerts",
            "Alerts that fire now. Also 0 where Prometheus has not loaded deploy/prometheus/alerts.yaml.",
            "none",
            (Query('sum(ALERTS{alertname=~"Alphadrop.*", alertstate="firing"}) or vector(0)'),),
            kind="stat",
            width=2,
            height=4,
            steps=((None, "green"), (1, "red")),
        ),
        Panel(
            "Cut-outs written",
            "Outputs that became durable, a second.",
            "suffix: /s",
            (Query(_WRITTEN),),
            kind="stat",
            width=3,
            height=4,
            decimals=2,
        ),
        Panel(
            "Waiting",
            f"Images in the queue that nobody has in hand. {_BROKER}",
            "short",
            (Query(_PENDING),),
            kind="stat",
            width=3,
            height=4,
            runbook="AlphadropBacklogGrows",
        ),
        Panel(
            "Time to empty it",
            f"What waits, at the speed of the last five minutes. Empty while nothing is done. {_BROKER}",
            "s",
            (Query(f"{_PENDING} / (sum(rate(alphadrop_images_processed_total[5m])) > 0)"),),
            kind="stat",
            width=3,
            height=4,
            steps=((None, "green"), (3600, "yellow"), (14400, "red")),
            nothing="nothing ends",
            runbook="AlphadropBacklogGrows",
        ),
        Panel(
            "Oldest waiting",
            "How long the oldest image has waited. Brokers do not tell: look at the time to output.",
            "s",
            (Query("max(time() - (alphadrop_queue_oldest_pending_timestamp_seconds > 0))"),),
            kind="stat",
            width=3,
            height=4,
            steps=((None, "green"), (900, "yellow"), (3600, "red")),
            nothing="none",
            runbook="AlphadropBacklogOld",
        ),
        Panel(
            "Workers ready",
            "Worker processes that take images now; one for each device.",
            "none",
            (Query('sum(alphadrop_workers{state="ready"})'),),
            kind="stat",
            width=3,
            height=4,
            steps=((None, "red"), (1, "green")),
            runbook="AlphadropNoWorkers",
        ),
        Panel(
            "Fullest GPU",
            "The largest share of a card's memory that is in use, by whomever.",
            "percentunit",
            (
                Query(
                    'max(alphadrop_device_memory_bytes{kind="used"}'
                    ' / ignoring (kind) alphadrop_device_memory_bytes{kind="total"})'
                ),
            ),
            kind="stat",
            width=3,
            height=4,
            steps=((None, "green"), (0.9, "yellow"), (0.97, "red")),
            nothing="no GPU",
            runbook="AlphadropMemoryNearlyFull",
        ),
        Panel(
            "Rejected",
            "Images that can never work, within the time shown. Each has a record below _failed/ in the sink.",
            "short",
            (Query('sum(increase(alphadrop_images_processed_total{outcome="rejected"}[$__range]))'),),
            kind="stat",
            width=2,
            height=4,
            steps=((None, "green"), (1, "yellow"), (100, "red")),
            decimals=0,
            runbook="AlphadropRejecting",
        ),
        Panel(
            "Images that end",
            "By outcome, a second. already_done: the output was there. stale, gone: the image has changed or vanished.",
            "suffix: /s",
            (
                Query(
                    "sum by (outcome) (rate(alphadrop_images_processed_total[$__rate_interval]))",
                    "{{outcome}}",
                ),
            ),
            stacked=True,
            least=0,
            colours={"written": "green", "rejected": "red"},
            runbook="AlphadropStalled",
        ),
        Panel(
            "Backlog",
            f"Images that have not ended. {_BROKER} RabbitMQ does not tell what others have in hand.",
            "short",
            (Query("max by (state) (alphadrop_queue_images)", "{{state}}"),),
            least=0,
            runbook="AlphadropBacklogGrows",
        ),
        Panel(
            "From arrival to durable output",
            "How long images take, the time in the queue included: half of them, 95 % and 99 % are faster than this.",
            "s",
            tuple(
                Query(
                    f"histogram_quantile({share},"
                    " sum by (le) (rate(alphadrop_image_duration_seconds_bucket[$__rate_interval])))",
                    name,
                )
                for share, name in ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))
            ),
            least=0,
            runbook="AlphadropBacklogOld",
        ),
    ),
)

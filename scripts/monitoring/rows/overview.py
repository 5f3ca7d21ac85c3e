"""Is it working, how fast, how far behind, what failed?"""

from __future__ import annotations

from scripts.monitoring.panels import Panel, Query, Row

_WRITTEN = 'sum(rate(alphadrop_images_processed_total{outcome="written"}[$__rate_interval]))'
_PENDING = 'max(alphadrop_queue_images{state="pending"})'
_BROKER = "Processes that share a broker's queue all report the same queue, so this is their maximum, not their sum."

OVERVIEW = Row(
    "Overview",
    (
        Panel(
            "Ready",
            "Whether every process is ready. If not, the process's /readyz page says which part is not, and why.",
            "none",
            (Query("min(alphadrop_ready)"),),
            kind="stat",
            width=2,
            height=4,
            thresholds=((None, "red"), (1, "green")),
            value_texts=((0, "no"), (1, "yes")),
            no_value="no process",
            runbook="AlphadropNotReady",
        ),
        Panel(
            "Alerts",
            "Number of firing alerts. Also 0 if Prometheus has not loaded deploy/prometheus/alerts.yaml.",
            "none",
            (Query('sum(ALERTS{alertname=~"Alphadrop.*", alertstate="firing"}) or vector(0)'),),
            kind="stat",
            width=2,
            height=4,
            thresholds=((None, "green"), (1, "red")),
        ),
        Panel(
            "Throughput",
            "Cut-outs written per second.",
            "suffix: /s",
            (Query(_WRITTEN),),
            kind="stat",
            width=3,
            height=4,
            decimals=2,
        ),
        Panel(
            "Pending",
            f"Images in the queue that no worker has leased. {_BROKER}",
            "short",
            (Query(_PENDING),),
            kind="stat",
            width=3,
            height=4,
            no_value="unknown",
            runbook="AlphadropBacklogGrows",
        ),
        Panel(
            "Time to finish backlog",
            f"How long the pending images take at the current throughput. {_BROKER}",
            "s",
            (Query(f"{_PENDING} / (sum(rate(alphadrop_images_processed_total[$__rate_interval])) > 0)"),),
            kind="stat",
            width=3,
            height=4,
            thresholds=((None, "green"), (3600, "yellow"), (14400, "red")),
            no_value="idle",
            runbook="AlphadropBacklogGrows",
        ),
        Panel(
            "Oldest pending",
            "Age of the oldest pending image. Brokers do not report it: see the latency instead.",
            "s",
            (Query(f"max(time() - alphadrop_queue_oldest_pending_timestamp_seconds) or {_PENDING} == 0"),),
            kind="stat",
            width=3,
            height=4,
            thresholds=((None, "green"), (900, "yellow"), (3600, "red")),
            value_texts=((0, "none"),),
            no_value="unknown",
            runbook="AlphadropBacklogOld",
        ),
        Panel(
            "Workers ready",
            "Worker processes that are ready, one for each device.",
            "none",
            (Query('sum(alphadrop_workers{state="ready"})'),),
            kind="stat",
            width=3,
            height=4,
            thresholds=((None, "red"), (1, "green")),
            runbook="AlphadropNoWorkers",
        ),
        Panel(
            "Fullest GPU",
            "Largest share of a GPU's memory that is in use, by any program.",
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
            thresholds=((None, "green"), (0.9, "yellow"), (0.97, "red")),
            no_value="no GPU",
            runbook="AlphadropMemoryNearlyFull",
        ),
        Panel(
            "Rejected",
            "Images rejected in the time range shown. Each has an error record in _failed/ in the sink.",
            "short",
            (Query('sum(increase(alphadrop_images_processed_total{outcome="rejected"}[$__range]))'),),
            kind="stat",
            width=2,
            height=4,
            thresholds=((None, "green"), (1, "yellow"), (100, "red")),
            decimals=0,
            runbook="AlphadropRejecting",
        ),
        Panel(
            "Finished images",
            "Per second, by outcome. already_done: the output existed. stale, gone: the image has changed or was "
            "deleted.",
            "suffix: /s",
            (
                Query(
                    "sum by (outcome) (rate(alphadrop_images_processed_total[$__rate_interval]))",
                    "{{outcome}}",
                ),
            ),
            width=6,
            stacked=True,
            min=0,
            colours={"written": "green", "rejected": "red"},
            runbook="AlphadropStalled",
        ),
        Panel(
            "Failures by reason",
            "Rejected images and transient errors in the last ten minutes. The row Failures shows their stages.",
            "short",
            (Query("sum by (reason) (increase(alphadrop_failures_total[10m])) > 0", "{{reason}}"),),
            width=6,
            min=0,
            runbook="AlphadropRejecting",
        ),
        Panel(
            "Backlog",
            f"Unfinished images in the queue. RabbitMQ does not report how many are in flight. {_BROKER}",
            "short",
            (Query("max by (state) (alphadrop_queue_images)", "{{state}}"),),
            width=6,
            min=0,
            runbook="AlphadropBacklogGrows",
        ),
        Panel(
            "Latency",
            "Time from discovery to the durable output, of the median, 95 % and 99 % of the images.",
            "s",
            tuple(
                Query(
                    f"histogram_quantile({share},"
                    " sum by (le) (rate(alphadrop_image_duration_seconds_bucket[$__rate_interval])))",
                    name,
                )
                for share, name in ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))
            ),
            width=6,
            min=0,
            runbook="AlphadropBacklogOld",
        ),
    ),
)

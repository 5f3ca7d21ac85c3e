"""What failed?"""

from __future__ import annotations

from scripts.monitoring.panels import Panel, Query, Row

FAILURES = Row(
    "Failures: what failed",
    (
        Panel(
            "Failures by stage and reason",
            "Rejected images and transient errors in the last ten minutes.",
            "short",
            (
                Query(
                    "sum by (stage, reason) (increase(alphadrop_failures_total[10m])) > 0",
                    "{{stage}}: {{reason}}",
                ),
            ),
            min=0,
            runbook="AlphadropRejecting",
        ),
        Panel(
            "Rejection rate",
            "Share of rejected images among those written or rejected in the last 30 minutes.",
            "percentunit",
            (
                Query(
                    'sum(increase(alphadrop_images_processed_total{outcome="rejected"}[30m]))'
                    ' / sum(increase(alphadrop_images_processed_total{outcome=~"rejected|written"}[30m]))',
                    "rejected",
                ),
            ),
            min=0,
            thresholds=((None, "green"), (0.1, "red")),
            runbook="AlphadropRejecting",
        ),
        Panel(
            "Retries by stage",
            "Images requeued in the last ten minutes after an error of storage, network or queue.",
            "short",
            (Query("sum by (stage) (increase(alphadrop_retries_total[10m]))", "{{stage}}"),),
            min=0,
            thresholds=((None, "green"), (0.001, "yellow")),
            runbook="AlphadropRetrying",
        ),
        Panel(
            "Worker crashes",
            "Workers that ended unexpectedly in the last ten minutes. Their images are processed again by other "
            "workers.",
            "short",
            (
                Query(
                    "sum by (device, reason) (increase(alphadrop_worker_restarts_total[10m])) > 0",
                    "{{device}}: {{reason}}",
                ),
            ),
            min=0,
            thresholds=((None, "green"), (0.001, "red")),
            runbook="AlphadropWorkersCrash",
        ),
        Panel(
            "Workers by state",
            "starting for long: the model compiles or cannot be loaded. failed: waiting for the next start.",
            "short",
            (Query("sum by (state) (alphadrop_workers)", "{{state}}"),),
            stacked=True,
            min=0,
            runbook="AlphadropNoWorkers",
        ),
        Panel(
            "Not ready, by part",
            "Number of processes in which each part is not ready. stopping is an orderly shutdown.",
            "short",
            (Query("sum by (part) (alphadrop_unready)", "{{part}}"),),
            stacked=True,
            min=0,
            runbook="AlphadropNotReady",
        ),
        Panel(
            "Quarantine by reason",
            "Rejected images that have not been retried with `alphadrop retry`. Embedded queue only.",
            "short",
            (Query("sum by (reason) (alphadrop_quarantined_images)", "{{reason}}"),),
            min=0,
            runbook="AlphadropRejecting",
        ),
        Panel(
            "Crash suspects",
            "Images that were in flight when a worker crashed; they run one at a time. Embedded queue only.",
            "short",
            (Query("sum(alphadrop_queue_crash_suspect_images)", "suspects"),),
            min=0,
            runbook="AlphadropWorkersCrash",
        ),
        Panel(
            "Empty and full cut-outs",
            "Share of outputs that are entirely transparent, or entirely opaque. All other panels count them as "
            "written.",
            "percentunit",
            (
                Query(
                    'sum(rate(alphadrop_matte_coverage_ratio_bucket{le="0.001"}[$__rate_interval]))'
                    " / sum(rate(alphadrop_matte_coverage_ratio_count[$__rate_interval]))",
                    "empty",
                ),
                Query(
                    '1 - sum(rate(alphadrop_matte_coverage_ratio_bucket{le="0.999"}[$__rate_interval]))'
                    " / sum(rate(alphadrop_matte_coverage_ratio_count[$__rate_interval]))",
                    "full",
                ),
            ),
            min=0,
            max=1,
            thresholds=((None, "green"), (0.5, "red")),
            runbook="AlphadropEmptyMattes",
        ),
        Panel(
            "Unsure cut-outs",
            "Share of outputs whose matte has a confidence below 0.5, which `alphadrop review` lists first, and of "
            "those that the strong model of a cascade saw, too.",
            "percentunit",
            (
                Query(
                    'sum(rate(alphadrop_confidence_ratio_bucket{le="0.5"}[$__rate_interval]))'
                    " / sum(rate(alphadrop_confidence_ratio_count[$__rate_interval]))",
                    "confidence below 0.5",
                ),
                Query(
                    'sum(rate(alphadrop_images_by_model_total{model=~"fast_kept|strong"}[$__rate_interval]))'
                    " / sum(rate(alphadrop_images_by_model_total[$__rate_interval]))",
                    "seen by the strong model",
                ),
            ),
            min=0,
            max=1,
        ),
        Panel(
            "Lease extensions",
            "Extensions of messages' leases per second. lost: another worker processes the message as well.",
            "suffix: /s",
            (Query("sum by (result) (rate(alphadrop_lease_extensions_total[$__rate_interval]))", "{{result}}"),),
            min=0,
            runbook="AlphadropLeasesLost",
        ),
    ),
)

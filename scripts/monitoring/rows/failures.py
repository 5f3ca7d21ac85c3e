"""What failed?"""

from __future__ import annotations

from scripts.monitoring.panels import Panel, Query, Row

FAILURES = Row(
    "Failures: what failed",
    (
        Panel(
            "Failures",
            "By stage and reason, within ten minutes: images that can never work, and troubles that pass.",
            "short",
            (
                Query(
                    "sum by (stage, reason) (increase(alphadrop_failures_total[10m])) > 0",
                    "{{stage}}: {{reason}}",
                ),
            ),
            least=0,
            runbook="AlphadropRejecting",
        ),
        Panel(
            "Rejected, share",
            "Of the images that were written or rejected within half an hour.",
            "percentunit",
            (
                Query(
                    'sum(increase(alphadrop_images_processed_total{outcome="rejected"}[30m]))'
                    ' / sum(increase(alphadrop_images_processed_total{outcome=~"rejected|written"}[30m]))',
                    "rejected",
                ),
            ),
            least=0,
            steps=((None, "green"), (0.1, "red")),
            runbook="AlphadropRejecting",
        ),
        Panel(
            "Given back, by stage",
            "Images that will be tried again, since storage, network or queue were in trouble; within ten minutes.",
            "short",
            (Query("sum by (stage) (increase(alphadrop_retries_total[10m]))", "{{stage}}"),),
            least=0,
            steps=((None, "green"), (0.001, "yellow")),
            runbook="AlphadropRetrying",
        ),
        Panel(
            "Workers that died",
            "Within ten minutes, by device and reason. What they had in hand is done again, by others.",
            "short",
            (
                Query(
                    "sum by (device, reason) (increase(alphadrop_worker_restarts_total[10m])) > 0",
                    "{{device}}: {{reason}}",
                ),
            ),
            least=0,
            steps=((None, "green"), (0.001, "red")),
            runbook="AlphadropWorkersCrash",
        ),
        Panel(
            "Workers, by state",
            "starting for long: the model is compiled, or cannot be loaded. failed: waits before the next try.",
            "short",
            (Query("sum by (state) (alphadrop_workers)", "{{state}}"),),
            stacked=True,
            least=0,
            runbook="AlphadropNoWorkers",
        ),
        Panel(
            "Not ready because of",
            "Which part keeps how many processes from being ready. stopping is a drain, and no trouble.",
            "short",
            (Query("sum by (part) (alphadrop_unready)", "{{part}}"),),
            stacked=True,
            least=0,
            runbook="AlphadropNotReady",
        ),
        Panel(
            "In quarantine",
            "Rejected images that wait for `alphadrop retry`, by reason; the embedded queue alone knows them.",
            "short",
            (Query("sum by (reason) (alphadrop_quarantined_images)", "{{reason}}"),),
            least=0,
            runbook="AlphadropRejecting",
        ),
        Panel(
            "Suspects",
            "Images that a dying worker had in hand: they are done one at a time, until one is found guilty or none.",
            "short",
            (Query("sum(alphadrop_queue_crash_suspect_images)", "suspects"),),
            least=0,
            runbook="AlphadropWorkersCrash",
        ),
        Panel(
            "Empty and full cut-outs",
            "Outputs that show nothing, and outputs with nothing cut away. They count as success everywhere else.",
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
            least=0,
            most=1,
            steps=((None, "green"), (0.5, "red")),
            runbook="AlphadropEmptyMattes",
        ),
        Panel(
            "Leases",
            "Messages that were to be kept from others while they are worked on. lost: somebody else does them too.",
            "suffix: /s",
            (Query("sum by (result) (rate(alphadrop_lease_extensions_total[$__rate_interval]))", "{{result}}"),),
            least=0,
            runbook="AlphadropLeasesLost",
        ),
    ),
)

"""What is slow?"""

from __future__ import annotations

from scripts.monitoring.panels import Panel, Query, Row

PIPELINE = Row(
    "Pipeline: what is slow",
    (
        Panel(
            "Mean time per stage",
            "Mean seconds that an image spends in each stage. Work on the largest one; queue_wait only shows the load.",
            "s",
            (
                Query(
                    "sum by (stage) (rate(alphadrop_stage_duration_seconds_sum[$__rate_interval]))"
                    " / on () group_left () sum(rate(alphadrop_image_duration_seconds_count[$__rate_interval]))",
                    "{{stage}}",
                ),
            ),
            stacked=True,
            min=0,
        ),
        Panel(
            "95th percentile per stage",
            "95 % of the images spend less than this in each stage.",
            "s",
            (
                Query(
                    "histogram_quantile(0.95,"
                    " sum by (stage, le) (rate(alphadrop_stage_duration_seconds_bucket[$__rate_interval])))",
                    "{{stage}}",
                ),
            ),
            min=0,
        ),
        Panel(
            "In flight by stage",
            "Images in each stage now. The stage in which they pile up is the bottleneck.",
            "short",
            (Query("sum by (stage) (alphadrop_images_in_flight)", "{{stage}}"),),
            stacked=True,
            min=0,
        ),
        Panel(
            "Latency distribution",
            "Time from discovery to output. The brighter a cell, the more images took that long.",
            "s",
            (Query("sum by (le) (increase(alphadrop_image_duration_seconds_bucket[$__rate_interval]))", "{{le}}"),),
            kind="heatmap",
        ),
        Panel(
            "Bytes",
            "Bytes of images read and of outputs written, per second.",
            "Bps",
            (
                Query("sum(rate(alphadrop_read_bytes_total[$__rate_interval]))", "read"),
                Query("sum(rate(alphadrop_written_bytes_total[$__rate_interval]))", "written"),
            ),
            min=0,
        ),
        Panel(
            "Pixels",
            "Pixels of outputs written per second: a throughput that accounts for the sizes of the images.",
            "suffix: px/s",
            (Query("sum(rate(alphadrop_written_pixels_total[$__rate_interval]))", "written"),),
            min=0,
        ),
    ),
)

BATCHES = Row(
    "Batches",
    (
        Panel(
            "Batch size",
            "Mean number of images in a batch, and the current limit: halved when memory runs out, raised again later.",
            "short",
            (
                Query(
                    "sum by (device) (rate(alphadrop_batch_size_sum[$__rate_interval]))"
                    " / sum by (device) (rate(alphadrop_batch_size_count[$__rate_interval]))",
                    "{{device}} mean",
                ),
                Query("max by (device) (alphadrop_batch_size_limit)", "{{device}} limit"),
            ),
            width=6,
            min=0,
            runbook="AlphadropOutOfMemory",
        ),
        Panel(
            "Batch fill",
            "Images per slot, padding included. Low under high load: images reach the device too slowly.",
            "percentunit",
            (
                Query(
                    "sum by (device) (rate(alphadrop_batch_size_sum[$__rate_interval]))"
                    " / sum by (device) (rate(alphadrop_batch_slots_total[$__rate_interval]))",
                    "{{device}}",
                ),
            ),
            width=6,
            min=0,
            max=1,
        ),
        Panel(
            "Batches by trigger",
            "full: the limit was reached. idle: no other image was being decoded. timeout: one was, but took too long.",
            "suffix: /s",
            (Query("sum by (trigger) (rate(alphadrop_batches_total[$__rate_interval]))", "{{trigger}}"),),
            width=6,
            stacked=True,
            min=0,
        ),
        Panel(
            "Batch size distribution",
            "The brighter a cell, the more batches had that many images.",
            "short",
            (Query("sum by (le) (increase(alphadrop_batch_size_bucket[$__rate_interval]))", "{{le}}"),),
            kind="heatmap",
            width=6,
        ),
    ),
)

"""What is slow?"""

from __future__ import annotations

from scripts.monitoring.panels import Panel, Query, Row

PIPELINE = Row(
    "Pipeline: what is slow",
    (
        Panel(
            "Where an image's time goes",
            "Mean seconds of an image in each stage. The thickest band is what to work on; queue_wait is load.",
            "s",
            (
                Query(
                    "sum by (stage) (rate(alphadrop_stage_duration_seconds_sum[$__rate_interval]))"
                    " / on () group_left () sum(rate(alphadrop_image_duration_seconds_count[$__rate_interval]))",
                    "{{stage}}",
                ),
            ),
            stacked=True,
            least=0,
        ),
        Panel(
            "Each stage, 95 %",
            "95 % of the images pass each stage in less than this.",
            "s",
            (
                Query(
                    "histogram_quantile(0.95,"
                    " sum by (stage, le) (rate(alphadrop_stage_duration_seconds_bucket[$__rate_interval])))",
                    "{{stage}}",
                ),
            ),
            least=0,
        ),
        Panel(
            "Images in hand, by stage",
            "Where images are now. A stage in which they pile up is the narrowest one.",
            "short",
            (Query("sum by (stage) (alphadrop_images_in_flight)", "{{stage}}"),),
            stacked=True,
            least=0,
        ),
        Panel(
            "Arrival to output, all images",
            "Each column is a moment; the brighter, the more images took so long.",
            "s",
            (Query("sum by (le) (increase(alphadrop_image_duration_seconds_bucket[$__rate_interval]))", "{{le}}"),),
            kind="heatmap",
        ),
        Panel(
            "Bytes",
            "Bytes of images read and of outputs written, a second.",
            "Bps",
            (
                Query("sum(rate(alphadrop_read_bytes_total[$__rate_interval]))", "read"),
                Query("sum(rate(alphadrop_written_bytes_total[$__rate_interval]))", "written"),
            ),
            least=0,
        ),
        Panel(
            "Pixels",
            "Pixels of outputs written, a second: what the work really amounts to when sizes differ.",
            "suffix: px/s",
            (Query("sum(rate(alphadrop_written_pixels_total[$__rate_interval]))", "written"),),
            least=0,
        ),
    ),
)

BATCHES = Row(
    "Batches",
    (
        Panel(
            "Images in a batch",
            "The mean, and the most that the device allows now: halved when memory runs out, raised again later.",
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
            least=0,
            runbook="AlphadropOutOfMemory",
        ),
        Panel(
            "How full batches are",
            "Images to places in a batch, padding among them. Low where load is low; else images come too slowly.",
            "percentunit",
            (
                Query(
                    "sum by (device) (rate(alphadrop_batch_size_sum[$__rate_interval]))"
                    " / sum by (device) (rate(alphadrop_batch_slots_total[$__rate_interval]))",
                    "{{device}}",
                ),
            ),
            width=6,
            least=0,
            most=1,
        ),
        Panel(
            "Why batches are closed",
            "full: as many as allowed. idle: nothing more was on its way. timeout: more was, and did not come in time.",
            "suffix: /s",
            (Query("sum by (trigger) (rate(alphadrop_batches_total[$__rate_interval]))", "{{trigger}}"),),
            width=6,
            stacked=True,
            least=0,
        ),
        Panel(
            "Batch sizes",
            "Each column is a moment; the brighter, the more batches had so many images.",
            "short",
            (Query("sum by (le) (increase(alphadrop_batch_size_bucket[$__rate_interval]))", "{{le}}"),),
            kind="heatmap",
            width=6,
        ),
    ),
)

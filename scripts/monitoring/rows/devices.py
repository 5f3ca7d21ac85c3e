"""Is the GPU full?"""

from __future__ import annotations

from scripts.monitoring.panels import Panel, Query, Row

DEVICES = Row(
    "Devices: is the GPU full",
    (
        Panel(
            "Memory",
            "used: by whomever, of total. process: by the worker. allocated: by its tensors, peak: the most of it. "
            "reserved: kept by torch for reuse, which is no leak.",
            "bytes",
            (Query("max by (device, kind) (alphadrop_device_memory_bytes)", "{{device}} {{kind}}"),),
            width=12,
            least=0,
            runbook="AlphadropMemoryNearlyFull",
        ),
        Panel(
            "Busy with batches",
            "Share of the time in which a batch was on the device. Low beside a backlog: CPU or storage is the limit.",
            "percentunit",
            (
                Query(
                    "sum by (device) (rate(alphadrop_device_busy_seconds_total[$__rate_interval]))"
                    " / count by (device) (alphadrop_device_busy_seconds_total)",
                    "{{device}}",
                ),
            ),
            width=6,
            least=0,
            most=1,
        ),
        Panel(
            "Utilisation",
            "Share of the time in which the card did anything, for whomever, as its driver tells.",
            "percentunit",
            (Query("max by (device) (alphadrop_device_utilization_ratio)", "{{device}}"),),
            width=6,
            least=0,
            most=1,
        ),
        Panel(
            "Power",
            "What each card draws.",
            "watt",
            (Query("max by (device) (alphadrop_device_power_watts)", "{{device}}"),),
            width=6,
            least=0,
        ),
        Panel(
            "Temperature",
            "Cards slow themselves down when they are hot, most of them from 85 to 90 degrees on.",
            "celsius",
            (Query("max by (device) (alphadrop_device_temperature_celsius)", "{{device}}"),),
            width=6,
            least=20,
            steps=((None, "green"), (85, "yellow"), (90, "red")),
        ),
        Panel(
            "Images in hand, by worker",
            "What each worker reads, decodes, infers, encodes and writes now. 0 beside a backlog: it is stuck.",
            "short",
            (Query("sum by (device) (alphadrop_worker_images_in_flight)", "{{device}}"),),
            width=6,
            least=0,
            runbook="AlphadropStalled",
        ),
        Panel(
            "Out of memory",
            "Batches that did not fit and were done in pieces, within ten minutes. A few are how the limit is found.",
            "short",
            (Query("sum by (device) (increase(alphadrop_device_out_of_memory_total[10m]))", "{{device}}"),),
            width=6,
            least=0,
            steps=((None, "green"), (0.001, "yellow")),
            runbook="AlphadropOutOfMemory",
        ),
        Panel(
            "Devices",
            "What each worker runs on, and with which model.",
            "none",
            (Query("max by (instance, device, name, model) (alphadrop_device_info)"),),
            kind="table",
            width=12,
            height=6,
        ),
        Panel(
            "What runs",
            "Versions, models and the digests of their weights: more than one line for long is a rollout that hangs.",
            "none",
            (Query("count by (version, model, digest) (alphadrop_build_info)"),),
            kind="table",
            width=12,
            height=6,
        ),
    ),
)

PROCESSES = Row(
    "Processes",
    (
        Panel(
            "Main memory",
            "Of supervisors, and of the worker processes by device. It does not grow with the number of images.",
            "bytes",
            (
                Query(
                    "process_resident_memory_bytes and on (namespace, job, instance) alphadrop_build_info",
                    "{{instance}}",
                ),
                Query("alphadrop_worker_resident_memory_bytes", "{{instance}} {{device}}"),
            ),
            least=0,
        ),
        Panel(
            "Cores in use",
            "By supervisors, and by the worker processes. All of the allowed ones are in use: the CPU is the limit.",
            "short",
            (
                Query(
                    "rate(process_cpu_seconds_total[$__rate_interval])"
                    " and on (namespace, job, instance) alphadrop_build_info",
                    "{{instance}}",
                ),
                Query("rate(alphadrop_worker_cpu_seconds_total[$__rate_interval])", "{{instance}} {{device}}"),
            ),
            least=0,
        ),
        Panel(
            "Running for",
            "Time since each supervisor has started. A saw is a process that is killed again and again.",
            "s",
            (
                Query(
                    "time() - (process_start_time_seconds and on (namespace, job, instance) alphadrop_build_info)",
                    "{{instance}}",
                ),
            ),
            least=0,
            runbook="AlphadropRestarts",
        ),
    ),
)

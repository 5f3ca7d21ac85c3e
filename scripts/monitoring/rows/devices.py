"""Is the GPU the limit? And what each process uses."""

from __future__ import annotations

from scripts.monitoring.panels import Panel, Query, Row

DEVICES = Row(
    "Devices: is the GPU the limit",
    (
        Panel(
            "Memory",
            "total, used: the whole GPU, all programs. process: this worker. allocated: its tensors; peak: their "
            "maximum. reserved: kept by torch for reuse, which is not a leak.",
            "bytes",
            (Query("max by (device, kind) (alphadrop_device_memory_bytes)", "{{device}} {{kind}}"),),
            width=12,
            min=0,
            runbook="AlphadropMemoryNearlyFull",
        ),
        Panel(
            "Busy with batches",
            "Share of time in which the device ran a batch. Low while images are pending: CPU or storage is the limit.",
            "percentunit",
            (
                Query(
                    "sum by (device) (rate(alphadrop_device_busy_seconds_total[$__rate_interval]))"
                    " / count by (device) (alphadrop_device_busy_seconds_total)",
                    "{{device}}",
                ),
            ),
            width=6,
            min=0,
            max=1,
        ),
        Panel(
            "Utilization",
            "Share of time in which the GPU ran a kernel of any program, as NVML reports it.",
            "percentunit",
            (Query("max by (device) (alphadrop_device_utilization_ratio)", "{{device}}"),),
            width=6,
            min=0,
            max=1,
        ),
        Panel(
            "Power",
            "Power draw of each GPU.",
            "watt",
            (Query("max by (device) (alphadrop_device_power_watts)", "{{device}}"),),
            width=6,
            min=0,
        ),
        Panel(
            "Temperature",
            "Most GPUs throttle at 85 to 90 degrees.",
            "celsius",
            (Query("max by (device) (alphadrop_device_temperature_celsius)", "{{device}}"),),
            width=6,
            min=20,
            thresholds=((None, "green"), (85, "yellow"), (90, "red")),
        ),
        Panel(
            "In flight by worker",
            "Images that each worker is processing. 0 while images are pending: the worker is stuck.",
            "short",
            (Query("sum by (device) (alphadrop_worker_images_in_flight)", "{{device}}"),),
            width=6,
            min=0,
            runbook="AlphadropStalled",
        ),
        Panel(
            "Out of memory",
            "Batches in the last ten minutes that did not fit and were split. A few are normal: they reveal the limit.",
            "short",
            (Query("sum by (device) (increase(alphadrop_device_out_of_memory_total[10m]))", "{{device}}"),),
            width=6,
            min=0,
            thresholds=((None, "green"), (0.001, "yellow")),
            runbook="AlphadropOutOfMemory",
        ),
        Panel(
            "Devices",
            "The device and the model of each worker.",
            "none",
            (Query("max by (instance, device, name, model) (alphadrop_device_info)"),),
            kind="table",
            width=12,
            height=6,
        ),
        Panel(
            "Versions and models",
            "Versions, models and the digests of their weights. More than one line for long: a rollout is stuck.",
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
            "Of supervisors, and of worker processes by device. It does not grow with the number of images.",
            "bytes",
            (
                Query(
                    "process_resident_memory_bytes and on (namespace, job, instance) alphadrop_build_info",
                    "{{instance}}",
                ),
                Query("alphadrop_worker_resident_memory_bytes", "{{instance}} {{device}}"),
            ),
            min=0,
        ),
        Panel(
            "Cores in use",
            "By supervisors and worker processes. When all allowed cores are in use, the CPU is the limit.",
            "short",
            (
                Query(
                    "rate(process_cpu_seconds_total[$__rate_interval])"
                    " and on (namespace, job, instance) alphadrop_build_info",
                    "{{instance}}",
                ),
                Query("rate(alphadrop_worker_cpu_seconds_total[$__rate_interval])", "{{instance}} {{device}}"),
            ),
            min=0,
        ),
        Panel(
            "Uptime",
            "Time since each supervisor started. A sawtooth is a process that keeps restarting.",
            "s",
            (
                Query(
                    "time() - (process_start_time_seconds and on (namespace, job, instance) alphadrop_build_info)",
                    "{{instance}}",
                ),
            ),
            min=0,
            runbook="AlphadropRestarts",
        ),
    ),
)

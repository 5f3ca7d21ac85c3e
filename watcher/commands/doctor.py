"""`alphadrop doctor`: check what the daemon needs, here and in folders, buckets and queues, and say what to fix."""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inference.codec import decode, encode
from inference.errors import InferenceError, ModelError
from inference.models.entry import ModelEntry
from inference.models.registry import resolve
from inference.models.thirdparty.known import KNOWN
from inference.picture import Cutout
from watcher.commands.check import Check
from watcher.commands.command import Command, ExitCode
from watcher.commands.terminal import make_table, number_of
from watcher.config.flags import add_settings_arguments
from watcher.config.load import MissingSourceOrSink, load_settings, nearest_variable, unknown_variables
from watcher.config.preflight import check_settings
from watcher.config.settings import OUTPUT_SETTINGS, Group, Settings
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError, WatcherError
from watcher.core.python import python
from watcher.fleet.cores import available_cores
from watcher.fleet.devices import plan_workers
from watcher.fleet.model_check import problem_with
from watcher.queues.brokers.base import Broker
from watcher.queues.brokers.sqs import SqsBroker
from watcher.stores.s3_config import NO_CONDITIONAL_WRITES
from watcher.wiring import Wiring

_ASK_TORCH = """
import json, torch
from inference.device.driver import cuda_problem
count = torch.cuda.device_count()
problem = cuda_problem() if count else ""
gpus = [] if problem else [torch.cuda.get_device_properties(i) for i in range(count)]
print(json.dumps({"torch": torch.__version__, "problem": problem, "gpus": [[g.name, g.total_memory] for g in gpus]}))
"""
INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")
LEAST_FREE = 1 << 30
LEAST_OPEN_FILES = 1024
_MARKS = {True: "[green]OK[/]", False: "[red]TO DO[/]", None: "[yellow]NOTE[/]"}
FEWEST_RECEIVES = 10
"""An image that kills its workers is rejected at the fifth delivery; deliveries that no worker gets count as well."""


def doctor(args: argparse.Namespace) -> ExitCode:
    """Print every check; the exit code is 2 if one of them found something to fix."""
    checks = list(run_checks(args))
    Console().print(checks_table(checks))
    return ExitCode.OK if all(check.ok is not False for check in checks) else ExitCode.USAGE


def run_checks(args: argparse.Namespace) -> Iterator[Check]:
    """Check the machine and the model; and source, sink and queue if they are given."""
    try:
        settings, has_source_and_sink = load_settings(args), True
    except MissingSourceOrSink as error:
        settings, has_source_and_sink = load_settings(args, need_source_and_sink=False), False
        if len(error.missing) == 1:
            yield Check("source and sink", False, str(error))
    except ConfigurationError as error:
        yield Check("settings", False, str(error))
        return
    for name in unknown_variables():
        yield Check("settings", None, f"{name} is not a setting; the nearest one is {nearest_variable(name)}")
    yield _check_python()
    yield from _check_devices(settings)
    yield _check_codecs()
    yield _check_weights(settings)
    yield from _check_outputs(settings)
    yield _check_open_files()
    if has_source_and_sink:
        yield from _check_source_and_sink(settings)


def checks_table(checks: Sequence[Check]) -> Table:
    """One line for each check."""
    table = make_table("", "what", "finding")
    for check in checks:
        table.add_row(_MARKS[check.ok], check.what, Text(check.finding))
    return table


# This machine.


def _check_python() -> Check:
    python = ".".join(map(str, sys.version_info[:3]))
    return Check("python", sys.version_info >= (3, 11), f"{python}, {available_cores():g} cores allowed")


def _check_devices(settings: Settings) -> Iterator[Check]:
    answer = subprocess.run(python("-c", _ASK_TORCH), capture_output=True, text=True, check=False)
    if answer.returncode:
        why = answer.stderr.strip().splitlines()[-1]
        yield Check("torch", False, f"{why}; `run`, `once` and `work` need it: pip install 'alphadrop[engine]'")
        return
    found = json.loads(answer.stdout)
    gpus = found["gpus"]
    names = ", ".join(f"{name} ({memory / 2**30:.0f} GiB)" for name, memory in gpus) or "no GPU"
    yield Check("torch", True, f"{found['torch']}, {names}")
    if found["problem"]:
        yield Check("driver", False, found["problem"])
    third_party = _is_third_party(settings)
    workers = plan_workers(
        settings.devices,
        settings.threads,
        third_party=third_party,
        count=lambda: len(gpus),
        gpu_memory=lambda: min(memory for _, memory in gpus),
    )
    known = {"cpu", "cuda", *(f"cuda:{index}" for index in range(len(gpus)))}
    missing = sorted(set(workers.devices) - known)
    remedy = "not visible here; use --devices auto, or check the driver with nvidia-smi"
    yield Check("devices", not missing, f"{', '.join(missing)}: {remedy}" if missing else str(workers))


def _is_third_party(settings: Settings) -> bool:
    """Whether the model is a third-party one. A model that cannot be used is left to the check of the weights."""
    try:
        return bool(_resolve(settings).contract)
    except ModelError:
        return False


def _resolve(settings: Settings) -> ModelEntry:
    return resolve(settings.model, settings.canvas, settings.model_contract, settings.rembg_path)


def _check_codecs() -> Check:
    """Encode a cut-out and decode it again."""
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[16:48, 16:48] = (200, 30, 10, 255)
    try:
        back = decode(encode(Cutout(pixels), text={}))
    except (InferenceError, OSError) as error:
        return Check("codecs", False, f"a cut-out could not be read back: {error}; reinstall pillow and isal")
    exact = bool((back.pixels[16:48, 16:48] == (200, 30, 10)).all())
    changed = "a cut-out was read back with other colours; reinstall pillow and isal"
    heic = "HEIC" if find_spec("pillow_heif") else "no HEIC: pip install 'alphadrop[heic]' adds it"
    return Check("codecs", exact, f"JPEG, PNG, WEBP, TIFF, BMP, GIF, AVIF, {heic}" if exact else changed)


def _check_weights(settings: Settings) -> Check:
    try:
        entry = _resolve(settings)
    except ModelError as error:
        return Check("weights", False, str(error))
    problem = problem_with(entry, run=True) if entry.contract else ""
    if problem:
        return Check("weights", False, problem)
    facts = [f"canvas {entry.canvas or 'as the picture'}", f"sha256 {entry.digest[:12]}"]
    facts += _origin(entry)
    facts += [f"contract {entry.contract}, tried on the CPU"] if entry.contract else []
    return Check("weights", True, f"{entry.name}: " + ", ".join(facts) + (f"; {entry.limits}" if entry.limits else ""))


def _origin(entry: ModelEntry) -> list[str]:
    """The licence of a known model; or that its file is not the one that is known."""
    known = KNOWN.get(entry.name)
    if known is None:
        return []
    return [f"licence {known.licence.name}" if known.sha256 == entry.digest else "not the file that rembg publishes"]


def _check_outputs(settings: Settings) -> Iterator[Check]:
    """Which outputs are made, and whether their backgrounds can be read."""
    try:
        wiring = Wiring.of(settings)
    except ConfigurationError:  # the check of the weights reports it
        return
    try:
        outputs = wiring.recipe.outputs
    except ConfigurationError as error:
        yield Check("outputs", False, str(error))
    else:
        yield Check("outputs", True, ", ".join(f"{output.name} ({output.pattern})" for output in outputs))


def _check_open_files() -> Check:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft >= LEAST_OPEN_FILES
    return Check("open files", enough, f"{soft} allowed" + ("" if enough else "; raise the limit: ulimit -n 4096"))


# Folders.


def _check_source_and_sink(settings: Settings) -> Iterator[Check]:
    try:
        check_settings(settings)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            yield Check("source and sink", False, line)
        return
    queue = "" if settings.queue else f", queue in {settings.state_path}"
    yield Check("source and sink", True, f"{settings.source_uri} to {settings.sink_uri}{queue}")
    if settings.source_path:
        yield _check_inotify(settings.source_path)
    if settings.sink_path:
        yield _check_space(settings.sink_path)
    yield from _check_services(settings)


def _check_inotify(source: Path) -> Check:
    if not INOTIFY_LIMIT.exists():
        return Check("events", True, "this system does not limit the number of watched folders")
    allowed = int(INOTIFY_LIMIT.read_text())
    folders = sum(1 for _ in os.walk(source))
    enough = folders < allowed
    remedy = f"; raise it: sysctl fs.inotify.max_user_watches={folders * 2}, or use --watch polling"
    return Check(
        "events", enough, f"{number_of(folders, 'folder')} to watch, {allowed:,} allowed" + ("" if enough else remedy)
    )


def _check_space(sink: Path) -> Check:
    nearest = next(path for path in (sink, *sink.parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    enough = free >= LEAST_FREE
    remedy = "" if enough else "; make room: outputs are about as large as the images"
    return Check("space", enough, f"{free / 2**30:.1f} GiB free below {nearest}{remedy}")


# Buckets and queues.


def _check_services(settings: Settings) -> Iterator[Check]:
    """Check the bucket or queue behind each of source, sink, queue and events that has one."""
    try:
        wiring = Wiring.of(settings)
    except ConfigurationError:  # the check of the weights reports it
        return
    if settings.source_path is None:
        yield _attempt("source", partial(_list_source, wiring))
    if settings.sink_path is None:
        yield _attempt("sink", partial(_probe_sink, wiring))
    for what, address in (("queue", settings.queue), ("events", settings.events)):
        if "://" in address:
            yield _attempt(what, partial(_inspect_queue, wiring, address))
    if settings.source_path is None and (settings.queue or settings.events != "listing"):
        from watcher.commands.event_delivery import check_event_delivery  # imports what folders do not need

        yield from check_event_delivery(wiring)
    if settings.notify:
        yield _attempt("notify", partial(_check_receiver, wiring))


def _attempt(what: str, find_out: Callable[[], str]) -> Check:
    try:
        return Check(what, True, find_out())
    except WatcherError as error:
        return Check(what, False, str(error))


def _list_source(wiring: Wiring) -> str:
    first = next(wiring.open_source(Counts()).list(), None)
    return f"{wiring.source} can be listed" + ("" if first else "; it is empty")


def _probe_sink(wiring: Wiring) -> str:
    conditions = wiring.open_sink(Counts()).probe_conditional_writes() or NO_CONDITIONAL_WRITES
    enforced = [
        *(["If-None-Match"] if conditions.if_none_match else []),
        *([f"If-Match ({conditions.if_match} ETags)"] if conditions.if_match else []),
    ]
    if len(enforced) == 2:
        return f"{wiring.sink} can be written to, and enforces {' and '.join(enforced)}"
    return (
        f"{wiring.sink} can be written to, but enforces {enforced[0] if enforced else 'no conditional writes'}: after "
        "each output the image is checked once more, in case two workers wrote at the same time"
    )


def _check_receiver(wiring: Wiring) -> str:
    """Whether the receiver of notifications can be reached; a webhook gets one of the type `test`."""
    assert wiring.notifications is not None, "there is a receiver"
    with closing(wiring.open_target(Counts())) as target:
        return target.check(wiring.notifications.test())


def _inspect_queue(wiring: Wiring, address: str) -> str:
    broker = wiring.open_broker(address, Counts(), prefetch=1)
    try:
        depth = broker.depth()
        return f"{broker.name}: {depth.pending:,} pending, {depth.in_flight:,} in flight{_inspect_redrive(broker)}"
    finally:
        broker.close()


def _inspect_redrive(broker: Broker) -> str:
    """Where SQS puts messages that are received too often. Raises ConfigurationError where that is too soon."""
    if not isinstance(broker, SqsBroker):
        return ""
    redrive = broker.redrive()
    if not redrive.dead_letters:
        return "; it has no dead-letter queue: messages that are not events will be deleted"
    if redrive.max_receives < FEWEST_RECEIVES:
        raise ConfigurationError(
            f"{broker.name} moves a message to the dead-letter queue after {redrive.max_receives} deliveries, which "
            f"may be before alphadrop can tell what is wrong with an image: set maxReceiveCount to {FEWEST_RECEIVES} "
            "or more"
        )
    return f"; dead letters after {redrive.max_receives} deliveries go to {redrive.dead_letters.rpartition(':')[2]}"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    places = (
        "source",
        "sink",
        "state",
        "queue",
        "visibility",
        Group.S3,
        "exclude_sink",
        "exclude",
        "after",
        Group.NOTIFY,
        "events",
    )
    add_settings_arguments(parser, *places, "events_token", "devices", "watch", *OUTPUT_SETTINGS)


COMMAND = Command(
    """\
Give it the flags of the command that you want to run, but for those of the page,
of throughput and of logs. Without source and sink it checks only the machine and
the model. In a bucket that is the sink, it
writes a small object, to see which conditional writes work, and deletes it.
With --events, it follows the way of an event from the bucket to the queue. A
webhook that --notify names gets one notification of the type `test`.""",
    """\
examples:
  alphadrop doctor                          this machine
  alphadrop doctor photos cutouts           and these folders
  alphadrop doctor --model mine.onnx        and whether this model can be used
  alphadrop doctor s3://in s3://out --queue sqs://alphadrop --events queue
                                            and these buckets and this queue, and
                                            whether events get from one to the other

Exit code:
  0  all is well
  2  a check is marked TO DO, with what to do; NOTE marks what is worth knowing,
     or could not be found out""",
    _add_arguments,
    doctor,
    "[SOURCE SINK]",
)

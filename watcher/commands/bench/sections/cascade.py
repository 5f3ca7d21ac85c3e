"""Section `cascade`: what a strong model for a share of the pictures costs, beside each model alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from inference.errors import ModelError
from inference.models.entry import ModelEntry
from inference.models.registry import resolve
from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.engine.engine_process import start_processes
from watcher.commands.bench.report import Section, Table
from watcher.commands.bench.stats import ratios, spread
from watcher.commands.bench.workload import size_label
from watcher.config.settings import rembg_path

Seconds = Mapping[str, Mapping[str, Sequence[float]]]
"""`wall` and `cpu` of each repeat, by way: the fast model, the strong one, the cascade."""


def measure(context: BenchContext) -> Section:
    """Measure at the share of the options, with the strong model if its file is here."""
    try:
        entry = resolve(context.strong, None, folder=rembg_path())
    except ModelError as error:
        return _section((f"Not measured without a strong model. {error}",))
    if entry.kind == "onnx" and find_spec("onnxruntime") is None:
        return _section(("Not measured: onnxruntime is missing. pip install 'alphadrop[onnx]'",))
    count = context.workload.cascade_images
    sent = round(context.strong_share * count)
    files = context.photos(context.workload.square)
    with start_processes(context.first_group, context.model, context.canvas) as (process, *_):
        context.show(f"{context.model} and {context.strong}")
        found: Seconds = process.ask(
            "cascade", files=files, strong=context.strong, count=count, sent=sent, repeats=context.workload.repeats
        )
    return _section((_text(context, entry, count, sent),), (ways_table(found, count),), findings(found, count, sent))


def _text(context: BenchContext, entry: ModelEntry, count: int, sent: int) -> str:
    return (
        f"{count} decoded pictures of {size_label(context.workload.square)}, without codecs, through {context.model}, "
        f"through {entry.name}, and through a cascade of both that sends {sent} of them on to {entry.name}; the three "
        "in turn, on one device. Which pictures go on is fixed here, so this says nothing about quality."
    )


def _section(text: tuple[str, ...], tables: tuple[Table, ...] = (), findings: tuple[str, ...] = ()) -> Section:
    return Section(key="cascade", title="A cascade of two models", text=text, tables=tables, findings=findings)


def ways_table(found: Seconds, count: int) -> Table:
    """Pictures a second and CPU time of a picture, one row for each way."""
    rows = tuple(
        (
            name,
            spread([count / second for second in times["wall"]]),
            spread([1000 * second / count for second in times["cpu"]]),
        )
        for name, times in found.items()
    )
    return Table(
        name="cascade", title="Each model alone, and both", columns=("", "img/s", "CPU ms per image"), rows=rows
    )


def findings(found: Seconds, count: int, sent: int) -> tuple[str, ...]:
    """What the cascade costs beside each model alone, in ratios of the same repeat."""
    (fast, strong, both) = (times["wall"] for times in found.values())
    return (
        f"A cascade that sends {sent / count:.0%} of the pictures on takes {ratios(both, fast).median:.2f} times as "
        f"long as the fast model alone, and {ratios(both, strong).median:.0%} of the time of the strong one.",
    )

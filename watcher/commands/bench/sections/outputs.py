"""Section `outputs`: what each kind of output costs, and whether the usual PNG costs more than its encoder alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from inference.codec import decode, encode
from inference.compose import NO_METADATA, PLAIN, PRESETS, OutputSpec, compose, read_source
from inference.compose.values import Format
from inference.picture import Cutout
from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.photos import cutout_pixels, draw_sample, encode_photo
from watcher.commands.bench.report import Cell, Section, Table
from watcher.commands.bench.stats import Spread, ratios, spread
from watcher.commands.bench.timing import Times, repeat
from watcher.commands.bench.workload import size_label

TEXT = {"alphadrop:job": "0" * 64, "alphadrop:source": "shoes/a.jpg"}
KINDS: Mapping[str, OutputSpec] = {
    "PNG, the usual one": PLAIN,
    "PNG, trimmed with 5 %": OutputSpec(trim=True, margin="5%"),
    "PNG on white": OutputSpec(background="white"),
    "PNG, longest side 1000": OutputSpec(max_side=1000),
    "mask as PNG": OutputSpec(content="mask"),
    "JPEG on white": OutputSpec(format=Format.JPEG, background="white"),
    "JPEG on white with a shadow": OutputSpec(format=Format.JPEG, background="white", shadow=0.5),
    "WebP": OutputSpec(format=Format.WEBP),
    "WebP without loss": OutputSpec(format=Format.WEBP, lossless=True),
    "TIFF": OutputSpec(format=Format.TIFF),
    "AVIF": OutputSpec(format=Format.AVIF),
    **{f"preset {name}": PRESETS[name].spec for name in ("amazon-main", "shopify", "google-merchant")},
}


@dataclass
class Cost:
    """What an output cost, one entry per cut-out and repeat."""

    seconds: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)


def measure(context: BenchContext) -> Section:
    """Compose every kind of output of drawn cut-outs, one after the other, and the usual path both ways in turn."""
    workload = context.workload
    costs = {name: Cost() for name in KINDS}
    direct, composed = Times(), Times()
    for seed in range(workload.repeats):
        context.show(f"cut-out {seed + 1} of {workload.repeats}")
        cutout = Cutout(cutout_pixels(workload.hd, seed))
        for name, spec in KINDS.items():
            add_cost(costs[name], cutout, spec)
        photo = encode_photo(draw_sample(workload.hd, seed).image, "JPEG")
        measure_usual_path(photo, cutout, direct, composed)
    return _section(size_label(workload.hd), costs, ratios(composed.cpu, direct.cpu))


def add_cost(cost: Cost, cutout: Cutout, spec: OutputSpec) -> None:
    """Make an output once as a warm-up and once for the time."""
    cost.bytes.append(len(compose(cutout, spec, NO_METADATA, TEXT).data))
    cost.seconds += repeat(lambda: compose(cutout, spec, NO_METADATA, TEXT), 1, warmups=0).cpu


def measure_usual_path(photo: bytes, cutout: Cutout, direct: Times, composed: Times) -> None:
    """Decode a JPEG and encode one PNG: with the codecs alone, and as the worker does with its outputs."""
    pixels = cutout.pixels
    for is_timed in (False, True):
        with (direct if is_timed else Times()).measure():
            decode(photo)
            alone = encode(Cutout(pixels), text=TEXT)
        with (composed if is_timed else Times()).measure():
            decode(photo)
            made = compose(Cutout(pixels), PLAIN, read_source(photo, [PLAIN]), TEXT).data
    if made != alone:
        raise AssertionError("the usual PNG differs from what its encoder writes")


def _section(size: str, costs: Mapping[str, Cost], ratio: Spread) -> Section:
    usual = costs["PNG, the usual one"]
    table = Table(
        name="outputs",
        title=f"One output of a {size} cut-out, one thread",
        columns=("output", "CPU ms", "relative to the usual PNG", "KB"),
        rows=tuple(_row(name, cost, usual.seconds) for name, cost in costs.items()),
        note="Further outputs of an image cost this and no second run of the model. Presets may enlarge the object.",
    )
    return Section(
        key="outputs",
        title="Outputs",
        text=("From a cut-out in memory to the bytes of a file: placed, painted, encoded, with its metadata.",),
        findings=(f"Decoding a JPEG and composing the usual PNG takes {ratio} times the codecs' own CPU time.",),
        tables=(table,),
    )


def _row(name: str, cost: Cost, usual: Sequence[float]) -> tuple[Cell, ...]:
    milliseconds = spread([1000 * seconds for seconds in cost.seconds])
    return name, milliseconds, ratios(cost.seconds, usual), round(sum(cost.bytes) / len(cost.bytes) / 1000)

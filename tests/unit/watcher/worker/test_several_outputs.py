"""An image with several outputs: one inference, what is outdated is made, and a job is done when all are durable."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from inference.codec import PictureInfo, decode, probe
from inference.codec.png import encode_png_of_any_depth
from inference.compose import OutputSpec, compose, read_text
from inference.picture import Cutout
from tests.equipment.moto import moto_server, use_credentials
from tests.equipment.odd_files import tiff
from tests.equipment.pictures import photo
from tests.equipment.support import peak_memory
from watcher.config.settings import Settings
from watcher.core.errors import Conflict, Unavailable
from watcher.core.jobs import Facts, ImageRef, Job, Outcome, Output, OutputRecipe, Recipe, Rejection
from watcher.core.reasons import Reason
from watcher.ingest.enqueue import Enqueuer
from watcher.ingest.listing_comparison import ListingComparison, OutputState
from watcher.protocol import ImageReport, Report
from watcher.sources.base import Arrival, DiscoveredVia
from watcher.sources.source_filter import SourceFilter
from watcher.stores.base import OutputInfo
from watcher.stores.s3 import S3Store
from watcher.telemetry.manifest import FileManifest, ManifestWriter
from watcher.testing import FakeEngine, FakeLease, MemoryQueue, MemoryStore, keep_all
from watcher.worker.crash_markers import CrashMarkers
from watcher.worker.image_path import RETRY_DELAY, ImagePath, PixelBudget
from watcher.worker.output_maker import OutputMaker, PlannedOutput, needed_of_source, pixels_in_memory

SPECS = {
    "cutout": OutputSpec(),
    "web": OutputSpec.model_validate({"format": "webp", "quality": 80}),
    "shop": OutputSpec.model_validate({"format": "jpeg", "background": "white", "canvas": "64x64"}),
}
PATTERNS = {"cutout": "{dir}{stem}.png", "web": "web/{dir}{stem}.webp", "shop": "shop/{dir}{stem}.jpg"}
NEVER = threading.Event()
KEYS = {"a/x.png", "web/a/x.webp", "shop/a/x.jpg"}


class PutsFewer(MemoryStore):
    """A store whose disk is full after a number of puts, and to some of whose keys another worker writes first."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.left = 99
        self.raced: set[str] = set()

    def put(self, output: Output, data: bytes, over: OutputInfo | None = None, facts: Facts | None = None) -> None:
        if not self.left:
            raise Unavailable("the disk is full")
        self.left -= 1
        super().put(output, data, over, facts)
        if output.key in self.raced:
            self.raced.remove(output.key)
            raise Conflict("another worker was faster")


@dataclass
class Shop:
    """An image's path whose outputs a test chooses by name."""

    names: tuple[str, ...] = ("cutout", "web", "shop")
    specs: dict[str, OutputSpec] = field(default_factory=lambda: dict(SPECS))
    source: MemoryStore = field(default_factory=lambda: MemoryStore("memory://source"))
    sink: PutsFewer = field(default_factory=lambda: PutsFewer("memory://sink"))
    engine: FakeEngine = field(default_factory=FakeEngine)
    reports: list[Report] = field(default_factory=list)
    manifest: ManifestWriter | None = None
    bucket: S3Store | None = None
    """The sink, instead of `sink`."""

    @property
    def recipe(self) -> Recipe:
        """The recipe of the present names and specs."""
        outputs = [OutputRecipe(name, PATTERNS[name], {"output": self.specs[name].changes()}) for name in self.names]
        return Recipe(self.source.uri, "digest", {"canvas": 64}, tuple(outputs))

    def given(self, key: str = "a/x.png") -> Job:
        """Write an image; returns its job."""
        return self.recipe.job(self.source.write(key, photo(key)))

    def again(self) -> Job:
        """The job of the image that is there, by the present recipe."""
        ref = self.source.stat("a/x.png")
        assert ref is not None
        return self.recipe.job(ref)

    def process(self, job: Job) -> FakeLease:
        """Process a job as a new worker would."""
        lease = FakeLease(job)
        maker = OutputMaker(self.recipe, [self.specs[name] for name in self.names], 1, "model")
        sink = self.bucket or self.sink
        ImagePath(
            self.source,
            sink,
            self.engine,
            PixelBudget(2_000_000),
            CrashMarkers(sink),
            maker,
            Settings(source="in", sink="out"),
            self.reports.append,
            manifest=self.manifest,
        ).process(lease)
        return lease

    def versions(self) -> dict[str, str]:
        """Which version of each output is in the sink."""
        return {ref.key: ref.version for ref in self.sink.list()}

    def report(self) -> ImageReport:
        """The last report."""
        report = self.reports[-1]
        assert isinstance(report, ImageReport)
        return report


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_one_inference_makes_every_output(shop: Shop) -> None:
    job = shop.given()
    assert shop.process(job).end is Outcome.WRITTEN
    assert (shop.sink.keys, shop.engine.submitted) == (KEYS, 1)
    looks = {}
    for output in shop.recipe.outputs_of(job.ref):
        data = shop.sink.content(output.key)
        assert data is not None
        text, info = read_text(data), probe(data)
        looks[output.key] = (info.format, info.width)
        assert (text["alphadrop:job"], text["alphadrop:output"]) == (job.id, output.id)
        assert text["alphadrop:source"] == "a/x.png"
        assert text["alphadrop:model"] == "model"
        assert json.loads(text["alphadrop:options"])["canvas"] == 64
        assert shop.sink.output_info(output.key) == OutputInfo(output.id, "a/x.png")
    assert looks["shop/a/x.jpg"] == ("JPEG", 64)
    assert [looks[key][0] for key in ("a/x.png", "web/a/x.webp")] == ["PNG", "WEBP"]
    report = shop.report()
    assert [output.name for output in report.outputs] == ["cutout", "web", "shop"]
    assert report.bytes_out == sum(output.bytes for output in report.outputs)


def test_the_same_job_gives_the_same_bytes(shop: Shop) -> None:
    job, contents = shop.given(), []
    for _ in range(2):
        shop.process(job)
        contents.append([shop.sink.content(key) for key in sorted(KEYS)])
        for key in KEYS:
            shop.sink.remove(key)
    assert contents[0] == contents[1]


def test_in_a_bucket_too_only_what_is_missing_is_made(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    use_credentials(monkeypatch)
    moto = moto_server()
    shop.bucket = moto.store(f"s3://{moto.bucket()}/out")
    job = shop.given()
    assert shop.process(job).end is Outcome.WRITTEN
    assert shop.process(job).end is Outcome.ALREADY_DONE
    shop.bucket.delete("web/a/x.webp")
    assert shop.process(job).end is Outcome.WRITTEN
    assert [output.key for output in shop.report().outputs] == ["web/a/x.webp"]
    for output in shop.recipe.outputs_of(job.ref):
        metadata = shop.bucket.metadata(output.key)
        assert metadata is not None
        assert (metadata["alphadrop-job"], metadata["alphadrop-output"]) == (job.id, output.id)
        assert metadata["alphadrop-box"].count(",") == 3


def test_what_is_there_already_is_done_without_a_look_at_the_image(shop: Shop) -> None:
    job = shop.given()
    shop.process(job)
    shop.source.failing["read"] = Unavailable("must not be read")
    assert shop.process(job).end is Outcome.ALREADY_DONE


@pytest.mark.parametrize("puts", [0, 1, 2])
def test_a_job_that_ends_between_two_puts_goes_on_where_it_was(shop: Shop, puts: int) -> None:
    job = shop.given()
    shop.sink.left = puts
    assert shop.process(job).end == RETRY_DELAY, "not done before all are durable"
    before = shop.versions()
    assert len(before) == puts
    shop.sink.left = 99
    assert shop.process(job).end is Outcome.WRITTEN
    after = shop.versions()
    assert after.keys() == KEYS and before.items() <= after.items()
    assert len(shop.report().outputs) == 3 - puts


@pytest.mark.parametrize(
    ("change", "made"),
    [
        (lambda shop: shop.specs.update(web=OutputSpec.model_validate({"format": "webp", "quality": 70})), {"web"}),
        (lambda shop: setattr(shop, "names", ("cutout", "shop")), set()),
        (lambda shop: setattr(shop, "names", ("shop", "web", "cutout")), set()),
    ],
    ids=["another quality", "one dropped", "another order"],
)
def test_a_change_of_the_settings_makes_only_what_is_outdated(shop: Shop, change: object, made: set[str]) -> None:
    shop.process(shop.given())
    before = shop.versions()
    assert callable(change)
    change(shop)
    assert shop.process(shop.again()).end is (Outcome.WRITTEN if made else Outcome.ALREADY_DONE)
    changed = {key.partition("/")[0] for key, version in shop.versions().items() if before[key] != version}
    assert (changed, shop.sink.keys) == (made, KEYS), "an output that is dropped from the settings is left alone"


def test_an_output_that_joins_leaves_the_only_one_before_it_as_it_is(shop: Shop) -> None:
    shop.names = ("cutout",)
    shop.process(shop.given())
    (before,) = shop.versions().values()
    shop.names = ("cutout", "shop")
    assert shop.process(shop.again()).end is Outcome.WRITTEN
    assert shop.versions()["a/x.png"] == before


@pytest.mark.parametrize("key", sorted(KEYS))
def test_an_output_of_another_image_or_program_rejects_the_image_before_anything_is_made(shop: Shop, key: str) -> None:
    shop.sink.write(key, b"not ours")
    end = shop.process(shop.given()).end
    assert isinstance(end, Rejection) and end.reason is Reason.OUTPUT_EXISTS and key in end.detail
    assert shop.sink.keys == {key, "_failed/a/x.png.json"}
    assert shop.engine.submitted == 0


def test_two_images_with_one_of_several_outputs_in_common_are_told_apart(shop: Shop) -> None:
    shop.process(shop.given("a/x.png"))
    end = shop.process(shop.given("a/x.jpg")).end
    assert isinstance(end, Rejection) and end.reason is Reason.OUTPUT_TAKEN


def test_another_writer_of_one_output_is_no_reason_to_give_up_the_others(shop: Shop) -> None:
    job = shop.given()
    shop.sink.raced.add("a/x.png")
    assert shop.process(job).end is Outcome.WRITTEN
    assert shop.sink.keys == KEYS


def test_the_comparison_finds_images_that_lack_one_output_or_have_an_old_one(shop: Shop) -> None:
    shop.process(shop.given())

    def outstanding() -> list[OutputState]:
        found = ListingComparison(shop.recipe, shop.source, shop.sink, SourceFilter(), deep=True)
        return [state for _, state in found.outstanding(NEVER)]

    assert outstanding() == []
    shop.specs["web"] = OutputSpec.model_validate({"format": "webp", "quality": 70})
    assert outstanding() == [OutputState.OUTDATED]
    shop.sink.remove("shop/a/x.jpg")
    assert outstanding() == [OutputState.MISSING]


def test_a_listing_enqueues_an_image_until_it_has_every_output(shop: Shop) -> None:
    job, queue = shop.given(), MemoryQueue()
    enqueuer = Enqueuer(shop.recipe, shop.source, shop.sink, queue, None)
    arrivals = [Arrival(job.ref, DiscoveredVia.SCAN)]
    shop.sink.left = 2
    shop.process(job)
    assert enqueuer.accept(arrivals) == 1
    shop.sink.left = 99
    shop.process(job)
    assert enqueuer.accept(arrivals) == 0


def test_the_manifest_lists_every_output_whoever_wrote_it(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    shop.manifest = ManifestWriter(FileManifest(path), "in", "out")
    job = shop.given()
    shop.sink.left = 1
    shop.process(job)
    assert not path.exists(), "an image that is not finished is not listed"
    shop.sink.left = 99
    for _ in range(2):
        shop.process(job)
    shop.process(Job("id", shop.source.write("bad.png", b"no picture"), "bad.png"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["status"] for line in lines] == ["written", "already_done", "rejected"]
    first, second = (sorted(line["outputs"], key=lambda output: str(output["key"])) for line in lines[:2])
    assert first == second, "sizes, digests and boxes are the same, read or just made"
    assert {output["key"] for output in first} == KEYS
    for output in first:
        data = shop.sink.content(output["key"])
        assert data is not None
        assert (output["bytes"], output["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    ("names", "pixels"),
    [
        (["cutout"], 100 * 50),
        (["cutout", "web"], 2 * 100 * 50),
        (["web", "shop"], 100 * 50 + 5000),
        (["big"], 4_005_000),
    ],
)
def test_the_memory_that_is_waited_for_includes_what_is_composed(names: list[str], pixels: int) -> None:
    specs = SPECS | {"big": OutputSpec.model_validate({"canvas": "2000x2000"})}
    plans = [PlannedOutput(Output("", ImageRef("", "", 0), ""), OutputRecipe(), specs[name]) for name in names]
    assert pixels_in_memory(plans, PictureInfo("PNG", 100, 50)) == pixels


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"depth": 16},
        {"depth": 16, "canvas": "1200x1000", "background": "white"},
        {"depth": 16, "shadow": 0.5, "canvas": "1200x1000", "share": "80%"},
    ],
)
def test_no_picture_takes_more_memory_than_it_counts_for(format: str, depth: int, options: dict[str, object]) -> None:
    spec = OutputSpec.model_validate(options)
    plans = [PlannedOutput(Output("", ImageRef("", "", 0), ""), OutputRecipe(), spec)]
    data = deep_file(format, depth)
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak begins anew
    before = peak_memory()
    picture, source = decode(data), needed_of_source(data, plans, 1 << 24)
    cutout = Cutout(np.dstack([picture.pixels, np.full(picture.pixels.shape[:2], 255, np.uint8)]))
    del picture
    compose(cutout, spec, source, lambda box: {}, png_level=0)
    assert probe(data).deep is (depth == 16)
    assert peak_memory() - before <= 15 * pixels_in_memory(plans, probe(data)) + (2 << 20)


def deep_file(format: str, depth: int) -> bytes:
    """1200 x 1000 pixels."""
    y, x = np.mgrid[:1000, :1200].astype(np.uint16)
    pixels = np.stack([x * 50, y * 60, x + y], -1)
    pixels = pixels if depth == 16 else (pixels >> 8).astype(np.uint8)
    return encode_png_of_any_depth(pixels) if format == "PNG" else tiff((pixels, {"photometric": "rgb"}))


@pytest.mark.parametrize(
    ("patterns", "claimed"),
    [
        (["{dir}{stem}.png"], "a/x.png"),
        (["{dir}{stem}.png", "shop/{dir}{stem}.jpg"], "a/x.png"),
        (["{dir}{name}.png", "shop/{dir}{stem}.jpg"], "shop/a/x.jpg"),
        (["{dir}{stem}.png", "{name}.jpg"], "x"),
        (["{dir}{name}.png", "{dir}{stem}-{ext}.jpg"], "a/x.jpg.png"),
    ],
)
def test_jobs_that_share_any_output_claim_the_same_key(patterns: list[str], claimed: str) -> None:
    recipe = replace(Shop().recipe, outputs=tuple(OutputRecipe(pattern, pattern) for pattern in patterns))
    assert recipe.job(ImageRef("a/x.jpg", "1", 1)).output == claimed


def test_a_background_that_cannot_be_read_blames_no_image(shop: Shop, tmp_path: Path) -> None:
    shop.specs["web"] = OutputSpec.model_validate({"format": "webp", "background": str(tmp_path / "gone.png")})
    assert shop.process(shop.given()).end == RETRY_DELAY
    assert shop.sink.keys == set()


def test_the_longest_names_leave_room_for_everything_that_a_png_says() -> None:
    options = {f"option_{number}": "x" * 50 for number in range(9)}
    recipe = Recipe("s", "d", options, (OutputRecipe("cutout"), OutputRecipe("other", "{name}.png")))
    maker = OutputMaker(recipe, [OutputSpec(), OutputSpec()], 1, "m" * 268)
    plans = maker.plan(ImageRef("ä" * 3000 + ".jpg", "1", 1))
    for made in maker.encode(plans, keep_all(decode(photo("a.png")))):
        text = read_text(made.data)
        assert text["alphadrop:model"] == "m" * 268
        assert text["alphadrop:output"] == made.plan.output.id
        assert len(text["alphadrop:options"]) > 500

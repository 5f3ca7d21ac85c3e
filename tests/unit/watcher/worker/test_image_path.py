"""The path of one image: every outcome, and every kind of error, against stores and an engine in memory."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from inference.codec import decode, encode, read_text
from inference.compose import OutputSpec
from inference.errors import DeviceFull, DeviceLost, PictureTooLargeForDevice
from inference.picture import Cutout, Picture
from inference.review.doubts import Doubt, Review
from tests.equipment.notes import WRITER
from tests.equipment.pictures import cut_short, photo, png_that_claims
from tests.equipment.support import wait_until
from watcher.config.settings import Settings
from watcher.core.errors import (
    ConfigurationError,
    Conflict,
    Gone,
    Rejected,
    SourceMissing,
    Stale,
    Unavailable,
    WatcherError,
)
from watcher.core.jobs import (
    DEATHS_TO_QUARANTINE,
    KILLS_WORKER,
    ImageRef,
    Job,
    Outcome,
    Output,
    Recipe,
    Rejection,
)
from watcher.core.reasons import Reason
from watcher.protocol import ImageReport, Report, SuspectReport, UnavailableReport
from watcher.stores.base import OutputInfo
from watcher.stores.error_records import record_key
from watcher.stores.output_metadata import output_text
from watcher.testing import FakeEngine, FakeLease, MemoryStore, keep_all
from watcher.worker.crash_markers import CrashMarkers, marker_key
from watcher.worker.image_path import RETRY_DELAY, ImagePath, PixelBudget
from watcher.worker.output_maker import OutputMaker

KEY, OUTPUT, RECORD = "shoes/a.png", "shoes/a.png", record_key("shoes/a.png")
PHOTO = photo(KEY)
RECIPE = Recipe("memory://source", "digest", {})
NO_NETWORK = Unavailable("no network")


@dataclass
class Bench:
    """An image's path with fakes for everything that it uses."""

    source: MemoryStore = field(default_factory=lambda: MemoryStore("memory://source"))
    sink: MemoryStore = field(default_factory=lambda: MemoryStore("memory://sink"))
    engine: FakeEngine = field(default_factory=FakeEngine)
    reports: list[Report] = field(default_factory=list)
    max_pixels: int = 1_000_000
    renewed: list[ImageRef] | None = None
    """Collects the present versions of changed images, if it is a list."""
    after: Callable[[ImageRef], None] = lambda ref: None
    recheck: bool = False
    notify: bool = False
    input_alpha: Literal["multiply", "ignore", "trust"] = "multiply"
    truncated: Literal["reject", "keep"] = "reject"

    def given(self, data: bytes = PHOTO, key: str = KEY) -> Job:
        """Write an image to the source; returns its job."""
        return RECIPE.job(self.source.write(key, data))

    def process(self, job: Job, *, suspect: bool = False) -> FakeLease:
        """Process a job; returns its lease, which has ended."""
        lease = FakeLease(job, suspect=suspect)
        self.path.process(lease)
        assert self.engine.announced == 0
        return lease

    @property
    def path(self) -> ImagePath:
        """The path that uses these fakes."""
        budget, renewed = PixelBudget(2_000_000), self.renewed
        return ImagePath(
            self.source,
            self.sink,
            self.engine,
            budget,
            CrashMarkers(self.sink),
            OutputMaker(RECIPE, [OutputSpec()], 1, "model"),
            Settings(
                source="in",
                sink="out",
                max_pixels=self.max_pixels,
                input_alpha=self.input_alpha,
                truncated=self.truncated,
            ),
            self.reports.append,
            on_success=self.after,
            requeue_changed=None if renewed is None else renewed.append,
            recheck=self.recheck,
            notifications=WRITER if self.notify else None,
        )

    @property
    def report(self) -> ImageReport:
        """The only report, about an image that is finished."""
        (report,) = (report for report in self.reports if not isinstance(report, SuspectReport))
        assert isinstance(report, ImageReport)
        return report

    @property
    def unavailable(self) -> UnavailableReport:
        """The only report, about an image that was requeued."""
        (report,) = (report for report in self.reports if not isinstance(report, SuspectReport))
        assert isinstance(report, UnavailableReport)
        return report


@pytest.fixture
def bench() -> Bench:
    return Bench()


def only(job: Job) -> Output:
    """The only output of a job."""
    (output,) = RECIPE.outputs_of(job.ref)
    return output


def rejection(lease: FakeLease) -> Rejection:
    assert isinstance(lease.end, Rejection)
    return lease.end


# Written.


def test_a_picture_becomes_a_cut_out_that_names_its_job(bench: Bench) -> None:
    job = bench.given()
    assert bench.process(job).end is Outcome.WRITTEN
    made = bench.sink.content(OUTPUT)
    assert made is not None
    assert np.array_equal(decode(made).pixels, decode(PHOTO).pixels)
    assert bench.sink.output_info(OUTPUT) == OutputInfo(job.id, KEY)
    assert bench.sink.keys == {OUTPUT}


def transparent_photo() -> NDArray[np.uint8]:
    """8 x 8 RGBA: opaque above, half-transparent below, fully transparent in the last row."""
    rgba = np.full((8, 8, 4), (200, 100, 50, 255), np.uint8)
    rgba[4:, :, 3] = 128
    rgba[7, :, 3] = 0
    return rgba


def png_of(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("multiply", [128, 64, 0]),
        ("ignore", [128, 128, 128]),
        ("trust", [255, 128, 0]),
    ],
)
def test_an_images_own_transparency_is_treated_as_the_setting_says(
    bench: Bench, mode: Literal["multiply", "ignore", "trust"], expected: list[int]
) -> None:
    def half(picture: Picture) -> Cutout:
        return Cutout(np.dstack((picture.pixels, np.full(picture.pixels.shape[:2], 128, np.uint8))))

    bench.engine, bench.input_alpha = FakeEngine(half), mode
    bench.process(bench.given(png_of(transparent_photo())))
    made = bench.sink.content(OUTPUT)
    assert made is not None
    pixels = np.asarray(Image.open(io.BytesIO(made)))
    assert [int(pixels[row, 0, 3]) for row in (0, 5, 7)] == expected
    if mode != "ignore":
        assert pixels[5, 0, :3].tolist() == [200, 100, 50], "its own colour, without the white that the model saw"


@pytest.mark.parametrize(("alpha", "said"), [(0, "0.0000"), (51, "0.2000"), (255, "1.0000")])
def test_an_output_states_its_matte_coverage(bench: Bench, alpha: int, said: str) -> None:
    bench.engine = FakeEngine(lambda picture: Cutout(np.full((picture.height, picture.width, 4), alpha, np.uint8)))
    bench.process(bench.given())
    made = bench.sink.content(OUTPUT)
    assert made is not None
    assert read_text(made)["alphadrop:matte_coverage"] == said
    facts = bench.sink.facts[OUTPUT]
    assert facts is not None and facts.matte_coverage == float(said)
    assert bench.report.coverage == float(said)


def test_a_picture_that_does_not_fit_beside_a_neighbour_is_tried_again_and_not_rejected(bench: Bench) -> None:
    def fill(picture: Picture) -> Cutout:
        raise DeviceFull("8 x 8 pixels do not fit: other processes use 70.0 GiB")

    bench.engine = FakeEngine(fill)
    assert bench.process(bench.given()).end == RETRY_DELAY
    assert (bench.unavailable.stage, "70.0 GiB" in bench.unavailable.detail) == ("infer", True)
    assert "memory is full" in bench.unavailable.public


def test_an_output_without_a_matte_coverage_is_not_made_again(bench: Bench) -> None:
    job = bench.given()
    bench.sink.write(OUTPUT, encode(keep_all(decode(PHOTO)), text=output_text(only(job))))
    assert bench.process(job).end is Outcome.ALREADY_DONE


def test_a_written_image_is_reported_with_what_was_measured(bench: Bench) -> None:
    job = bench.given()
    bench.process(job)
    report, made = bench.report, bench.sink.content(OUTPUT)
    assert made is not None
    assert (report.key, report.job, report.outcome, report.output) == (KEY, job.id, "written", OUTPUT)
    assert (report.bytes_in, report.bytes_out, report.pixels) == (len(PHOTO), len(made), 96 * 72)
    assert (report.coverage, report.stage, report.reason, report.detail) == (1.0, "put", "", "")
    assert {*report.stages} == {"queue_wait", "read", "decode", "infer", "encode", "put"}
    assert min(report.stages.values()) >= 0


def test_a_report_says_when_each_stage_began_and_the_stages_follow_each_other(bench: Bench) -> None:
    before = time.time()
    bench.process(bench.given())
    starts, stages = bench.report.starts, bench.report.stages
    assert starts.keys() == stages.keys()
    inside = sorted((starts[stage], starts[stage] + stages[stage]) for stage in stages if stage != "queue_wait")
    assert all(end <= start + 1e-5 for (_, end), (start, _) in pairwise(inside))
    assert before - 0.1 <= inside[0][0] and inside[-1][1] <= bench.report.ended + 1e-5 <= time.time() + 0.1


def test_a_requeued_image_is_reported_with_the_times_of_its_stages(bench: Bench) -> None:
    job = bench.given()
    bench.sink.failing["put"] = NO_NETWORK
    bench.process(job)
    assert bench.unavailable.job == job.id
    assert bench.unavailable.starts.keys() == bench.unavailable.stages.keys() >= {"read", "put"}
    assert bench.unavailable.ended >= max(bench.unavailable.starts.values())


def test_an_image_is_counted_in_its_stage_and_in_none_when_it_is_finished(bench: Bench) -> None:
    seen: list[dict[str, int]] = []
    bench.after = lambda ref: seen.append(path.occupancy.snapshot(0))
    path = bench.path
    for key, data in ((KEY, PHOTO), ("b.png", b"no picture")):
        path.process(FakeLease(bench.given(data, key)))
    bench.sink.failing["put"] = NO_NETWORK
    path.process(FakeLease(bench.given(key="c.png")))
    assert seen == [{"put": 1}]
    assert path.occupancy.snapshot(0) == {}


def test_the_output_of_an_older_version_is_replaced(bench: Bench) -> None:
    bench.process(bench.given(photo(KEY, colour=(1, 2, 3))))
    job = bench.given()
    assert bench.process(job).end is Outcome.WRITTEN
    assert bench.sink.output_info(OUTPUT) == OutputInfo(job.id, KEY)


def test_success_deletes_an_earlier_error_record(bench: Bench) -> None:
    bench.process(bench.given(cut_short(KEY)))
    assert RECORD in bench.sink.keys
    bench.process(bench.given())
    assert bench.sink.keys == {OUTPUT}


# Already done.


def test_an_image_whose_output_is_in_the_sink_is_neither_read_nor_inferred(bench: Bench) -> None:
    job = bench.given()
    bench.process(job)
    before = bench.sink.stat(OUTPUT)
    bench.source.failing["read"] = AssertionFailure()
    assert bench.process(job).end is Outcome.ALREADY_DONE
    assert bench.sink.stat(OUTPUT) == before
    assert bench.engine.submitted == 1


class AssertionFailure(WatcherError):
    """Raised by what must not be called."""


def test_an_error_record_that_a_killed_worker_left_beside_its_output_is_deleted(bench: Bench) -> None:
    job = bench.given()
    bench.process(job)
    bench.sink.write(RECORD, b"{}")
    assert bench.process(job).end is Outcome.ALREADY_DONE
    assert bench.sink.keys == {OUTPUT}


def test_a_truncated_output_is_made_again(bench: Bench) -> None:
    job = bench.given()
    bench.process(job)
    whole = bench.sink.content(OUTPUT) or b""
    bench.sink.write(OUTPUT, whole[:-20])
    assert bench.process(job).end is Outcome.WRITTEN
    assert bench.sink.content(OUTPUT) == whole


# Stale and gone.


def test_a_picture_that_was_replaced_is_stale(bench: Bench) -> None:
    old = bench.given()
    bench.given()
    assert bench.process(old).end is Outcome.STALE
    assert bench.sink.keys == set()
    assert (bench.report.outcome, bench.report.stage) == ("stale", "read")


def test_a_stale_image_keeps_its_error_record_for_the_next_version(bench: Bench) -> None:
    old = bench.given()
    bench.given()
    bench.sink.write(RECORD, b"{}")
    bench.process(old)
    assert RECORD in bench.sink.keys


def test_a_picture_that_was_deleted_is_gone_and_its_error_record_is_deleted(bench: Bench) -> None:
    job = bench.given()
    bench.source.remove(KEY)
    bench.sink.write(RECORD, b"{}")
    assert bench.process(job).end is Outcome.GONE
    assert bench.sink.keys == set()


# Rejected.


@pytest.mark.parametrize(
    ("data", "reason", "stage"),
    [
        (b"", "not_a_picture", "decode"),
        (b"Dear all", "not_a_picture", "decode"),
        (cut_short("a.jpg"), "truncated", "decode"),
        (cut_short("a.webp"), "truncated", "decode"),
        (png_that_claims(2000, 2000), "too_large", "decode"),
        (png_that_claims(50_000, 50_000), "too_large", "decode"),
    ],
)
def test_a_file_that_can_never_work_is_rejected_with_an_error_record(
    bench: Bench, data: bytes, reason: str, stage: str
) -> None:
    job = bench.given(data)
    why = rejection(bench.process(job))
    assert why.reason == reason and len(why.detail) > 20
    record = json.loads(bench.sink.content(RECORD) or b"")
    assert record | {"reason": why.reason, "detail": why.detail, "key": KEY, "job": job.id} == record
    assert record["bytes"] == len(data) and record["version"] == job.ref.version
    assert bench.sink.keys == {RECORD}
    assert (bench.report.outcome, bench.report.reason, bench.report.stage) == ("rejected", reason, stage)
    assert bench.engine.submitted == 0


def test_a_truncated_file_is_kept_if_the_setting_says_so(bench: Bench) -> None:
    bench.truncated = "keep"
    sure = Review(0.9, (Doubt.TOUCHES_FRAME,))
    bench.engine = FakeEngine(lambda picture: replace(keep_all(picture), review=sure))
    job = bench.given(cut_short("a.jpg"))
    assert bench.process(job).end is Outcome.WRITTEN
    assert bench.report.truncated and bench.report.doubts == ["incomplete", "touches_frame"]
    assert read_text(bench.sink.content(only(job).key) or b"")["alphadrop:doubts"] == "incomplete,touches_frame"


def test_a_file_of_which_nothing_can_be_kept_is_still_rejected(bench: Bench) -> None:
    bench.truncated = "keep"
    assert rejection(bench.process(bench.given(cut_short("a.webp")))).reason == "truncated"


def test_the_setting_limits_the_pixels(bench: Bench) -> None:
    bench.max_pixels = 96 * 72 - 1
    assert rejection(bench.process(bench.given())).reason == "too_large"
    bench.max_pixels = 96 * 72
    assert bench.process(bench.given()).end is Outcome.WRITTEN


def test_a_picture_that_no_device_can_hold_is_rejected(bench: Bench) -> None:
    def too_large(picture: Picture) -> Cutout:
        raise PictureTooLargeForDevice("96 x 72 pixels do not fit")

    bench.engine = FakeEngine(too_large)
    assert rejection(bench.process(bench.given())) == Rejection(Reason.DEVICE_MEMORY, "96 x 72 pixels do not fit")
    assert bench.report.stage == "infer"


@pytest.mark.parametrize("method", ["read", "put"])
def test_an_image_that_a_store_rejects_is_rejected(bench: Bench, method: str) -> None:
    store = bench.source if method == "read" else bench.sink
    store.failing[method] = Rejected(Reason.BAD_NAME, "rename the image")
    assert rejection(bench.process(bench.given())) == Rejection(Reason.BAD_NAME, "rename the image")
    assert bench.report.stage == method


@pytest.mark.parametrize("data", [b"", cut_short("a.jpg"), cut_short("a.png")])
def test_a_picture_that_is_still_being_written_is_stale_not_rejected(bench: Bench, data: bytes) -> None:
    job = bench.given(data)
    bench.source.after_read = lambda key: replace_once(bench, key)
    assert bench.process(job).end is Outcome.STALE
    assert bench.sink.keys == set()


def replace_once(bench: Bench, key: str) -> None:
    bench.source.after_read = lambda key: None
    bench.source.write(key, PHOTO)


def test_a_bad_picture_that_is_deleted_meanwhile_is_gone_not_rejected(bench: Bench) -> None:
    job = bench.given(b"Dear all")
    bench.source.after_read = bench.source.remove
    assert bench.process(job).end is Outcome.GONE
    assert bench.sink.keys == set()


def test_a_picture_that_is_replaced_while_it_is_cut_out_is_written_in_its_old_version(bench: Bench) -> None:
    job = bench.given()
    bench.source.after_read = lambda key: replace_once(bench, key)
    assert bench.process(job).end is Outcome.WRITTEN
    assert bench.sink.output_info(OUTPUT) == OutputInfo(job.id, KEY)


# Outputs of other images, and files that alphadrop has not made.


def test_the_second_of_two_images_with_one_output_is_rejected_and_names_the_first(bench: Bench) -> None:
    first, second = bench.given(photo("x.jpg"), "x.jpg"), bench.given(photo("x.webp"), "x.webp")
    bench.process(first)
    why = rejection(bench.process(second))
    assert why.reason == "output_taken"
    assert "x.jpg" in why.detail and "--output-name" in why.detail
    assert bench.sink.output_info("x.png") == OutputInfo(first.id, "x.jpg")


def test_an_output_whose_image_is_gone_is_replaced(bench: Bench) -> None:
    first, second = bench.given(photo("x.jpg"), "x.jpg"), bench.given(photo("x.webp"), "x.webp")
    bench.process(first)
    bench.source.remove("x.jpg")
    assert bench.process(second).end is Outcome.WRITTEN
    assert bench.sink.output_info("x.png") == OutputInfo(second.id, "x.webp")


@pytest.mark.parametrize("foreign", [photo("x.png"), b"no picture at all"])
def test_a_file_that_alphadrop_did_not_make_is_not_overwritten(bench: Bench, foreign: bytes) -> None:
    bench.sink.write(OUTPUT, foreign)
    why = rejection(bench.process(bench.given()))
    assert why.reason == "output_exists" and "--output-name" in why.detail
    assert bench.sink.content(OUTPUT) == foreign
    assert bench.engine.submitted == 0


# Races with other workers, in a store with conditional writes.


def meanwhile(bench: Bench, what: Callable[[], object]) -> None:
    """Make something happen once, after a worker has read the present output and before its put."""

    def happen(picture: Picture) -> Cutout:
        bench.engine = FakeEngine()
        what()
        return keep_all(picture)

    bench.engine = FakeEngine(happen)


def test_a_job_that_another_worker_finished_first_is_already_done(bench: Bench) -> None:
    job = bench.given()
    meanwhile(bench, lambda: bench.process(job))
    assert bench.process(job).end is Outcome.ALREADY_DONE
    assert [report.outcome for report in bench.reports if isinstance(report, ImageReport)] == [
        "written",
        "already_done",
    ]


def test_the_output_of_a_newer_version_is_not_replaced(bench: Bench) -> None:
    old = bench.given()
    new: list[Job] = []

    def replace_and_finish() -> None:
        new.append(bench.given(photo(KEY, colour=(1, 2, 3))))
        bench.process(new[0])

    meanwhile(bench, replace_and_finish)
    assert bench.process(old).end is Outcome.STALE
    assert bench.sink.output_info(OUTPUT) == OutputInfo(new[0].id, KEY)


def test_the_output_of_an_older_version_that_appears_meanwhile_is_replaced(bench: Bench) -> None:
    old = Job("0" * 64, ImageRef(KEY, "0", 1), OUTPUT)
    job = bench.given()
    made = encode(Cutout(np.zeros((4, 4, 4), np.uint8)), text=output_text(only(old)))
    meanwhile(bench, lambda: bench.sink.write(OUTPUT, made))
    assert bench.process(job).end is Outcome.WRITTEN
    assert bench.sink.output_info(OUTPUT) == OutputInfo(job.id, KEY)


def test_a_file_of_others_that_appears_meanwhile_is_not_overwritten(bench: Bench) -> None:
    job = bench.given()
    meanwhile(bench, lambda: bench.sink.write(OUTPUT, b"mine"))
    assert rejection(bench.process(job)).reason == "output_exists"
    assert bench.sink.content(OUTPUT) == b"mine"


def test_an_output_that_changes_during_every_put_is_a_transient_error(bench: Bench) -> None:
    bench.sink.failing["put"] = Conflict("changed")
    assert bench.process(bench.given()).end == RETRY_DELAY
    assert "by another writer 5 times" in bench.unavailable.detail


def test_without_conditional_writes_the_image_is_checked_again_after_the_put(bench: Bench) -> None:
    bench.recheck, bench.renewed = True, []
    old = bench.given()
    meanwhile(bench, lambda: bench.source.write(KEY, photo(KEY, colour=(1, 2, 3))))
    assert bench.process(old).end is Outcome.STALE
    assert bench.renewed == [bench.source.stat(KEY)]
    assert bench.process(bench.given()).end is Outcome.WRITTEN


def test_an_image_that_is_deleted_after_the_put_counts_as_written(bench: Bench) -> None:
    bench.recheck = True
    job = bench.given()
    meanwhile(bench, lambda: bench.source.remove(KEY))
    assert bench.process(job).end is Outcome.WRITTEN


# Changed images, and the action after success.


def test_the_present_version_of_a_stale_object_is_enqueued(bench: Bench) -> None:
    bench.renewed = []
    old = bench.given()
    bench.given()
    assert bench.process(old).end is Outcome.STALE
    assert bench.renewed == [bench.source.stat(KEY)]


def test_a_stale_object_keeps_its_lease_while_its_present_version_cannot_be_enqueued(bench: Bench) -> None:
    bench.renewed = []
    old = bench.given()
    bench.given()
    bench.source.failing["stat"] = NO_NETWORK
    assert bench.process(old).end == RETRY_DELAY
    assert bench.renewed == []


def test_the_action_is_taken_after_success_only(bench: Bench) -> None:
    done: list[str] = []

    def after(ref: ImageRef) -> None:
        assert bench.sink.output_info(OUTPUT), "the output must be durable before the image is touched"
        done.append(ref.key)

    bench.after = after
    job = bench.given()
    bench.process(job)
    bench.process(job)
    bench.process(bench.given(b"Dear all", "bad.png"))
    assert done == [KEY, KEY]


@pytest.mark.parametrize("error", [Gone("moved by another"), Stale("changed")])
def test_an_image_that_has_changed_before_the_action_is_left_alone(bench: Bench, error: WatcherError) -> None:
    def after(ref: ImageRef) -> None:
        raise error

    bench.after = after
    assert bench.process(bench.given()).end is Outcome.WRITTEN


def test_an_action_that_fails_is_tried_again(bench: Bench) -> None:
    def after(ref: ImageRef) -> None:
        raise NO_NETWORK

    bench.after = after
    job = bench.given()
    assert bench.process(job).end == RETRY_DELAY
    bench.after = lambda ref: None
    assert bench.process(job).end is Outcome.ALREADY_DONE


def test_an_error_record_that_does_not_exist_is_not_deleted(bench: Bench) -> None:
    bench.sink.failing["delete"] = AssertionFailure()
    assert bench.process(bench.given()).end is Outcome.WRITTEN


def test_an_image_is_not_rejected_for_a_wrong_setting(bench: Bench) -> None:
    bench.sink.failing["put"] = ConfigurationError("--s3-acl: no such ACL")
    assert bench.process(bench.given()).end == RETRY_DELAY
    assert bench.unavailable.reason == "configuration"


# Transient errors: the image is requeued.


@pytest.mark.parametrize(
    ("part", "method", "stage"),
    [
        ("sink", "output_info", "queue_wait"),
        ("source", "read", "read"),
        ("sink", "put", "put"),
        ("sink", "stat", "put"),
    ],
)
@pytest.mark.parametrize("error", [NO_NETWORK, SourceMissing("not mounted")], ids=["unavailable", "source missing"])
def test_a_good_picture_is_requeued(bench: Bench, part: str, method: str, stage: str, error: Unavailable) -> None:
    getattr(bench, part).failing[method] = error
    assert bench.process(bench.given()).end == RETRY_DELAY
    assert (bench.unavailable.key, bench.unavailable.stage) == (KEY, stage)
    assert (bench.unavailable.reason, bench.unavailable.detail) == (error.reason, str(error))
    assert RECORD not in bench.sink.keys


@pytest.mark.parametrize(("part", "method"), [("source", "stat"), ("sink", "put_record")])
def test_a_bad_picture_is_requeued_while_its_error_record_cannot_be_written(
    bench: Bench, part: str, method: str
) -> None:
    job = bench.given(b"Dear all")
    getattr(bench, part).failing[method] = NO_NETWORK
    assert bench.process(job).end == RETRY_DELAY
    getattr(bench, part).failing.clear()
    assert rejection(bench.process(job)).reason == "not_a_picture"


def test_a_bad_picture_is_requeued_where_no_error_record_can_ever_be_written(bench: Bench) -> None:
    bench.sink.failing["put_record"] = Rejected(Reason.OUTPUT_BLOCKED, "a file is where a directory must be")
    assert bench.process(bench.given(b"Dear all")).end == RETRY_DELAY
    assert "a file is where a directory must be" in bench.unavailable.detail


@pytest.mark.parametrize("missing", [Gone("gone"), Stale("stale")])
def test_a_deleted_image_is_requeued_or_finished_but_never_ends_the_worker(bench: Bench, missing: WatcherError) -> None:
    bench.source.failing["read"] = missing
    bench.sink.failing["stat"] = NO_NETWORK
    end = bench.process(bench.given()).end
    assert end == (RETRY_DELAY if isinstance(missing, Gone) else Outcome.STALE)


def test_after_the_outage_the_image_is_written(bench: Bench) -> None:
    job = bench.given()
    bench.sink.failing["put"] = NO_NETWORK
    assert bench.process(job).end == RETRY_DELAY
    bench.sink.failing.clear()
    assert bench.process(job).end is Outcome.WRITTEN


def test_an_error_after_the_put_costs_no_second_inference(bench: Bench) -> None:
    job = bench.given()
    bench.sink.failing["stat"] = NO_NETWORK
    assert bench.process(job).end == RETRY_DELAY
    bench.sink.failing.clear()
    assert bench.process(job).end is Outcome.ALREADY_DONE
    assert bench.engine.submitted == 1


# A lost device ends the worker, and the lease stays.


@pytest.mark.parametrize("error", [DeviceLost("cuda:0 has failed"), MemoryError()])
def test_a_lost_device_ends_the_worker_and_the_image_keeps_its_lease(bench: Bench, error: Exception) -> None:
    def lose(picture: Picture) -> Cutout:
        raise error

    bench.engine = FakeEngine(lose)
    lease = FakeLease(bench.given())
    with pytest.raises(type(error)):
        bench.path.process(lease)
    assert lease.end is None
    assert bench.reports == [] and bench.sink.keys == set()
    assert bench.engine.announced == 0


# Crash suspects.


def deaths(bench: Bench, job: Job) -> int:
    """How often the image was begun and not survived, by its crash marker in the sink."""
    return int(bench.sink.content(marker_key(job)) or 0)


def die_of(bench: Bench, job: Job, times: int = 1) -> None:
    """Let workers die of the job while they process it alone; a lost device stands for a kill."""
    engine = bench.engine
    for _ in range(times):
        bench.engine = FakeEngine(lost)
        with pytest.raises(DeviceLost):
            bench.path.process(FakeLease(job, suspect=True))
    bench.engine = engine


def lost(picture: Picture) -> Cutout:
    raise DeviceLost("cuda:0 has failed")


def test_a_suspect_has_a_crash_marker_until_it_is_encoded(bench: Bench) -> None:
    marks: list[int] = []

    def cut(picture: Picture) -> Cutout:
        marks.append(deaths(bench, job))
        return keep_all(picture)

    bench.engine, job = FakeEngine(cut), bench.given()
    assert bench.process(job, suspect=True).end is Outcome.WRITTEN
    assert marks == [1]
    assert bench.sink.keys == {OUTPUT}


def test_other_images_have_no_crash_marker(bench: Bench) -> None:
    marks: list[int] = []

    def cut(picture: Picture) -> Cutout:
        marks.append(deaths(bench, job))
        return keep_all(picture)

    bench.engine, job = FakeEngine(cut), bench.given()
    bench.process(job)
    assert marks == [0]


def test_a_suspect_that_is_no_picture_has_survived(bench: Bench) -> None:
    job = bench.given(cut_short(KEY))
    assert rejection(bench.process(job, suspect=True)).reason == "truncated"
    assert bench.sink.keys == {RECORD}


def test_a_suspect_that_killed_three_workers_alone_is_rejected_unread(bench: Bench) -> None:
    job = bench.given()
    die_of(bench, job, DEATHS_TO_QUARANTINE - 1)
    assert deaths(bench, job) == DEATHS_TO_QUARANTINE - 1
    die_of(bench, job)
    assert bench.process(job, suspect=True).end == KILLS_WORKER
    assert bench.engine.submitted == 0
    assert (bench.report.outcome, bench.report.reason) == ("rejected", "kills_worker")


def test_a_suspect_that_is_survived_starts_with_no_deaths_again(bench: Bench) -> None:
    job = bench.given()
    die_of(bench, job, DEATHS_TO_QUARANTINE - 1)
    bench.sink.failing["put"] = NO_NETWORK
    assert bench.process(job, suspect=True).end == RETRY_DELAY
    assert deaths(bench, job) == 0


def test_a_crash_marker_that_cannot_be_deleted_does_not_count(bench: Bench) -> None:
    job, path = bench.given(), bench.path
    bench.sink.failing |= {"delete": NO_NETWORK, "put": NO_NETWORK}
    for _ in range(DEATHS_TO_QUARANTINE + 1):
        path.process(FakeLease(job, suspect=True))
    assert deaths(bench, job) == 1
    bench.sink.failing.clear()
    path.process(FakeLease(job, suspect=True))
    assert bench.sink.keys == {OUTPUT}


def test_deaths_of_another_version_do_not_count(bench: Bench) -> None:
    die_of(bench, bench.given(photo(KEY, colour=(1, 2, 3))), DEATHS_TO_QUARANTINE)
    assert bench.process(bench.given(), suspect=True).end is Outcome.WRITTEN


def test_a_killer_that_is_not_redelivered_is_processed(bench: Bench) -> None:
    job = bench.given()
    die_of(bench, job, DEATHS_TO_QUARANTINE)
    assert bench.process(job).end is Outcome.WRITTEN


def test_a_killer_whose_output_exists_is_already_done(bench: Bench) -> None:
    job = bench.given()
    bench.process(job)
    bench.sink.write(marker_key(job), b"3")
    assert bench.process(job, suspect=True).end is Outcome.ALREADY_DONE


def test_an_invalid_crash_marker_does_not_count(bench: Bench) -> None:
    job = bench.given()
    bench.sink.write(marker_key(job), b"many")
    assert bench.process(job, suspect=True).end is Outcome.WRITTEN


@pytest.mark.parametrize("kind", ["suspect", "alone"])
def test_a_picture_that_took_too_long_when_decoded_alone_is_rejected_unread(bench: Bench, kind: str) -> None:
    job = bench.given()
    bench.path.crash_markers.record_timeout(job, 120)
    lease = FakeLease(job, suspect=kind == "suspect", alone=kind == "alone")
    bench.path.process(lease)
    assert rejection(lease).reason == "decode_timeout" and "120 seconds" in rejection(lease).detail
    assert bench.engine.submitted == 0
    assert bench.sink.keys == {RECORD}, "the marker is gone, so that a retry is a new start"


@pytest.mark.parametrize(("suspect", "alone"), [(False, False), (True, True)])
def test_a_picture_is_watched_while_it_is_decoded(
    bench: Bench, suspect: bool, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = bench.path, list[bool]()
    watching = path.decodings.watching

    @contextmanager
    def watched(job: Job, *, alone: bool) -> Iterator[None]:
        seen.append(alone)
        with watching(job, alone=alone):
            yield

    monkeypatch.setattr(path.decodings, "watching", watched)
    path.process(FakeLease(bench.given(), suspect=suspect))
    assert seen == [alone]


def test_no_picture_is_decoded_beside_a_suspect(bench: Bench) -> None:
    cutting, leave = threading.Event(), threading.Event()

    def cut(picture: Picture) -> Cutout:
        cutting.set()
        assert leave.wait(60)
        return keep_all(picture)

    bench.engine = FakeEngine(cut)
    leases = [FakeLease(bench.given(), suspect=True), FakeLease(bench.given(key="other.png"))]
    path = bench.path
    first, second = (threading.Thread(target=path.process, args=(lease,)) for lease in leases)
    first.start()
    assert cutting.wait(60)
    second.start()
    second.join(0.1)
    assert bench.engine.submitted == bench.engine.announced == 1
    leave.set()
    first.join(60)
    second.join(60)
    assert [lease.end for lease in leases] == [Outcome.WRITTEN] * 2


# The pixel budget.


def in_thread(budget: PixelBudget, pixels: int, leave: threading.Event) -> tuple[threading.Thread, threading.Event]:
    """A thread that holds pixels until the test lets it go; the event is set while it holds them."""
    holds = threading.Event()

    def hold() -> None:
        with budget.hold(pixels):
            holds.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    return thread, holds


def test_pixels_are_held_beside_each_other_up_to_the_budget() -> None:
    budget = PixelBudget(100)
    with budget.hold(60), budget.hold(40):
        pass
    with budget.hold(100):
        pass


def test_a_picture_that_does_not_fit_waits_until_there_is_room() -> None:
    budget, leave = PixelBudget(100), threading.Event()
    with budget.hold(60):
        thread, holds = in_thread(budget, 41, leave)
        assert not holds.wait(0.05)
    assert holds.wait(60)
    leave.set()
    thread.join(60)


def test_a_picture_larger_than_the_budget_gets_it_all_and_alone() -> None:
    budget, leave = PixelBudget(100), threading.Event()
    thread, holds = in_thread(budget, 10**12, leave)
    assert holds.wait(60)
    other, holds_other = in_thread(budget, 1, leave)
    assert not holds_other.wait(0.05)
    leave.set()
    wait_until(lambda: not thread.is_alive() and not other.is_alive())
    assert holds_other.is_set()


def test_pixels_come_back_when_the_work_fails() -> None:
    budget = PixelBudget(100)
    with pytest.raises(KeyError), budget.hold(100):
        raise KeyError
    with budget.hold(100):
        pass


def test_a_picture_without_pixels_holds_none() -> None:
    budget = PixelBudget(1)
    with budget.hold(1), budget.hold(0):
        pass


def test_several_images_are_in_flight_at_the_same_time(bench: Bench) -> None:
    jobs = [bench.given(photo("x.jpg", colour=(0, number, 0)), f"{number}.jpg") for number in range(12)]
    path, leases = bench.path, [FakeLease(job) for job in jobs]
    threads = [threading.Thread(target=path.process, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [lease.end for lease in leases] == [Outcome.WRITTEN] * 12
    assert bench.sink.keys == {f"{number}.png" for number in range(12)}


def test_the_fakes_keep_the_promises_of_their_interfaces() -> None:
    """They raise for a lease that ends twice, and for a store that is read at the wrong version."""
    lease = FakeLease(Job("id", ImageRef("a.jpg", "1", 1), "a.png"))
    lease.done(Outcome.GONE)
    with pytest.raises(AssertionError, match="already ended"):
        lease.release()
    store = MemoryStore()
    old = store.write("a.jpg", b"1")
    new = store.write("a.jpg", b"2")
    with pytest.raises(Stale):
        store.read(old)
    assert (store.read(new), list(store.list()), store.stat("b.jpg"), store.output_info("b.jpg")) == (
        b"2",
        [new],
        None,
        None,
    )
    assert store.uri == "memory://store"


# Notifications.


def test_a_lease_ends_with_the_notification_of_what_was_made(bench: Bench) -> None:
    bench.notify = True
    job = bench.given()
    told = bench.process(job).notification
    made = bench.sink.content(OUTPUT)
    assert told is not None and made is not None
    (output,) = told.outputs
    assert (told.type, told.key, told.source_version, told.job) == ("image.done", KEY, job.ref.version, job.id)
    assert (output.name, output.key, output.format, output.bytes) == ("cutout", OUTPUT, "png", len(made))
    assert (output.width, output.height) == decode(made).pixels.shape[1::-1]
    assert told.matte_coverage == 1.0
    assert not {"confidence", "doubts", "made_by", "other_confidence"} & json.loads(told.body()).keys(), "no model ran"


def test_a_notification_says_how_sure_the_matte_is_why_not_and_who_made_it(bench: Bench) -> None:
    bench.notify, review = True, Review(0.41237, (Doubt.TOUCHES_FRAME,))

    def cut(picture: Picture) -> Cutout:
        return replace(keep_all(picture), review=review, other=Review(0.2), by_strong=False)

    bench.engine = FakeEngine(cut)
    told = bench.process(bench.given()).notification
    assert told is not None
    sent = json.loads(told.body())
    assert (sent["confidence"], sent["doubts"]) == (0.4124, ["touches_frame"])
    assert (sent["made_by"], sent["other_confidence"]) == ("model", 0.2)


def test_what_another_worker_has_made_is_announced_without_what_is_not_known(bench: Bench) -> None:
    job = bench.given()
    bench.process(job)
    bench.notify = True
    told = bench.process(job).notification
    assert told is not None and not {"matte_coverage", "confidence", "made_by"} & json.loads(told.body()).keys()
    (output,) = told.outputs
    assert output.key == OUTPUT and output.bytes is output.width is None


def test_a_rejection_is_announced_with_its_reason(bench: Bench) -> None:
    bench.notify = True
    lease = bench.process(bench.given(b"GIF87a?"))
    told = lease.notification
    assert told is not None and told.type == "image.rejected" and told.outputs == ()
    assert (told.reason, told.detail) == (rejection(lease).reason, rejection(lease).detail)


def test_nothing_is_announced_of_an_image_that_is_gone_or_replaced_or_where_nobody_is_to_be_told(bench: Bench) -> None:
    assert bench.process(bench.given()).notification is None
    bench.notify = True
    old = bench.given(key="b.png")
    bench.given(key="b.png")
    assert bench.process(old).notification is None
    bench.source.remove("b.png")
    assert bench.process(old).notification is None

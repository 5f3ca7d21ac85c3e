"""A worker opens the same things as its supervisor, from nothing but the settings and what the supervisor found out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from watcher.aws.clients import AwsOptions
from watcher.config.settings import OUTPUT_SETTINGS, Settings
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import ImageRef
from watcher.protocol import WorkerStart, decode_start, encode
from watcher.stores import ConditionalWrites, PutOptions, S3Config
from watcher.wiring import Wiring

SETTINGS = Settings(
    source="s3://box/in it",
    sink="s3://box/out",
    output_name="{dir}{name}.png",
    queue="amqp://me:secret@rabbit/?queue=q",
    s3_endpoint="http://minio:9000",
    s3_region="here",
    s3_profile="me",
    s3_path_style=True,
    s3_tags="a=b",
    sink_s3_region="there",
    visibility=30,
    after="move:in it/done",
    model="fake",
    png_level=3,
)
WIRING = Wiring.of(SETTINGS)
AWS = AwsOptions("http://minio:9000", "here", "me", True)
UNQUOTED = ConditionalWrites(True, "unquoted")


def in_a_worker(wiring: Wiring) -> Wiring:
    """What a worker makes of its first message."""
    start = WorkerStart(
        owner="w",
        device="cpu",
        threads=1,
        settings=wiring.settings,
        model=wiring.model,
        conditional_writes=wiring.conditional_writes,
    )
    read = decode_start(encode(start))
    assert read == start
    return Wiring(read.settings, read.model, read.conditional_writes)


def test_a_worker_has_the_same_wiring() -> None:
    folders = Settings(source="/in", sink="/out", model="fake", state=Path("/state"))
    for wiring in (WIRING, replace(WIRING, conditional_writes=UNQUOTED), Wiring.of(folders)):
        assert in_a_worker(wiring) == wiring


def test_a_worker_computes_the_same_jobs() -> None:
    ref = ImageRef("a b.jpg", "etag", 5)
    assert in_a_worker(WIRING).recipe.job(ref) == WIRING.recipe.job(ref)
    assert WIRING.recipe.job(ref).output == "a b.jpg.png"
    assert WIRING.recipe.outputs[0].options == {"png_level": 3}


def test_the_job_of_the_default_settings_is_the_same_in_every_release() -> None:
    """Existing outputs record it: if it changes, an upgrade makes every one of them again."""
    wiring = Wiring.of(Settings(source="s3://in", sink="s3://out", model="fake"))
    job = wiring.recipe.job(ImageRef("a/x.jpg", "1", 2))
    assert (job.id, job.output) == ("9e97c8d095c0e05937ad482caf834b4239d90a3745c760c1389554948700a7c2", "a/x.png")


def test_an_output_keeps_its_id_when_others_come_and_go() -> None:
    ref = ImageRef("a/x.jpg", "1", 2)
    alone = Wiring.of(Settings(source="s3://in", sink="s3://out", model="fake"))
    among = Wiring.of(
        Settings.model_validate(
            alone.settings.model_dump() | {"preset": "cutout", "output": ["webp", "jpeg,background=white"]}
        )
    )
    plain, webp, jpeg = among.recipe.outputs_of(ref)
    assert (plain.id, plain.key) == (alone.recipe.job(ref).id, "a/x.png")
    assert (webp.key, jpeg.key) == ("webp/a/x.webp", "jpeg/a/x.jpg")
    assert plain.job == webp.job == jpeg.job == among.recipe.job(ref).id
    assert len({plain.id, webp.id, jpeg.id, plain.job}) == 4


def test_another_background_picture_is_another_output(tmp_path: Path) -> None:
    picture = tmp_path / "background.png"
    ids = []
    for content in (b"one", b"two"):
        picture.write_bytes(content)
        settings = Settings.model_validate(SETTINGS.model_dump() | {"output": [f"webp,background={picture}"]})
        ids.append(Wiring.of(settings).recipe.job_id(ImageRef("a.jpg", "1", 2)))
    assert ids[0] != ids[1]
    picture.unlink()
    with pytest.raises(ConfigurationError, match=r'output "webp": background: .*background.png cannot be read'):
        _ = Wiring.of(settings).recipe


def test_a_path_that_is_no_valid_text_reaches_the_worker(tmp_path: Path) -> None:
    odd = str(tmp_path) + b"/caf\xe9".decode("utf-8", "surrogateescape")
    wiring = Wiring.of(Settings(source=odd, sink=odd + "-out", model="fake"))
    assert in_a_worker(wiring).source == wiring.source


def test_an_invalid_start_does_not_repeat_what_it_was_given() -> None:
    line = encode(
        WorkerStart(owner="w", device="cpu", threads=1, settings=SETTINGS, model=WIRING.model, conditional_writes=None)
    )
    for broken in (line[:-1], line.replace('"threads":1', '"threads":"secret"')):
        with pytest.raises(ValueError, match=r"line 1 column|1 validation error for WorkerStart") as caught:
            decode_start(broken)
        assert "secret" not in str(caught.value)


def test_a_bucket_is_opened_with_the_settings_that_are_for_it() -> None:
    wiring = replace(WIRING, conditional_writes=UNQUOTED)
    assert wiring.source_s3 == S3Config(AWS)
    assert wiring.sink_s3 == S3Config(replace(AWS, region="there"), PutOptions(tags="a=b"), UNQUOTED)
    assert wiring.sqs == AwsOptions(region="here", profile="me")
    assert not wiring.same_service
    assert Wiring.of(SETTINGS.model_copy(update={"sink_s3_region": ""})).same_service


def test_where_moved_images_go_is_not_watched() -> None:
    assert WIRING.excluded == ("done/",)


def test_a_sink_has_conditional_writes_only_if_it_was_found_to_enforce_both() -> None:
    assert replace(WIRING, conditional_writes=UNQUOTED).sink_has_conditional_writes
    for found in (None, ConditionalWrites(False, "quoted"), ConditionalWrites(True, "")):
        assert not replace(WIRING, conditional_writes=found).sink_has_conditional_writes


def test_there_are_connections_for_all_threads_and_never_fewer_than_before() -> None:
    wide, narrow = WIRING.for_threads(40), WIRING.for_threads(2)
    assert {wide.source_s3.aws.connections, wide.sink_s3.aws.connections, wide.sqs.connections} == {40}
    assert narrow == WIRING


OTHER_VALUES = {
    "output_name": "{stem}.png",
    "model": "fake:side=192",
    "canvas": 192,
    "input_alpha": "trust",
    "truncated": "keep",
    "png_level": 0,
    "preset": ["amazon-main"],
    "output": ["webp,quality=80"],
    "batch": 3,
    "devices": "cpu:2",
    "max_pixels": 1,
    "rescan": 5.0,
    "sink": "s3://box/elsewhere",
}


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_a_job_depends_on_the_settings_that_are_marked_as_deciding_the_output_and_no_others(name: str) -> None:
    ref = ImageRef("a b.jpg", "etag", 5)
    other = Wiring.of(Settings.model_validate(SETTINGS.model_dump() | {name: OTHER_VALUES[name]}))
    assert (other.recipe.job(ref) != WIRING.recipe.job(ref)) == (name in OUTPUT_SETTINGS)


def test_a_setting_that_came_later_changes_no_id_while_it_has_its_default() -> None:
    assert "truncated" not in WIRING.recipe.options
    kept = Wiring.of(SETTINGS.model_copy(update={"truncated": "keep"}))
    assert kept.recipe.options["truncated"] == "keep"


CASCADE_VALUES = {"strong": "fake:side=256", "strong_below": 0.3, "strong_share": 0.1, "canvas": 192}


@pytest.mark.parametrize("name", CASCADE_VALUES)
def test_in_a_cascade_a_job_depends_on_both_models_and_on_the_rule(name: str) -> None:
    ref, cascade = ImageRef("a b.jpg", "etag", 5), SETTINGS.model_dump() | {"strong": "fake"}
    one, other = (
        Wiring.of(Settings.model_validate(values)) for values in (cascade, cascade | {name: CASCADE_VALUES[name]})
    )
    assert len({wiring.recipe.job(ref).id for wiring in (WIRING, one, other)}) == 3


def test_every_setting_that_decides_the_output_is_tried() -> None:
    untried = set(OUTPUT_SETTINGS) - set(OTHER_VALUES) - set(CASCADE_VALUES)
    assert untried == {"model_contract", "strong_contract"}, "which need a third-party model's file"

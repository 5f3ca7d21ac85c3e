"""Which output belongs to an image, and when two jobs are the same."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.jobs import ImageRef, OutputRecipe, Recipe, output_key

REF = ImageRef("shoes/a.jpg", "10-20-30", 10)
RECIPE = Recipe("file:///photos", "digest", {"canvas": 320, "png_level": 1})


@pytest.mark.parametrize(
    ("pattern", "key", "output"),
    [
        ("{dir}{stem}.png", "a.jpg", "a.png"),
        ("{dir}{stem}.png", "a/b/c.jpg", "a/b/c.png"),
        ("{dir}{stem}.png", "a.b/c.d.JPEG", "a.b/c.d.png"),
        ("{dir}{name}.png", "a/c.webp", "a/c.webp.png"),
        ("{dir}{stem}.{ext}.png", "a/c.webp", "a/c.webp.png"),
        ("{stem}.png", "a/b/c.jpg", "c.png"),
        ("cut/{dir}{stem}-cutout.png", "a/c.jpg", "cut/a/c-cutout.png"),
        ("{dir}{stem}.png", "a {dir}/{stem}.jpg", "a {dir}/{stem}.png"),
        ("{{x}}/{stem}.png", "c.jpg", "{x}/c.png"),
        ("{dir}{stem}.png", "Hüte/été.jpg", "Hüte/été.png"),
    ],
)
def test_an_outputs_key_follows_the_pattern(pattern: str, key: str, output: str) -> None:
    assert output_key(pattern, key) == output


def test_a_job_knows_its_image_and_its_output() -> None:
    job = RECIPE.job(REF)
    assert (job.ref, job.output) == (REF, "shoes/a.png")
    assert job.id == RECIPE.job_id(REF)


def test_a_job_id_is_the_same_in_every_process_and_release() -> None:
    """Existing outputs contain it: if it changes, every one of them is made again."""
    assert RECIPE.job_id(REF) == "cda889542ff5ff5b298300bad23c9d81cade76b61e088d5670d73796790cc7a4"


def test_a_job_id_is_64_hex_digits_whatever_the_key() -> None:
    assert re.fullmatch("[0-9a-f]{64}", RECIPE.job_id(replace(REF, key="Hüte/\n\udc80.jpg")))


def test_the_order_of_options_does_not_matter() -> None:
    assert replace(RECIPE, options={"png_level": 1, "canvas": 320}).job_id(REF) == RECIPE.job_id(REF)


def test_the_size_is_a_part_of_the_version_and_does_not_count_again() -> None:
    assert RECIPE.job_id(replace(REF, size=11)) == RECIPE.job_id(REF)


@pytest.mark.parametrize(
    "other",
    [
        replace(RECIPE, source="file:///other"),
        replace(RECIPE, model="another digest"),
        replace(RECIPE, options={"canvas": 384, "png_level": 1}),
        replace(RECIPE, options={"canvas": 320, "png_level": 2}),
        replace(RECIPE, options={"canvas": 320, "png_level": 1, "pipeline": 2}),
        replace(RECIPE, outputs=(OutputRecipe(pattern="{dir}{name}.png"),)),
    ],
)
def test_another_ingredient_is_another_job(other: Recipe) -> None:
    assert other.job_id(REF) != RECIPE.job_id(REF)


@pytest.mark.parametrize("ref", [replace(REF, key="shoes/b.jpg"), replace(REF, version="10-21-30")])
def test_another_image_or_version_is_another_job(ref: ImageRef) -> None:
    assert RECIPE.job_id(ref) != RECIPE.job_id(REF)


@given(st.text(), st.text(), st.text(), st.text())
def test_different_pairs_of_key_and_version_have_different_jobs(
    key: str, version: str, key2: str, version2: str
) -> None:
    one, two = ImageRef(key, version, 1), ImageRef(key2, version2, 1)
    assert (RECIPE.job_id(one) == RECIPE.job_id(two)) == (one == two)

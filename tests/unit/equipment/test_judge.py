"""What the producer notes is what it has put, and the judge sees every fault in what became of it."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.equipment.daemon import BACKGROUND, colour, photo
from tests.equipment.judge import judge
from tests.equipment.producer import FOLDERS, NAMES, Plan, Producer, produce
from tests.unit.equipment.clients import keys


@pytest.fixture
def plan(moto: int, bucket: str, tmp_path: Path) -> Plan:
    return Plan(f"http://127.0.0.1:{moto}", bucket, count=24, listing=tmp_path / "put.jsonl", rate=1e6)


def cut_out(picture: bytes) -> bytes:
    """What a daemon makes of a picture, made in another way."""
    with Image.open(io.BytesIO(picture)) as image:
        pixels = np.array(image.convert("RGBA"))
    pixels[(pixels[..., :3] == BACKGROUND).all(axis=2)] = 0
    output = Image.fromarray(pixels)
    file = io.BytesIO()
    output.save(file, "PNG")
    return file.getvalue()


def work(client: Any, bucket: str) -> None:
    """Make all outputs."""
    for key in keys(client, bucket, Prefix="in/"):
        data = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        client.put_object(Bucket=bucket, Key=f"out/{key.removeprefix('in/')}", Body=cut_out(data))


def test_what_is_noted_has_been_put(plan: Plan, behind: Any) -> None:
    plan = replace(plan, count=len(FOLDERS) * len(NAMES))
    with Producer(plan) as producer:
        producer.wait()
        assert producer.put_so_far() == plan.count

    noted = {line["key"]: line for line in map(json.loads, plan.listing.read_text("utf-8").splitlines())}
    assert {f"in/{key}" for key in noted} == set(keys(behind, plan.bucket))
    for key, line in noted.items():
        data = behind.get_object(Bucket=plan.bucket, Key=f"in/{key}")["Body"].read()
        assert hashlib.sha256(data).hexdigest() == line["sha256"]
    assert len({line["sha256"] for line in noted.values()}) == plan.count
    assert all(any(nasty in key for key in noted) for nasty in " +%ü|/&?#🥾")


def test_the_judge_likes_what_is_right(plan: Plan, behind: Any) -> None:
    produce(plan)
    work(behind, plan.bucket)
    behind.put_object(Bucket=plan.bucket, Key="out/_alphadrop/marker", Body=b"x")

    verdict = judge(plan.listing, behind, plan.bucket)

    assert verdict.clean, str(verdict)
    assert verdict.good == plan.count


def test_the_judge_finds_what_is_missing_wrong_and_surplus(plan: Plan, behind: Any) -> None:
    produce(plan)
    work(behind, plan.bucket)
    absent, other, unlike, cut, *_ = sorted(key.removeprefix("in/") for key in keys(behind, plan.bucket, Prefix="in/"))
    behind.delete_object(Bucket=plan.bucket, Key=f"out/{absent}")
    good = behind.get_object(Bucket=plan.bucket, Key=f"out/{cut}")["Body"].read()
    spoilt = {
        other: good,
        unlike: photo(colour(1)),
        cut: good[:-20],
        "_failed/a.png.json": b"{}",
        "_alphadrop/large": bytes(5000),
        "x.jpg": b"",
    }
    for key, data in spoilt.items():
        behind.put_object(Bucket=plan.bucket, Key=f"out/{key}", Body=data)

    verdict = judge(plan.listing, behind, plan.bucket)

    assert not verdict.clean
    assert verdict.missing == [absent]
    assert verdict.wrong == [other, unlike, cut]
    assert verdict.surplus == ["_alphadrop/large", "_failed/a.png.json", "x.jpg"]
    assert "1 missing: " + absent in str(verdict)


def test_the_judge_sees_a_single_pixel(plan: Plan, behind: Any) -> None:
    produce(plan)
    work(behind, plan.bucket)
    key = keys(behind, plan.bucket, Prefix="out/")[0]
    with Image.open(behind.get_object(Bucket=plan.bucket, Key=key)["Body"]) as image:
        image.putpixel((0, 0), (0, 0, 0, 1))
        file = io.BytesIO()
        image.save(file, "PNG")
    behind.put_object(Bucket=plan.bucket, Key=key, Body=file.getvalue())

    assert judge(plan.listing, behind, plan.bucket).wrong == [key.removeprefix("out/")]


def test_the_judge_misses_each_of_several_outputs(plan: Plan, behind: Any) -> None:
    produce(plan)
    work(behind, plan.bucket)
    stems = [key.removeprefix("out/").rpartition(".")[0] for key in keys(behind, plan.bucket, Prefix="out/")]
    for stem in stems[1:]:
        data = behind.get_object(Bucket=plan.bucket, Key=f"out/{stem}.png")["Body"].read()
        behind.put_object(Bucket=plan.bucket, Key=f"out/copy/{stem}.png", Body=data)

    verdict = judge(plan.listing, behind, plan.bucket, patterns=("{stem}.png", "copy/{stem}.png"))

    assert (verdict.missing, verdict.wrong, verdict.surplus) == ([f"copy/{stems[0]}.png"], [], [])
    assert verdict.good == 2 * plan.count - 1

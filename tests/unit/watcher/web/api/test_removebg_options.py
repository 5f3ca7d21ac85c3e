"""What a request to the compatible addresses may ask for, and what it means."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from inference.compose.look import Look
from inference.compose.placement import Length, Margins, Placement
from inference.compose.values import Format
from inference.picture import Box
from watcher.web.api.rembg_options import RembgOptions
from watcher.web.api.removebg_options import SHADOW, RemovebgOptions
from watcher.web.api.validation import validated
from watcher.web.errors import ApiError

TENTH, TWENTY = Length(0.1, is_part=True), Length(20)


@pytest.mark.parametrize(
    ("fields", "look"),
    [
        ({}, Look()),
        ({"size": "full", "type": "product", "channels": "rgba", "bg_color": ""}, Look()),
        ({"size": "preview"}, Look(placement=Placement(max_pixels=250_000))),
        ({"size": "4k", "format": "jpg"}, Look(format=Format.JPEG, placement=Placement(max_pixels=10_000_000))),
        ({"channels": "alpha"}, Look(is_mask=True)),
        (
            {"crop": "true", "crop_margin": "10% 20px"},
            Look(placement=Placement(crop=Margins(TENTH, TWENTY, TENTH, TWENTY))),
        ),
        ({"scale": "80%"}, Look(placement=Placement(scale=0.8, position=(0.5, 0.5)))),
        ({"scale": "80%", "position": "0% 100%"}, Look(placement=Placement(scale=0.8, position=(0, 1)))),
        ({"scale": "80%", "position": "original"}, Look(placement=Placement(scale=0.8))),
        ({"position": "center"}, Look(placement=Placement(position=(0.5, 0.5)))),
        ({"bg_color": "6ad"}, Look(colour=(0x66, 0xAA, 0xDD, 255))),
        ({"bg_color": "#81d4fa77", "format": "webp"}, Look(format=Format.WEBP, colour=(0x81, 0xD4, 0xFA, 0x77))),
        ({"bg_color": "Green"}, Look(colour=(0, 128, 0, 255))),
        ({"add_shadow": "true"}, Look(shadow=SHADOW)),
        ({"add_shadow": True, "shadow_opacity": "80"}, Look(shadow=0.8)),
        ({"add_shadow": "true", "shadow_type": "none", "channels": "alpha"}, Look(is_mask=True)),
        ({"semitransparency": True, "type_level": "none", "crop": False, "crop_margin": "0px"}, Look()),
    ],
)
def test_options_become_a_look(fields: Mapping[str, object], look: Look) -> None:
    assert validated(RemovebgOptions, fields).look == look


@pytest.mark.parametrize(
    ("fields", "code", "remedy"),
    [
        ({"size": "huge"}, "invalid_size", "'preview'"),
        ({"type": "car"}, "invalid_type", "send auto"),
        ({"type_level": "2"}, "invalid_type_level", "send none"),
        ({"format": "gif"}, "invalid_format", "'png'"),
        ({"channels": "rgb"}, "invalid_channels", "'alpha'"),
        ({"roi": "0% 0%"}, "invalid_roi", "x1 y1 x2 y2"),
        ({"crop": "perhaps"}, "invalid_crop", "boolean"),
        ({"crop": "true", "crop_margin": "501px"}, "invalid_crop_margin", "500px"),
        ({"crop": "true", "crop_margin": "1px 2px 3px"}, "invalid_crop_margin", "one, two or four"),
        ({"crop_margin": "10px"}, "invalid_combination", "add crop=true"),
        ({"crop": "true", "scale": "50%"}, "invalid_combination", "leave one out"),
        ({"scale": "5%"}, "invalid_scale", "10% to 100%"),
        ({"position": "top"}, "invalid_position", "center"),
        ({"shadow_type": "drop", "add_shadow": "true"}, "invalid_shadow_type", "'auto'"),
        ({"semitransparency": "false"}, "invalid_semitransparency", "leave it out"),
        ({"bg_color": "nothing"}, "invalid_bg_color", "RRGGBB"),
        ({"bg_color": "rgb(1,2,3)"}, "invalid_bg_color", "RRGGBB"),
        ({"format": "zip", "bg_color": "fff"}, "invalid_combination", "leave bg_color"),
        ({"channels": "alpha", "add_shadow": "1"}, "invalid_combination", "no shadow"),
        ({"sizes": "full"}, "unknown_parameter", "known are size, type"),
        ({"size": ["full"]}, "invalid_size", "'full'"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_remedy(fields: Mapping[str, object], code: str, remedy: str) -> None:
    with pytest.raises(ApiError) as raised:
        validated(RemovebgOptions, fields)
    assert (raised.value.status, raised.value.code) == (400, code)
    assert remedy in raised.value.detail


def test_a_region_is_a_part_of_the_upright_picture() -> None:
    assert validated(RemovebgOptions, {}).region is None
    region = validated(RemovebgOptions, {"roi": "300px 50% 100px 0%"}).region
    assert region is not None and region.of(200, 100) == Box(100, 0, 200, 50)
    with pytest.raises(ValueError, match="outside of the picture"):
        region.of(50, 50)


@pytest.mark.parametrize(
    ("fields", "look"),
    [
        ({}, Look(format=Format.PNG)),
        ({"a": "true", "bgc": "255,0,10,128"}, Look(format=Format.PNG, colour=(255, 0, 10, 128))),
        ({"om": "1", "ppm": "false"}, Look(format=Format.PNG, is_mask=True)),
    ],
)
def test_rembgs_options_become_a_look(fields: Mapping[str, object], look: Look) -> None:
    assert validated(RembgOptions, fields).look == look


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"af": "240"}, "invalid_af"),
        ({"ppm": "true"}, "invalid_ppm"),
        ({"bgc": "255,255,255"}, "invalid_bgc"),
        ({"bgc": "256,0,0,0"}, "invalid_bgc"),
        ({"extras": "{}"}, "unknown_parameter"),
    ],
)
def test_what_rembg_can_and_this_cannot_is_refused(fields: Mapping[str, object], code: str) -> None:
    with pytest.raises(ApiError) as raised:
        validated(RembgOptions, fields)
    assert raised.value.code == code


def test_several_mistakes_are_all_named() -> None:
    with pytest.raises(ApiError) as raised:
        validated(RemovebgOptions, {"size": "huge", "bg_color": "nothing"})
    assert "size" in raised.value.detail and "bg_color" in raised.value.detail

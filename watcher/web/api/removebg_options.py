"""What a request to `/v1.0/removebg` asks for, and which look of the cut-out that is.

The names and the values are those of the common background-removal services. What cannot be done here is refused with a
reason, never ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from inference.compose.look import Look, Rgba
from inference.compose.placement import NO_MARGINS, Placement
from inference.compose.values import Format
from watcher.web.api import values
from watcher.web.api.wanted import Wanted

MEGAPIXELS = {"preview": 0.25, "small": 0.25, "regular": 0.25, "medium": 1.5, "hd": 4.0, "4k": 10.0, "50MP": 50.0}
"""Most megapixels of each size; `full` and `auto` are the picture's own."""
SHADOW = 0.5
"""Strength of the shadow of `add_shadow`."""
_TYPES = ("auto", "product")
_OTHER_TYPES = ("person", "animal", "car", "car_part", "transportation", "graphic", "other")


def _supported_type(value: Any) -> Any:
    if value in _OTHER_TYPES:
        raise ValueError(f"{value!r} has no model of its own here; send auto, or leave it out")
    return value


def _only(allowed: str, why: str) -> Callable[[Any], Any]:
    """Make a check for an option of which only one value can be done here."""

    def check(value: Any) -> Any:
        if str(value).strip().lower() != allowed:
            raise ValueError(f"{why}; send {allowed}, or leave it out")
        return allowed

    return check


def _checked(read: Callable[[str], object]) -> AfterValidator:
    """Make a check that keeps the text, which `read` accepts."""

    def check(text: str) -> str:
        read(text)
        return text

    return AfterValidator(check)


_Text = Annotated[str, Field(max_length=100)]


class RemovebgOptions(BaseModel):
    """The options, apart from the picture itself. Raises pydantic's ValidationError."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    size: Literal["auto", "preview", "small", "regular", "medium", "hd", "4k", "full", "50MP"] = "auto"
    """Most megapixels of the result: preview, small and regular 0.25, medium 1.5, hd 4, 4k 10, 50MP 50; auto and full
    keep the picture's size."""
    type: Annotated[Literal["auto", "product"], BeforeValidator(_supported_type)] = "auto"
    """What the picture shows. One model does everything here, so person, car and others are refused."""
    type_level: Annotated[Literal["none"], BeforeValidator(_only("none", "pictures are not classified here"))] = "none"
    """How exactly the type is reported: not at all."""
    format: Literal["auto", "png", "jpg", "jpeg", "webp", "zip"] = "auto"
    """auto is a PNG, or a JPEG on an opaque background; zip has color.jpg and alpha.png."""
    channels: Literal["rgba", "alpha"] = "rgba"
    """rgba is the cut-out, alpha its matte as a grey picture."""
    roi: Annotated[_Text, _checked(values.region)] = "0% 0% 100% 100%"
    """Two corners, x1 y1 x2 y2, in px or %; what is outside of them is removed."""
    crop: bool = False
    """Cut the result down to the object."""
    crop_margin: Annotated[_Text, _checked(values.margins)] = "0"
    """Room around a cropped object: one, two or four lengths of at most 500px, or 50% of the object."""
    scale: Annotated[_Text, _checked(values.scale)] = "original"
    """How much of the picture the object takes: original, or 10% to 100%."""
    position: Annotated[_Text, _checked(values.position)] | None = None
    """Where the object is: original, center, or one or two shares from 0% to 100%; center where scale is given."""
    add_shadow: bool = False
    """Add a soft shadow under the object."""
    shadow_type: Literal["auto", "none"] = "auto"
    """none adds no shadow; only a contact shadow can be drawn here, so other types are refused."""
    shadow_opacity: Annotated[int, Field(ge=0, le=100)] | None = None
    """Strength of the shadow in per cent, 50 unless it is given."""
    semitransparency: Annotated[
        Literal["true"], BeforeValidator(_only("true", "semi-transparent parts cannot be made opaque here"))
    ] = "true"
    """Whether semi-transparent parts stay so, which they always do here."""
    bg_color: Annotated[_Text, _checked(values.colour)] | None = None
    """Colour behind the object: hex digits RRGGBB or RRGGBBAA, or a name."""

    @model_validator(mode="after")
    def _is_possible(self) -> RemovebgOptions:
        for is_broken, problem in _RULES:
            if is_broken(self):
                raise ValueError(problem)
        return self

    @property
    def is_zip(self) -> bool:
        """Whether the result is two pictures in a ZIP archive."""
        return self.format == "zip"

    @property
    def colour(self) -> Rgba | None:
        """The background's colour."""
        return values.colour(self.bg_color) if self.bg_color else None

    @property
    def has_shadow(self) -> bool:
        """Whether a shadow is drawn."""
        return self.add_shadow and self.shadow_type != "none"

    @property
    def look(self) -> Look:
        """What is to be drawn, without the picture behind it and without the region."""
        strength = SHADOW if self.shadow_opacity is None else self.shadow_opacity / 100
        return Look(
            format=_FORMATS.get(self.format),
            is_mask=self.channels == "alpha",
            placement=self._placement,
            colour=self.colour,
            shadow=strength if self.has_shadow else 0.0,
        )

    @property
    def wanted(self) -> Wanted:
        """What is to be made, without the picture behind it."""
        return Wanted(self.look, self.is_zip, self.region)

    @property
    def region(self) -> values.Region | None:
        """The part of the picture to which the object is limited; None for all of it."""
        found = values.region(self.roi)
        return None if found == values.region("0% 0% 100% 100%") else found

    @property
    def _placement(self) -> Placement:
        limit = MEGAPIXELS.get(self.size)
        position = values.position(self.position) if self.position else None
        scale = values.scale(self.scale)
        if scale is not None and self.position is None:
            position = (0.5, 0.5)
        return Placement(
            crop=values.margins(self.crop_margin) if self.crop else None,
            scale=scale,
            position=position,
            max_pixels=int(limit * 1_000_000) if limit else None,
        )


_FORMATS = {"png": Format.PNG, "jpg": Format.JPEG, "jpeg": Format.JPEG, "webp": Format.WEBP}
_RULES: tuple[tuple[Callable[[RemovebgOptions], bool], str], ...] = (
    (
        lambda o: not o.crop and values.margins(o.crop_margin) != NO_MARGINS,
        "crop_margin is the room around a cropped object: add crop=true",
    ),
    (
        lambda o: o.crop and (o._placement.scale is not None or o._placement.position is not None),
        "crop and scale or position both say where the object goes: leave one out",
    ),
    (
        lambda o: o.is_zip and (o.bg_color is not None or o.channels == "alpha"),
        "a zip has the colours and alpha apart, without a background: leave bg_color and channels out",
    ),
    (
        lambda o: o.channels == "alpha" and (o.bg_color is not None or o.has_shadow),
        "channels=alpha has no background and no shadow: leave them out",
    ),
)

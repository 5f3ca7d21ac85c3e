"""From a cut-out to the files of its outputs: composed, encoded, and with what they record about themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from inference.codec import PictureInfo
from inference.compose import NO_METADATA, OutputSpec, SourceMetadata, compose, read_source
from inference.errors import BackgroundUnreadable
from inference.models.entry import ModelEntry
from inference.picture import Box, Cutout
from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Facts, ImageRef, Output, OutputRecipe, Recipe
from watcher.stores.output_metadata import output_text

# What a pixel with 16 bits a channel counts for, measured: decoded to 8 bits, 16 bytes; with its depth kept, 35; and
# composed as 16 bits in floats, 60.
_DEEP, _DEEP_TO_DEEP, _COMPOSED_DEEP = 2, 3, 4
_LONGEST_OPTIONS = 640
"""Characters of the options that an output records: a PNG has 4 KiB for all its text."""


@dataclass(frozen=True)
class PlannedOutput:
    """An output of one image, and how it is made."""

    output: Output
    recipe: OutputRecipe
    spec: OutputSpec


@dataclass(frozen=True)
class EncodedOutput:
    """The file of an output, which is not in the sink yet."""

    plan: PlannedOutput
    data: bytes = field(repr=False)
    width: int
    height: int
    facts: Facts


@dataclass(frozen=True)
class OutputMaker:
    """Plans and makes the outputs of images; shared by all threads of a worker."""

    recipe: Recipe
    specs: Sequence[OutputSpec]
    """In the order of `recipe.outputs`."""
    png_level: int
    model: str
    """The model, as outputs record it."""
    strong: str = ""
    """The strong model of a cascade, as outputs record it."""

    @classmethod
    def of(cls, settings: Settings, recipe: Recipe, model: ModelEntry, strong: ModelEntry | None = None) -> OutputMaker:
        """The maker of the outputs that the settings ask for."""
        specs = [output.spec for output in settings.outputs]
        return cls(recipe, specs, settings.png_level, recorded_model(model), recorded_model(strong) if strong else "")

    def model_of(self, cutout: Cutout) -> str:
        """The model that made a cut-out, as outputs record it."""
        return self.strong if cutout.by_strong else self.model

    def plan(self, ref: ImageRef) -> list[PlannedOutput]:
        """The outputs of an image."""
        parts = zip(self.recipe.outputs_of(ref), self.recipe.outputs, self.specs, strict=True)
        return [PlannedOutput(output, recipe, spec) for output, recipe, spec in parts]

    def encode(
        self, plans: Iterable[PlannedOutput], cutout: Cutout, source: SourceMetadata = NO_METADATA
    ) -> list[EncodedOutput]:
        """Make the files of outputs.

        Raises PictureError where one cannot hold the picture, ConfigurationError where a background cannot be read.
        """
        try:
            return [self._encode(plan, cutout, source) for plan in plans]
        except BackgroundUnreadable as error:
            raise ConfigurationError(str(error)) from error

    def _encode(self, plan: PlannedOutput, cutout: Cutout, source: SourceMetadata) -> EncodedOutput:
        options = self._options_text(plan)

        def facts_of(box: Box | None) -> Facts:
            corners = (box.left, box.top, box.right, box.bottom) if box else None
            return Facts(cutout.coverage, corners, self.model_of(cutout), options, cutout.review, cutout.other)

        composed = compose(
            cutout,
            plan.spec,
            source,
            lambda box: output_text(plan.output, facts_of(box)),
            png_level=self.png_level,
        )
        return EncodedOutput(plan, composed.data, composed.width, composed.height, facts_of(composed.box))

    def _options_text(self, plan: PlannedOutput) -> str:
        """Every option of an output, with the background's name for its path, which says nothing elsewhere."""
        options = {**self.recipe.options, **plan.recipe.options}
        if plan.spec.background_path:
            options["output"] = {**plan.spec.changes(), "background": plan.spec.background_path.name}
        text = json.dumps(options, sort_keys=True, separators=(",", ":"))
        return text if len(text) <= _LONGEST_OPTIONS else ""


def recorded_model(model: ModelEntry) -> str:
    """A model as outputs record it: its name and the start of its digest."""
    return f"{model.title} {model.digest[:12]}"


def pixels_in_memory(plans: Sequence[PlannedOutput], info: PictureInfo) -> int:
    """Most pixels that are in memory at a time while these outputs are made of a picture.

    The unit is a pixel of a picture with 8 bits a channel, which takes up to 14 bytes; one with more bits counts as
    several.
    """
    keeps_depth = info.deep and any(plan.spec.depth == 16 for plan in plans)
    each = _DEEP_TO_DEEP if keeps_depth else _DEEP if info.deep else 1
    return each * info.width * info.height + max((_composed_pixels(plan.spec, info) for plan in plans), default=0)


def _composed_pixels(spec: OutputSpec, info: PictureInfo) -> int:
    """Pixels of what is composed besides the picture; 0 for the plain PNG, which is encoded as it is."""
    each = _COMPOSED_DEEP if info.deep and spec.depth == 16 else 1
    return 0 if spec.is_plain else each * spec.most_pixels(info.width, info.height)


def needed_of_source(data: bytes, plans: Iterable[PlannedOutput], max_pixels: int) -> SourceMetadata:
    """What these outputs carry over from the image's file."""
    specs = [plan.spec for plan in plans if not plan.spec.is_plain]
    return read_source(data, specs, max_pixels=max_pixels) if specs else NO_METADATA

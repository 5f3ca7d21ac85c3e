"""The verdict on one matte: how sure it is, and why not. Imports no torch: the watcher reads it, too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Doubt(StrEnum):
    """A reason to look at a cut-out. The value stands in metadata, log lines, CSV files and on sheets.

    A new member needs a row in the table of `docs/review.md`.
    """

    meaning: str
    """One sentence for the person who looks."""

    def __new__(cls, value: str, meaning: str = "") -> Doubt:
        member = str.__new__(cls, value)
        member._value_, member.meaning = value, meaning
        return member

    INCOMPLETE = "incomplete", "The image's file is truncated or damaged, and what was missing has been filled in."
    EMPTY = "empty", "Next to nothing of the picture is left."
    UNDECIDED = "undecided", "Large parts of the matte are neither object nor background."
    UNSTABLE_OUTLINE = "unstable_outline", "Where the object ends depends on how much alpha counts as object."
    INTRICATE_OUTLINE = "intricate_outline", "The outline is long for the object's size: spokes, fur, leaves or shreds."
    SEVERAL_OBJECTS = "several_objects", "The object is in several parts that do not touch."
    TOUCHES_FRAME = "touches_frame", "The object reaches the edge of the picture, and may be cut off."
    LOW_CONTRAST = "low_contrast", "Object and background have nearly the same colour along part of the outline."
    SHADOW_LIKE = "shadow_like", "A part of the object looks like a shadow on the ground."
    BUSY_BACKGROUND = "busy_background", "There is much detail in the background, which may hold other objects."


@dataclass(frozen=True)
class Review:
    """How sure a matte is."""

    confidence: float
    """Estimated chance, 0..1, that the cut-out is good: that its IoU with the true matte is at least 0.9."""
    doubts: tuple[Doubt, ...] = ()
    """Why it may not be, the weightiest first; a sure matte may have some, too."""

    @property
    def confidence_text(self) -> str:
        """The confidence as outputs record it: a decimal with four digits.

        >>> Review(2 / 3).confidence_text
        '0.6667'
        """
        return f"{self.confidence:.4f}"

    @property
    def doubts_text(self) -> str:
        """The doubts as outputs record them, separated by commas.

        >>> Review(0.5, (Doubt.EMPTY, Doubt.LOW_CONTRAST)).doubts_text
        'empty,low_contrast'
        """
        return ",".join(self.doubts)

    def with_doubt(self, doubt: Doubt) -> Review:
        """Add a doubt as the weightiest one.

        >>> Review(0.5, (Doubt.EMPTY,)).with_doubt(Doubt.INCOMPLETE).doubts_text
        'incomplete,empty'
        """
        return replace(self, doubts=(doubt, *self.doubts))

    @classmethod
    def parse(cls, confidence: str, doubts: str) -> Review:
        """Read what an output records; doubts of another version are left out. Raises ValueError."""
        known = {doubt.value for doubt in Doubt}
        return cls(float(confidence), tuple(Doubt(word) for word in doubts.split(",") if word in known))

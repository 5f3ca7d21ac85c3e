"""What a request asks of a finished cut-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from inference.codec.header import identify
from inference.compose.look import Look
from watcher.web.api.values import Region


@dataclass(frozen=True)
class Wanted:
    """The picture that a request asks for, apart from a picture behind the object."""

    look: Look
    is_zip: bool = False
    roi: Region | None = None
    """The part of the photo to which the object is limited; None for all of it."""

    def is_served_by(self, file: bytes) -> bool:
        """Whether the file of the cut-out is what is wanted."""
        kept = self.look.is_as_it_is and not self.is_zip and self.roi is None
        return kept and identify(file).lower() == self.look.chosen_format.value


class Options(Protocol):
    """The options of a request, as a pydantic model."""

    @property
    def wanted(self) -> Wanted:
        """What they ask for."""
        ...

    def model_dump(self, *, exclude_defaults: bool) -> dict[str, Any]:
        """The options as JSON values, without those that are not set."""
        ...

"""What a request to rembg's server, `/api/remove`, asks for. What cannot be done here is refused with a reason."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from inference.compose.look import Look, Rgba
from inference.compose.values import Format
from watcher.web.api import values
from watcher.web.api.wanted import Wanted

_THRESHOLD = "is a threshold of rembg's own alpha matting, which is not used here; leave it out"


def _refused(value: Any) -> Any:
    raise ValueError(_THRESHOLD)


def _unsmoothed(value: bool) -> bool:
    if value:
        raise ValueError("would smooth the matte to hard edges, which is not done here; send false, or leave it out")
    return value


def _colour(text: str) -> str:
    values.comma_colour(text)
    return text


_Threshold = Annotated[int | None, BeforeValidator(_refused)]


class RembgOptions(BaseModel):
    """The options, apart from the picture itself. Raises pydantic's ValidationError."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    model: Annotated[str, Field(max_length=200)] | None = None
    """The model; only the one that this daemon runs."""
    a: bool = False
    """Alpha matting. Mattes here always have soft edges, and colours free of the background."""
    af: _Threshold = None
    """Foreground threshold of alpha matting: refused."""
    ab: _Threshold = None
    """Background threshold of alpha matting: refused."""
    ae: _Threshold = None
    """Erosion of alpha matting: refused."""
    om: bool = False
    """Only the mask, as a grey picture."""
    ppm: Annotated[bool, AfterValidator(_unsmoothed)] = False
    """Smooth the mask: refused."""
    bgc: Annotated[str, Field(max_length=40), AfterValidator(_colour)] | None = None
    """Colour behind the object: red, green, blue and alpha, such as 255,255,255,255."""

    @property
    def colour(self) -> Rgba | None:
        """The background's colour."""
        return values.comma_colour(self.bgc) if self.bgc else None

    @property
    def look(self) -> Look:
        """What is to be drawn: rembg's server always answers with a PNG."""
        return Look(format=Format.PNG, is_mask=self.om, colour=None if self.om else self.colour)

    @property
    def wanted(self) -> Wanted:
        """What is to be made."""
        return Wanted(self.look)

"""How often pictures of a stream or a held-out split have each kind of content."""

from dataclasses import dataclass

from .backgrounds import colour_noise, render_background, room
from .drawn_object import DrawnObject
from .flat_objects import render_object
from .sampling import Float, Rng, chance
from .solid_renderer import render_solid


@dataclass(frozen=True)
class ContentMix:
    """Shares of each kind of content, as probabilities 0..1."""

    solid: float = 0.0
    """Share of solid objects among all objects."""
    close: float = 0.0
    """Share of objects that are larger than usual, up to filling the frame or extending beyond it."""
    alike: float = 0.14
    """Share of objects whose colours are similar to the background's."""
    crowded: float = 0.0
    """Share of a stream's pictures with other objects in the background, out of focus."""
    rooms: float = 0.0
    """Share of backgrounds with a patterned floor in perspective."""
    colour_noise: float = 0.0
    """Share of backgrounds that are squares of random colours."""
    empty: float = 0.025
    """Share of pictures without an object."""
    fullest: float = 0.93
    """Largest share of a picture that objects may cover; a sample with more is drawn again."""

    def render(self, rng: Rng, size: int) -> DrawnObject:
        """Draw a new object on a size x size canvas and crop it."""
        if self.solid and chance(rng, self.solid):
            return render_solid(rng, size)
        return render_object(rng, size)

    def background(self, rng: Rng, height: int, width: int) -> Float:
        """Draw a new background, H x W x 3 in 0..1."""
        if self.rooms and chance(rng, self.rooms):
            return room(rng, height, width)
        if self.colour_noise and chance(rng, self.colour_noise):
            return colour_noise(rng, height, width)
        return render_background(rng, height, width)


DRAWN = ContentMix()
"""Flat drawings only: the first held-out split. It must not change, so that figures stay comparable over time."""
SOLID = ContentMix(solid=1.0, close=0.2, rooms=0.12, fullest=0.97)
"""Solid objects only: the second held-out split."""
EVERYTHING = ContentMix(
    solid=0.4, close=0.2, alike=0.18, crowded=0.1, rooms=0.12, colour_noise=0.02, empty=0.04, fullest=0.97
)
"""All kinds of content: the training data."""

"""What a stream or a split shows: flat drawings, solid objects, and how close the camera comes."""

from dataclasses import dataclass

from .backgrounds import render_background, room, static
from .contours import Float, Rng, chance
from .drawn_object import DrawnObject
from .objects import render_object
from .studio import render_solid


@dataclass(frozen=True)
class Repertoire:
    """Which objects are shown and how. Shares are chances 0..1."""

    solid: float = 0.0
    """Share of solid objects among all."""
    close: float = 0.0
    """Share of objects that are brought closer than usual, until they fill the frame or leave it."""
    alike: float = 0.14
    """Share of objects whose colours come close to the background's."""
    crowded: float = 0.0
    """Share of a stream's pictures with other objects, out of focus, behind the one that counts."""
    rooms: float = 0.0
    """Share of backgrounds with a patterned floor in perspective."""
    static: float = 0.0
    """Share of backgrounds that are nothing but random colours."""
    empty: float = 0.025
    """Share of pictures without an object."""
    fullest: float = 0.93
    """A sample with more object than this is drawn again."""

    def render(self, rng: Rng, size: int) -> DrawnObject:
        """A new object drawn on a size x size canvas and cropped."""
        if self.solid and chance(rng, self.solid):
            return render_solid(rng, size)
        return render_object(rng, size)

    def background(self, rng: Rng, height: int, width: int) -> Float:
        """A new background, H x W x 3 in 0..1."""
        if self.rooms and chance(rng, self.rooms):
            return room(rng, height, width)
        if self.static and chance(rng, self.static):
            return static(rng, height, width)
        return render_background(rng, height, width)


DRAWN = Repertoire()
"""Flat drawings only: the first held-out split, which stays as it is so that figures can be compared over time."""
SOLID = Repertoire(solid=1.0, close=0.2, rooms=0.12, fullest=0.97)
"""Solid objects only: the second held-out split."""
EVERYTHING = Repertoire(
    solid=0.4, close=0.2, alike=0.18, crowded=0.1, rooms=0.12, static=0.02, empty=0.04, fullest=0.97
)
"""What the network is trained on."""

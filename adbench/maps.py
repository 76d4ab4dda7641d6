"""Maps of the ground of a task, seen from above: plain data that pictures are drawn from.

Metres; x points to the right of a map, z down, as a world's east and south.
"""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[float, float]
Colour = tuple[float, float, float]
Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Outline:
    """A line on the ground, from corner to corner.

    Attributes:
        points: its corners.
        closed: whether it leads back to the first one.
        filled: its inside's colour, parts from 0 to 1; none: it has none.
        colour: of the line.
    """

    points: tuple[Point, ...]
    closed: bool = True
    filled: Colour | None = None
    colour: Colour = (0.13, 0.13, 0.13)


@dataclass(frozen=True)
class Spot:
    """A place that matters: what a task hides.

    Attributes:
        centre: x, z.
        radius: metres.
        label: what it is, where there are several kinds ("key").
    """

    centre: Point
    radius: float
    label: str = ""


@dataclass(frozen=True)
class GroundMap:
    """The ground of one task.

    Attributes:
        outlines: walls, rims, boxes; drawn in this order. At least one.
        spots: the hidden goals.
        reach: west, east, north and south ends of where one gets; none: all that is drawn.
    """

    outlines: tuple[Outline, ...]
    spots: tuple[Spot, ...] = ()
    reach: Bounds | None = None

    @property
    def bounds(self) -> Bounds:
        """West, east, north and south ends of the outlines."""
        points = [point for outline in self.outlines for point in outline.points]
        xs, zs = [x for x, _ in points], [z for _, z in points]
        return min(xs), max(xs), min(zs), max(zs)

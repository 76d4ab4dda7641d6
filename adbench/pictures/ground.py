"""Maps from above as pixels: the ground, what it hides, the way that was gone, who is where.

T places on a way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from adbench.maps import Bounds, GroundMap, Point
from adbench.pictures.canvas import INK, Colour, Image, write

_AGENT: Colour = (20, 20, 20)
_WAY: Colour = (86, 160, 211)
_HIDDEN: Colour = (213, 94, 0)
_ARROW = 0.045
"""Length of half an arrow, as a share of the side."""
_LETTER_PIXELS = 8
_SMOOTH = 4
"""Drawn so many times larger and averaged, for smooth lines."""

Poses = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Chart:
    """A map and where its metres lie in an image of `side` x `side` pixels.

    Attributes:
        ground: what is drawn.
        side: pixels.
        whole: draw all there is, and not only where one gets.
    """

    ground: GroundMap
    side: int
    whole: bool = False

    @property
    def ends(self) -> Bounds:
        """West, east, north and south ends of what is drawn."""
        reach = None if self.whole else self.ground.reach
        return reach or self.ground.bounds

    @property
    def scale(self) -> float:
        """Pixels a metre, of the enlarged drawing."""
        west, east, north, south = self.ends
        return 0.94 * self.side * _SMOOTH / max(east - west, south - north)

    def pixel(self, point: Point) -> tuple[int, int]:
        """Column and row of a point, of the enlarged drawing."""
        west, east, north, south = self.ends
        middle = self.side * _SMOOTH / 2
        x, z = point[0] - (west + east) / 2, point[1] - (north + south) / 2
        return round(middle + self.scale * x), round(middle + self.scale * z)

    def draw_way(self, way: Poses, *, found: bool = False) -> Image:
        """The map, with the way to where somebody stands.

        Args:
            way: x, z and yaw of each place, float32 [T, 3]; the last is where one is.
            found: whether the goal was reached there.
        """
        big = self._empty(found=found)
        points = np.array([self.pixel((float(x), float(z))) for x, z, _ in way], np.int32)
        cv2.polylines(big, [points], False, _WAY, 2 * _SMOOTH, cv2.LINE_AA)
        column, row = points[0].tolist()
        cv2.circle(big, (column, row), 3 * _SMOOTH, INK, -1, cv2.LINE_AA)
        self._arrow(big, way[-1])
        return self._small(big)

    def draw_poses(self, poses: Poses) -> Image:
        """The map, with somebody at each of some poses, numbered from 1; float32 [T, 3]."""
        big = self._empty()
        for pose in poses:
            self._arrow(big, pose)
        image = self._small(big)
        for number, (x, z, yaw) in enumerate(poses.tolist(), 1):
            column, row = (pixel / _SMOOTH for pixel in self.pixel((x, z)))
            # Behind who stands there.
            behind = _ARROW * self.side + _LETTER_PIXELS
            left, down = column - behind * math.cos(yaw) - 4, row + behind * math.sin(yaw) + 5
            write(image, str(number), (round(left), round(down)))
        return image

    def _empty(self, *, found: bool = False) -> Image:
        """The enlarged drawing with nobody in it."""
        size = self.side * _SMOOTH
        big = np.full((size, size, 3), 255, np.uint8)
        self._outlines(big)
        self._spots(big, filled=found)
        return big

    def _small(self, big: Image) -> Image:
        size = (self.side, self.side)
        image = np.asarray(cv2.resize(big, size, interpolation=cv2.INTER_AREA), np.uint8)
        self._labels(image)
        return image

    def _arrow(self, big: Image, pose: npt.NDArray[np.float32]) -> None:
        x, z, yaw = (float(part) for part in pose)
        column, row = self.pixel((x, z))
        tip = _ARROW * self.side * _SMOOTH
        corners = [
            (column + length * math.cos(yaw + turn), row - length * math.sin(yaw + turn))
            for turn, length in ((0.0, 1.3 * tip), (2.5, tip), (-2.5, tip))
        ]
        cv2.fillPoly(big, [np.array(corners).round().astype(np.int32)], _AGENT, cv2.LINE_AA)

    def _outlines(self, big: Image) -> None:
        for outline in self.ground.outlines:
            points = np.array([self.pixel(point) for point in outline.points], np.int32)
            if outline.filled is not None:
                cv2.fillPoly(big, [points], _bytes(outline.filled), cv2.LINE_AA)
            colour = _bytes(outline.colour)
            cv2.polylines(big, [points], outline.closed, colour, 3 * _SMOOTH, cv2.LINE_AA)

    def _spots(self, big: Image, *, filled: bool) -> None:
        for spot in self.ground.spots:
            radius = max(1, round(self.scale * spot.radius))
            at = self.pixel(spot.centre)
            if filled:
                cv2.circle(big, at, radius, (250, 205, 170), -1, cv2.LINE_AA)
            cv2.circle(big, at, radius, _HIDDEN, 2 * _SMOOTH, cv2.LINE_AA)

    def _labels(self, image: Image) -> None:
        """What is hidden, where there are several kinds of it: to the right of its circle."""
        if len({spot.label for spot in self.ground.spots}) < 2:
            return
        for spot in self.ground.spots:
            column, row = self.pixel((spot.centre[0] + spot.radius, spot.centre[1]))
            room = self.side - _LETTER_PIXELS * len(spot.label)
            write(
                image, spot.label, (min(column // _SMOOTH + 3, room), row // _SMOOTH + 4), _HIDDEN
            )


def _bytes(colour: tuple[float, float, float]) -> Colour:
    red, green, blue = (round(255 * part) for part in colour)
    return red, green, blue

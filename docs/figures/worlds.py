"""Draw the pictures of docs/worlds.md: for each first-person family its map and six frames.

    python docs/figures/worlds.py [NAME ...]        writes docs/figures/NAME.png

Arrows on the map say where the frames are seen from. Rings are what nobody sees: the hidden spots
of a few test tasks.
"""

from __future__ import annotations

import math
import sys
from importlib.metadata import entry_points
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from adbench_envs.worlds.family import WorldFamily
from adbench_envs.worlds.outlines import regular, walls_of
from adbench_envs.worlds.textures import texture
from adbench_envs.worlds.world import World

Image = npt.NDArray[np.uint8]
Point = tuple[float, float]

FRAME, ACROSS, DOWN = 144, 3, 2
MAP = DOWN * FRAME
FINER = 4
"""The map is drawn so many times larger and averaged."""

MARGIN_METRES = 0.9
"""Around the rooms, for the pictures that hang on their walls."""

VIEWS = ((0, 0.0, 1.0), (0, 0.8, 4.0), (2, 0.8, 6.0), (4, 0.8, 0.3), (6, 0.8, 1.7), (5, 0.7, 5.0))
"""Direction from the middle (eighths of a turn), share of the way to where one can get, and where
one looks (eighths of a turn); the first one is an episode's beginning."""

TASKS = 4
INK = (40, 40, 40)
SPOT = (215, 40, 40)


class Chart:
    """A map: a world from above, x to the right and z downwards."""

    def __init__(self, world: World) -> None:
        corners = np.array([corner for room in world.rooms for corner in room.outline])
        low, high = corners.min(axis=0) - MARGIN_METRES, corners.max(axis=0) + MARGIN_METRES
        self._scale = MAP * FINER / float((high - low).max())
        self._middle = (low + high) / 2.0
        self.image: Image = np.full((MAP * FINER, MAP * FINER, 3), 255, np.uint8)
        for room in world.rooms:
            self.fill(room.outline, mean_colour(room.floor))
        for disc in world.discs:
            outline = [
                (disc.centre[0] + x, disc.centre[1] + z) for x, z in regular(64, disc.radius)
            ]
            self.fill(outline, mean_colour(disc.texture or "water"))
        for rim in world.rims:
            self.ring(rim.centre, rim.radius, (150, 150, 160), 0.08)
        for room in world.rooms:
            for wall, name in zip(walls_of(room.outline), room.walls, strict=True):
                if name is not None:
                    self.line(*wall, mean_colour(name), 0.14)
        for picture in world.pictures:
            x, _, z = picture.centre
            beyond = MARGIN_METRES / 2
            place = (x - beyond * math.cos(picture.yaw), z + beyond * math.sin(picture.yaw))
            self.paste(texture(picture.texture), place, 0.72)

    def at(self, point: Point) -> tuple[int, int]:
        """Column and row of a place on the ground."""
        column, row = (np.array(point) - self._middle) * self._scale + MAP * FINER / 2.0
        return round(float(column)), round(float(row))

    def long(self, metres: float) -> int:
        """Pixels, at least one."""
        return max(1, round(metres * self._scale))

    def fill(self, outline: npt.ArrayLike, colour: tuple[int, ...]) -> None:
        """Paint a polygon."""
        places = [self.at((x, z)) for x, z in np.asarray(outline).tolist()]
        cv2.fillPoly(self.image, [np.array(places, np.int32)], colour, cv2.LINE_AA)

    def line(self, start: Point, end: Point, colour: tuple[int, ...], metres: float) -> None:
        """Draw a wall."""
        cv2.line(self.image, self.at(start), self.at(end), colour, self.long(metres), cv2.LINE_AA)

    def ring(self, place: Point, radius: float, colour: tuple[int, ...], metres: float) -> None:
        """Draw a circle."""
        pixels = self.long(radius), colour, self.long(metres)
        cv2.circle(self.image, self.at(place), *pixels, cv2.LINE_AA)

    def paste(self, picture: Image, place: Point, metres: float) -> None:
        """Lay a picture down, its middle at a place."""
        side = self.long(metres)
        small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        column, row = (number - side // 2 for number in self.at(place))
        self.image[row : row + side, column : column + side] = small

    def arrow(self, pose: list[float], number: int) -> None:
        """Say where a frame is seen from."""
        x, z, yaw = pose
        ahead = 0.55 * MAP * FINER / self._scale / 8
        end = (x + ahead * math.cos(yaw), z - ahead * math.sin(yaw))
        ends = self.at((x, z)), self.at(end)
        cv2.arrowedLine(self.image, *ends, INK, 2 * FINER, cv2.LINE_AA, tipLength=0.45)
        cv2.circle(self.image, ends[0], 8 * FINER, INK, cv2.FILLED, cv2.LINE_AA)
        label(self.image, number, ends[0], FINER)


def sheet(family: WorldFamily) -> Image:
    """The map of a family, and six of its frames, uint8 [MAP, MAP + 3 FRAME, 3]."""
    states = seen_from(family)
    frames = family.render_state(states).numpy().copy()
    world = 0 if (index := family.world_index(states)) is None else int(index[0])
    chart = Chart(family.worlds[world])
    bodies = family.bodies(states)
    if bodies is not None:
        for box, (x, _, z, _) in zip(family.worlds[world].boxes, bodies[0].tolist(), strict=True):
            half = box.size[0] / 2
            colour = tuple(round(255 * number) for number in box.colour)
            outline = [(x - half, z - half), (x + half, z - half), (x + half, z + half)]
            chart.fill([*outline, (x - half, z + half)], colour)
    radius = getattr(family, "platform_radius", getattr(family, "spot_radius", None))
    if radius is not None:
        for spot in family.tasks("test", TASKS, seed=0).reshape(-1, 2).tolist():
            chart.ring((spot[0], spot[1]), radius, SPOT, 0.05)
    for number, pose in enumerate(states["pose"].tolist(), 1):
        chart.arrow(pose, number)
        label(frames[number - 1], number, (10, 11), 1)
    small = cv2.resize(chart.image, (MAP, MAP), interpolation=cv2.INTER_AREA)
    rows = [np.concatenate(list(frames[k : k + ACROSS]), axis=1) for k in (0, ACROSS)]
    return np.concatenate([small, np.concatenate(rows)], axis=1)


def seen_from(family: WorldFamily) -> dict[str, torch.Tensor]:
    """States at `VIEWS`, in one task; where boxes have sizes, each is seen twice."""
    env = family.make(family.tasks("test", 1, seed=0), seed=0, observe="state")
    one = env.state()
    states = {
        name: value.repeat(len(VIEWS), *[1] * (value.ndim - 1)) for name, value in one.items()
    }
    poses = []
    for direction, share, towards in VIEWS:
        turn, far = direction * math.pi / 4, share * family.reach_metres
        poses.append((far * math.cos(turn), -far * math.sin(turn), towards * math.pi / 4))
    states["pose"] = torch.tensor(poses)
    if len(family.worlds) > 1:
        states["size"] = (torch.arange(len(VIEWS)) % len(family.worlds)).to(torch.uint8)
    return states


def label(image: Image, number: int, place: tuple[int, int], scale: int) -> None:
    """Write a number in white on a dark dot."""
    cv2.circle(image, place, 8 * scale, INK, cv2.FILLED, cv2.LINE_AA)
    corner = place[0] - 4 * scale, place[1] + 4 * scale
    style = cv2.FONT_HERSHEY_SIMPLEX, 0.38 * scale, (255, 255, 255), scale, cv2.LINE_AA
    cv2.putText(image, str(number), corner, *style)


def mean_colour(name: str) -> tuple[int, ...]:
    """Of a texture."""
    return tuple(round(channel) for channel in texture(name).mean(axis=(0, 1)).tolist())


def main() -> None:
    """Draw those that are named, or all."""
    wanted = sys.argv[1:]
    for entry in sorted(entry_points(group="adbench.envs")):
        if wanted and entry.name not in wanted:
            continue
        family_type = entry.load()
        if isinstance(family_type, type) and issubclass(family_type, WorldFamily):
            image = sheet(family_type(height=FRAME, width=FRAME, samples=4))
            path = Path(__file__).with_name(f"{entry.name}.png")
            cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
            print(path, f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

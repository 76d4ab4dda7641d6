"""Draw the pictures of docs/worlds.md: for each first-person family its map and six frames.

    python docs/figures/worlds.py [NAME ...]        writes docs/figures/NAME.png

The map shows one test task from above: numbered arrows are where the frames are seen from, orange
is what the task hides.
"""

from __future__ import annotations

import math
import sys
from importlib.metadata import entry_points
from pathlib import Path

import torch
from torch import Tensor

from adbench.pictures.canvas import INK, Image, below, beside, bordered, labelled, margined
from adbench.pictures.files import save_image
from adbench.pictures.ground import Chart
from adbench_envs.worlds.family import WorldFamily

FRAME, ACROSS = 144, 3

TASK = 4
"""Which of the test tasks: one whose spots lie apart."""

VIEWS = (
    (0, 0.0, 1.0),
    (0, 0.65, 4.0),
    (2, 0.65, 6.0),
    (4, 0.65, 0.3),
    (6, 0.65, 1.7),
    (7, 0.6, 7.0),
)
"""Direction from the middle (eighths of a turn), share of the way to where one can get, and where
one looks (eighths of a turn); the first one is an episode's beginning."""


def sheet(family: WorldFamily) -> Image:
    """A family's map of one task, and what is seen at six places of it."""
    task = family.tasks("test", TASK + 1, seed=0)[TASK:]
    states = seen_from(family, task)
    frames = family.render_state(states).numpy()
    cells = [labelled(bordered(frame, INK, 1), str(k)) for k, frame in enumerate(frames, 1)]
    seen = below([beside(cells[:ACROSS]), beside(cells[ACROSS:])])
    ground = family.map(task[0], {name: value[0] for name, value in states.items()})
    # As high as the frames, with its own line of text.
    side = seen.shape[0] - (cells[0].shape[0] - FRAME)
    above = bordered(Chart(ground, side, whole=True).draw_poses(states["pose"].numpy()), INK, 1)
    return margined(beside([labelled(above, f"{family.name} from above; orange: hidden"), seen]))


def seen_from(family: WorldFamily, task: Tensor) -> dict[str, Tensor]:
    """States at `VIEWS`, in a task [1, ...]; where boxes have sizes, each is seen twice."""
    one = family.make(task, seed=0, observe="state").state()
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


def main() -> None:
    """Draw those that are named, or all."""
    wanted = sys.argv[1:]
    for entry in sorted(entry_points(group="adbench.envs")):
        if wanted and entry.name not in wanted:
            continue
        family_type = entry.load()
        if isinstance(family_type, type) and issubclass(family_type, WorldFamily):
            path = Path(__file__).with_name(f"{entry.name}.png")
            save_image(path, sheet(family_type(height=FRAME, width=FRAME, samples=4)))
            print(path, f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

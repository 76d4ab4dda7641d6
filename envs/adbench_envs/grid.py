"""Square rooms as tables: where a move leads, and what a cell's coordinates are.

A cell is `y * size + x`; x grows to the right and y downwards, both from 0. Plain numpy: the
gymnasium environments use these tables too, and load no torch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0))
"""(dx, dy) of the actions left, right, up, down and stay."""


def coordinates(size: int) -> npt.NDArray[np.int64]:
    """(x, y) of every cell, int64 [size * size, 2]."""
    cells = np.arange(size * size)
    return np.stack([cells % size, cells // size], axis=1)


def next_cells(size: int) -> npt.NDArray[np.int64]:
    """Where each action leads from each cell, int64 [5, size * size]; a move into a wall stays."""
    arrived = np.clip(coordinates(size)[None] + np.array(MOVES)[:, None], 0, size - 1)
    return np.asarray(arrived[..., 1] * size + arrived[..., 0], dtype=np.int64)


def centre_cell(size: int) -> int:
    """The middle cell of a room with an odd side."""
    return size // 2 * (size + 1)

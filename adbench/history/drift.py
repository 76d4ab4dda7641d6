"""Whether frames that are drawn anew look as they did when their histories were collected.

A few frames a shard are drawn when it is written and kept in it. When it is opened they are drawn
again and compared: a texture, a light or a formula that has changed since is told, with the shard
and by how much. P sample frames, Y X rows and columns of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adbench.history.frames import RowFrames
from adbench.history.reader import HistoryStore
from adbench.history.schema import Renderer
from adbench.history.shard import Shard
from adbench.task import TaskFamily

SAMPLES = 16
"""Frames that are kept of a shard."""
LEVELS = 8
"""Pixels within so many of 255 count as alike."""


@dataclass(frozen=True)
class Parity:
    """How far apart two drawings of one world may be.

    Attributes:
        mean_error: mean absolute difference, of 255.
        share_alike: share of pixels whose channels all differ by `LEVELS` at most.
    """

    mean_error: float
    share_alike: float


CLOSE, COARSE = Parity(1.0, 0.98), Parity(2.5, 0.92)
"""Two implementations round differently where the last bit decides an edge or a texel. Another
renderer with one sample a pixel draws other edges altogether."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Drift:
    """How far a shard's sample frames are from what is drawn now.

    Attributes:
        file: the shard.
        drawn: what drew them.
        mean_error: as of `Parity`.
        share_alike: as of `Parity`.
    """

    file: str
    drawn: Renderer
    mean_error: float
    share_alike: float

    def exceeds(self, parity: Parity) -> bool:
        """Whether it is more than that."""
        return self.mean_error > parity.mean_error or self.share_alike < parity.share_alike

    def __str__(self) -> str:
        return (
            f"{self.file} (drawn by {self.drawn.name}, world version {self.drawn.world_version}): "
            f"mean difference {self.mean_error:.2f} of 255, {self.share_alike:.1%} of pixels "
            f"within {LEVELS}"
        )


def sample_fields(family: TaskFamily, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Sample frames of a shard that is about to be written, as its fields `sample/...`.

    Args:
        family: which draws.
        arrays: the shard's fields, `state/NAME` among them.
    """
    history, step = _places(arrays["length"])
    drawer = RowFrames(family, torch.from_numpy(arrays["task"]))
    frames = _drawn(drawer, arrays, history, step, torch.device("cpu"))
    return {"sample/frame": frames, "sample/history": history, "sample/step": step}


def _places(length: Array) -> tuple[Array, Array]:
    """Histories and steps of sample frames, int64 [P] each, all over the histories of a shard."""
    number = np.arange(min(SAMPLES, int(length.sum())))
    history = number * len(length) // len(number)
    # Multiples of the golden ratio leave no gap.
    step = (number * 0.6180339887498949 % 1.0) * length[history]
    return history, step.astype(np.int64)


def drifts(
    store: HistoryStore,
    *,
    device: torch.device,
    sized: Callable[[Renderer], TaskFamily],
) -> Iterator[Drift]:
    """Shards whose sample frames, or frames, are drawn otherwise now.

    Equal bits are demanded where the same renderer draws on the same kind of device; elsewhere
    frames may differ as two implementations do.

    Args:
        store: the histories; shards that nothing was drawn for are passed over.
        device: where to draw.
        sized: the family as it draws now, with the frame size and the samples of a shard.

    Raises:
        HistoryError: states are missing, or unknown to the family.
    """
    drawers: dict[Renderer, RowFrames] = {}
    for shard in store.shards:
        drawn = shard.line.renderer
        if drawn is None:
            continue
        if drawn not in drawers:
            drawers[drawn] = RowFrames(sized(drawn), store.tasks)
        drift = _drift(shard, drawers[drawn], drawn, device)
        if drift is not None:
            yield drift


def _drift(shard: Shard, drawer: RowFrames, drawn: Renderer, device: torch.device) -> Drift | None:
    kept, history, step = _kept(shard)
    now = _drawn(drawer, shard.arrays, history, step, device)
    if np.array_equal(now, kept):
        return None
    difference = np.abs(now.astype(np.int16) - kept)
    drift = Drift(
        file=shard.line.file,
        drawn=drawn,
        mean_error=float(difference.mean()),
        share_alike=float((difference.max(axis=-1) <= LEVELS).mean()),
    )
    same = drawer.family.renderer == drawn.name
    if same and drawn.device == device.type:
        return drift
    return drift if drift.exceeds(CLOSE if same or drawn.samples > 1 else COARSE) else None


def _kept(shard: Shard) -> tuple[Array, Array, Array]:
    """Frames that were drawn when a shard was collected, with their histories and steps."""
    arrays = shard.arrays
    if "sample/frame" in arrays:
        return arrays["sample/frame"], arrays["sample/history"], arrays["sample/step"]
    history, step = _places(arrays["length"])
    at = zip(history.tolist(), step.tolist(), strict=True)
    return np.concatenate([shard.frames(h, s, 1) for h, s in at]), history, step


def _drawn(
    drawer: RowFrames,
    arrays: Mapping[str, Array],
    history: Array,
    step: Array,
    device: torch.device,
) -> Array:
    """Frames of steps, uint8 [P, Y, X, C]."""
    states = {
        name.removeprefix("state/"): torch.from_numpy(values[history, step]).to(device)
        for name, values in arrays.items()
        if name.startswith("state/")
    }
    frames: Array = drawer.draw(states).cpu().numpy()
    return frames

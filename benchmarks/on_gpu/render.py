"""The render section: frames of a water maze, ours beside the definition in torch.

A call draws as many cameras as the batch says, each somewhere else; the next call has others. Bytes
are what has to be moved at least: frames written, cameras, the scene and its textures read.

N cameras.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from adbench_kernels import Scene, raycast
from benchmarks import water_maze
from benchmarks.on_gpu.card import Card
from benchmarks.on_gpu.cases import Case, Work, WrongResultError

ABOUT = "frames of a first-person world"

SIZES = ((64, 64), (72, 96), (84, 84))
SAMPLES = (1, 4)
BATCHES = (8192, 1024, 256)
DEFINITION_BATCH = 256
"""The definition looks at every ray and surface, a few frames at a time: no more at once helps."""
CHECKED = 24
"""Frames of a call that are held against the definition in float64."""

# As in the tests: roundings, and in a few pixels of a thousand another mip level.
TWIN_ERROR = 2
TWIN_SHARE = 0.997


def cases(*, smoke: bool, on_gpu: bool) -> list[Case]:
    """Three frame sizes, one and four samples, three batches; the definition at the smallest.

    Args:
        smoke: tiny frames.
        on_gpu: ours is "triton" there and "auto" on a CPU.
    """
    found = []
    for height, width in ((12, 16),) if smoke else SIZES:
        for samples in SAMPLES:
            for batch in (3,) if smoke else BATCHES:
                for name in ("triton" if on_gpu else "auto", "reference"):
                    if name == "reference" and not smoke and batch != DEFINITION_BATCH:
                        continue
                    key: dict[str, str | int] = {
                        "op": "raycast", "frame": f"{height}x{width}", "samples": samples,
                        "batch": batch, "implementation": name,
                    }  # fmt: skip
                    ready = partial(
                        prepare, size=(height, width), samples=samples, batch=batch, name=name
                    )
                    found.append(Case(key, ready, "" if name == "reference" else "kernels"))
    return found


@lru_cache(maxsize=1)
def _scene(device: torch.device) -> Scene:
    return water_maze.scene().to(device)


def prepare(card: Card, size: tuple[int, int], samples: int, batch: int, name: Any) -> Work:
    """Frames, ready to be drawn.

    Args:
        card: on which.
        size: of a frame: rows, columns.
        samples: a pixel.
        batch: N.
        name: of the implementation.
    """
    height, width = size
    scene = _scene(card.device)
    written = float(batch * height * width * 3)
    sets = [
        water_maze.cameras(batch, seed=seed).to(card.device) for seed in range(card.sets(written))
    ]

    def drawn(camera: Tensor, implementation: Any = name) -> Tensor:
        return raycast(
            scene, camera, height=height, width=width, samples=samples,
            implementation=implementation,
        )  # fmt: skip

    def check() -> Mapping[str, float]:
        some = torch.cat((sets[0][: CHECKED // 2], sets[0][-CHECKED // 2 :]))
        frames = drawn(sets[0])
        ours = torch.cat((frames[: CHECKED // 2], frames[-CHECKED // 2 :]))
        return alike(ours, drawn(some.double(), "reference"))

    return Work(
        [partial(drawn, camera) for camera in sets], check, frames=batch,
        bytes=written + _bytes_read(scene) + 16.0 * batch,
    )  # fmt: skip


def alike(ours: Tensor, exact: Tensor) -> Mapping[str, float]:
    """How near frames are to the definition's, [N, Y, X, 3] each.

    Raises:
        WrongResultError: too many pixels differ.
    """
    error = (ours.int() - exact.int()).abs()
    share = float((error.amax(-1) <= TWIN_ERROR).float().mean())
    if share < TWIN_SHARE:
        raise WrongResultError(
            f"frames: {share:.4f} of pixels are within {TWIN_ERROR} of the definition's; "
            f"{TWIN_SHARE} must be"
        )
    return {"pixels_alike": share, "mean_error_of_255": float(error.float().mean())}


def _bytes_read(scene: Scene) -> float:
    textures = scene.textures
    tables = (*scene.fixed.tensors(), textures.texels, textures.levels)
    return float(sum(table.numel() * table.element_size() for table in tables))

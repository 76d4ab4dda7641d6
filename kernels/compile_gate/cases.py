"""What is compiled: every kernel, at the head widths and with the masks that change its code.

Shapes are those of a packed projection, read in place; bfloat16 unless said. A case is compiled
with every tile that the table has for its kernels on a target, whatever the length. So that all of
it takes minutes and not hours, rarer variants are compiled for one target.

B batch rows, T tokens, H query heads, G key heads, D head width, N frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

LENGTHS = {"128": 128, "512": 512, "2k": 2048, "16k": 16384}
"""One of each bucket of the tile table."""

EVERYWHERE = ("sm_80", "sm_90", "sm_100")
ONCE = ("sm_90",)
"""A variant whose code differs where all targets' code differs alike."""
COMPILES = (*EVERYWHERE, "gfx942")

MATRIX = {
    "attention_forward": "fast",
    "attention_dq": "fast",
    "attention_dkdv": "fast",
    "attention_short_backward": "fast",
    "patch_project": "fast",
    "patch_gradient": "fast",
    "ring_decode": "any",
}
"""Which matrix instructions a kernel must have: those that the chip is fast with, or any (few query
rows fill no wide one). Other kernels multiply no matrices. float32 has none, being exact."""


class Case(NamedTuple):
    """One run of a launcher.

    Attributes:
        name: also its key in the golden file.
        kernels: names in the tile table of what it launches: lengths whose tiles are the same
            are compiled once.
        head_dim: D, for that table; 0 without heads.
        lengths: of `LENGTHS`, by name.
        targets: names.
        launch: runs it at one length.
        dtype: of the inputs.
    """

    name: str
    kernels: tuple[str, ...]
    head_dim: int
    lengths: tuple[str, ...]
    targets: tuple[str, ...]
    launch: Callable[[int], object]
    dtype: torch.dtype = torch.bfloat16


class Job(NamedTuple):
    """A case at one length: what one process compiles at a time."""

    case: Case
    length: str

    @property
    def name(self) -> str:
        """Unique among the jobs."""
        return self.case.name if len(self.case.lengths) == 1 else f"{self.case.name}-{self.length}"


def jobs(target: str) -> list[Job]:
    """Every case at every length that has tiles of its own on this target."""
    wanted = []
    for case in cases():
        if target in case.targets:
            # From the longest down: where one tile serves every length, that is the name it has.
            seen: dict[tuple[object, ...], str] = {}
            for length in reversed(case.lengths):
                seen.setdefault(_tiles(case, target, length), length)
            wanted += [Job(case, length) for length in seen.values()]
    return wanted


def cases() -> list[Case]:
    """All of them, in the order in which they are shown."""
    return [*_attention(), *_rotary(), *_ring(), *_patch(), *_raycast()]


def _tiles(case: Case, target: str, length: str) -> tuple[object, ...]:
    from adbench_kernels.configs import tile

    return tuple(
        tile(
            kernel,
            arch=target,
            head_dim=case.head_dim,
            length=LENGTHS[length],
            dtype_bytes=case.dtype.itemsize,
        )
        for kernel in case.kernels
    )


def _meta(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def _attention() -> Iterator[Case]:
    for width in (16, 32, 64, 128):
        targets = COMPILES if width == 64 else EVERYWHERE
        long = ("512", "2k", "16k")
        yield _forward(f"attention_forward-d{width}", width, ("128", *long), targets)
        yield _backward(f"attention_backward-d{width}", width, long, targets)
        if width < 128:  # wider ones take the two kernels of long rows
            yield _short(f"attention_short_backward-d{width}", width, targets)
    for case in (_forward, _backward):
        name, length = f"attention{case.__name__}", ("2k",)
        yield case(f"{name}-d32-interval", 32, length, EVERYWHERE, interval=True)
        yield case(f"{name}-d64-grouped-strided", 64, length, ONCE, group=4, stride=3)
        yield case(f"{name}-d64-float32", 64, length, ONCE, exact=True)
    yield _short("attention_short_backward-d32-interval", 32, ONCE, interval=True)


def _qkv(
    length: int, width: int, *, group: int, stride: int, interval: bool, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor | None, int, int, int, float]]:
    """q, k, v of one packed projection, and the launchers' other arguments."""
    batch, heads = 4, 8
    key_heads = heads // group
    packed = _meta(batch, length, heads + 2 * key_heads, width, dtype=dtype)
    q = packed[:, ::stride, :heads]
    k, v = packed[:, :, heads : heads + key_heads], packed[:, :, heads + key_heads :]
    start = _meta(batch, q.shape[1], dtype=torch.int32) if interval else None
    return q, k, v, (start, length, 0, stride, 1 / math.sqrt(width))


def _forward(
    name: str,
    width: int,
    lengths: tuple[str, ...],
    targets: tuple[str, ...],
    *,
    group: int = 1,
    stride: int = 1,
    interval: bool = False,
    exact: bool = False,
) -> Case:
    dtype = torch.float32 if exact else torch.bfloat16

    def launch(length: int) -> None:
        from adbench_kernels.interval_attention.triton.launch import forward

        q, k, v, given = _qkv(
            length, width, group=group, stride=stride, interval=interval, dtype=dtype
        )
        forward(q, k, v, *given)

    return Case(name, ("attention_forward",), width, lengths, targets, launch, dtype)


def _backward(
    name: str,
    width: int,
    lengths: tuple[str, ...],
    targets: tuple[str, ...],
    *,
    group: int = 1,
    stride: int = 1,
    interval: bool = False,
    exact: bool = False,
    kernels: tuple[str, ...] = ("attention_dq", "attention_dkdv"),
) -> Case:
    dtype = torch.float32 if exact else torch.bfloat16

    def launch(length: int) -> None:
        from adbench_kernels.interval_attention.triton.launch import backward

        q, k, v, given = _qkv(
            length, width, group=group, stride=stride, interval=interval, dtype=dtype
        )
        out = _meta(*q.shape, dtype=dtype)
        lse = _meta(q.shape[0], q.shape[2], q.shape[1], dtype=torch.float32)
        backward(out, q, k, v, out, lse, *given)

    return Case(name, kernels, width, lengths, targets, launch, dtype)


def _short(name: str, width: int, targets: tuple[str, ...], *, interval: bool = False) -> Case:
    kernels = ("attention_short_backward",)
    return _backward(name, width, ("128",), targets, interval=interval, kernels=kernels)


def _rotary() -> Iterator[Case]:
    for width in (32, 128):

        def launch(length: int, width: int = width) -> None:
            from adbench_kernels.rotary_attention.launch import turned

            packed, turns = (
                _meta(4, length, 24, width),
                _meta(length, 2, width, dtype=torch.float32),
            )
            turned(packed[:, :, :16], turns)

        targets = COMPILES if width == 32 else EVERYWHERE
        yield Case(f"rotate-d{width}", ("rotate",), width, ("128", "16k"), targets, launch)


def _ring() -> Iterator[Case]:
    yield _decode("ring-d16", 16, EVERYWHERE)
    yield _decode("ring-d32", 32, COMPILES)
    yield _decode("ring-d32-one-part", 32, EVERYWHERE, parts=1)
    yield _decode("ring-d64-grouped", 64, EVERYWHERE, group=4, new=1)
    yield _decode("ring-d128", 128, EVERYWHERE)


def _decode(
    name: str, width: int, targets: tuple[str, ...], *, group: int = 1, new: int = 3, parts: int = 4
) -> Case:
    lanes, heads = 64, 8
    key_heads = heads // group

    def launch(window: int) -> None:
        from adbench_kernels.ring_cache.triton import launch as ring

        packed = _meta(lanes, new, heads + 2 * key_heads, width)
        q, k, v = packed.tensor_split([heads, heads + key_heads], 2)
        keys, values = _meta(2, lanes, key_heads, window + new - 1, width).unbind(0)
        length, count = _meta(2, lanes, dtype=torch.int64).unbind(0)
        turns = _meta(lanes, new, 2, width, dtype=torch.float32)
        if parts > 1:  # appending does not depend on them
            ring.append(keys, values, k, v, length, count, turns)
        ring.decode(
            q, keys, values, length, count, window, 1 / math.sqrt(width), turns, parts=parts
        )

    kernels = ("ring_append", "ring_decode", "ring_combine")
    return Case(name, kernels, width, ("128", "2k"), targets, launch)


def _patch() -> Iterator[Case]:
    yield _patches("patch_embed-64x64x3", COMPILES, torch.bfloat16)
    yield _patches("patch_embed-64x64x3-float32", ONCE, torch.float32)


def _patches(name: str, targets: tuple[str, ...], dtype: torch.dtype) -> Case:
    embedding, side, channels, patch = 256, 64, 3, 8

    def launch(num_frames: int) -> None:
        from adbench_kernels.patch_embedding import launch as patches

        frames = _meta(num_frames, side, side, channels, dtype=torch.uint8)
        weight = _meta(embedding, patch * patch * channels, dtype=dtype)
        bias = _meta(embedding, dtype=dtype)
        mean, std = [0.5] * channels, [0.25] * channels
        out = patches.forward(frames, weight, bias, patch, mean, std, dtype)
        patches.backward(out, frames, patch, mean, std, dtype)

    return Case(name, ("patch_forward", "patch_wgrad"), 0, ("16k",), targets, launch, dtype)


def _raycast() -> Iterator[Case]:
    yield _rays("raycast-64x64", "raycast", samples=1)
    yield _rays("raycast-64x64-multisampled", "raycast_multisampled", samples=4)


def _rays(name: str, kernel: str, *, samples: int) -> Case:
    # A water maze's: walls, flats, edges of flats, textures and their mip levels, texels.
    walls, flats, edges, textures, levels, texels = 48, 11, 72, 10, 8, 250_000

    def launch(num_frames: int) -> None:
        from adbench_kernels.ray_casting.triton.launch import raycast

        f, i = torch.float32, torch.int32
        raycast(
            _meta(num_frames, 4, dtype=f), _meta(num_frames, dtype=torch.int64),
            _meta(num_frames, 0, 4, dtype=f), _meta(1, 15, walls, dtype=f),
            _meta(1, 19, flats, dtype=f), _meta(1, 5, edges, dtype=f), _meta(9, dtype=f),
            _meta(texels, dtype=i), _meta(textures + 1, levels, dtype=i), 64, 64, samples,
        )  # fmt: skip

    return Case(name, (kernel,), 0, ("2k",), COMPILES, launch, torch.float32)

"""What is compiled: every kernel, at the head widths and with the masks that change its code.

bfloat16 unless said. Shapes are those of a packed projection, read in place. A case is compiled
with every tile that the table has for its kernels on that target, whatever the length.

B batch rows, T tokens, H query heads, G key heads, D head width, N frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

HEAD_DIMS = (16, 32, 64, 128)
LENGTHS = {"128": 128, "512": 512, "2k": 2048, "16k": 16384}
"""One of each bucket of the tile table."""

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
        dtype: of the inputs.
        launch: runs it at one length.
    """

    name: str
    kernels: tuple[str, ...]
    head_dim: int
    lengths: tuple[str, ...]
    dtype: torch.dtype
    launch: Callable[[int], object]


class Job(NamedTuple):
    """A case at one length: what one process compiles at a time."""

    case: Case
    length: str

    @property
    def name(self) -> str:
        """Unique among the jobs."""
        return self.case.name if len(self.case.lengths) == 1 else f"{self.case.name}-{self.length}"


def jobs(arch: str) -> list[Job]:
    """Every case at every length that has tiles of its own on this architecture."""
    from adbench_kernels.configs import tile

    def tiles(case: Case, length: str) -> tuple[object, ...]:
        return tuple(
            tile(
                kernel,
                arch=arch,
                head_dim=case.head_dim,
                length=LENGTHS[length],
                dtype_bytes=case.dtype.itemsize,
            )
            for kernel in case.kernels
        )

    wanted = []
    for case in cases():
        # From the longest down: where one tile serves every length, that is the name it has.
        seen: dict[tuple[object, ...], str] = {}
        for length in reversed(case.lengths):
            seen.setdefault(tiles(case, length), length)
        wanted += [Job(case, length) for length in seen.values()]
    return wanted


def cases() -> list[Case]:
    """All of them, in the order in which they are shown."""
    return [*_attention(), *_ring(), *_patch()]


def _meta(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def _attention() -> Iterator[Case]:
    for width in HEAD_DIMS:
        yield _forward(f"attention_forward-d{width}", width, tuple(LENGTHS))
        yield _backward(f"attention_backward-d{width}", width, ("512", "2k", "16k"))
        yield _backward(f"attention_short_backward-d{width}", width, ("128",))
    yield _forward("attention_forward-d32-interval", 32, ("2k",), interval=True)
    yield _forward("attention_forward-d64-grouped-strided", 64, ("2k",), group=4, stride=3)
    yield _backward("attention_backward-d32-interval", 32, ("2k",), interval=True)
    yield _backward("attention_backward-d64-grouped-strided", 64, ("2k",), group=4, stride=3)
    yield _backward("attention_short_backward-d32-interval", 32, ("128",), interval=True)
    yield _forward("attention_forward-d64-float32", 64, ("2k",), dtype=torch.float32)
    yield _backward("attention_backward-d64-float32", 64, ("2k",), dtype=torch.float32)


def _qkv(
    length: int, width: int, *, group: int, stride: int, interval: bool, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, int, int, int, float]:
    """Arguments of the launchers: q, k, v of one packed projection, and where queries sit."""
    batch, heads = 4, 8
    key_heads = heads // group
    packed = _meta(batch, length, heads + 2 * key_heads, width, dtype=dtype)
    q = packed[:, ::stride, :heads]
    k, v = packed[:, :, heads : heads + key_heads], packed[:, :, heads + key_heads :]
    start = _meta(batch, q.shape[1], dtype=torch.int32) if interval else None
    return q, k, v, start, length, 0, stride, 1 / math.sqrt(width)


def _forward(
    name: str,
    width: int,
    lengths: tuple[str, ...],
    *,
    group: int = 1,
    stride: int = 1,
    interval: bool = False,
    dtype: torch.dtype = torch.bfloat16,
) -> Case:
    def launch(length: int) -> None:
        from adbench_kernels.interval_attention.triton.launch import forward

        forward(*_qkv(length, width, group=group, stride=stride, interval=interval, dtype=dtype))

    return Case(name, ("attention_forward",), width, lengths, dtype, launch)


def _backward(
    name: str,
    width: int,
    lengths: tuple[str, ...],
    *,
    group: int = 1,
    stride: int = 1,
    interval: bool = False,
    dtype: torch.dtype = torch.bfloat16,
) -> Case:
    def launch(length: int) -> None:
        from adbench_kernels.interval_attention.triton.launch import backward

        q, k, v, *rest = _qkv(
            length, width, group=group, stride=stride, interval=interval, dtype=dtype
        )
        out = _meta(*q.shape, dtype=dtype)
        lse = _meta(q.shape[0], q.shape[2], q.shape[1], dtype=torch.float32)
        backward(out, q, k, v, out, lse, *rest)  # type: ignore[arg-type]

    short = lengths == ("128",)
    kernels = ("attention_short_backward",) if short else ("attention_dq", "attention_dkdv")
    return Case(name, kernels, width, lengths, dtype, launch)


def _ring() -> Iterator[Case]:
    for width in HEAD_DIMS:
        yield _decode(f"ring-d{width}", width)
    yield _decode("ring-d64-grouped", 64, group=4, new=1)


def _decode(name: str, width: int, *, group: int = 1, new: int = 3) -> Case:
    lanes, heads = 64, 8
    key_heads = heads // group

    def launch(window: int) -> None:
        from adbench_kernels.ring_cache.triton import launch as ring

        packed = _meta(lanes, new, heads + 2 * key_heads, width)
        q, k, v = packed.tensor_split([heads, heads + key_heads], 2)
        keys, values = _meta(2, lanes, key_heads, window + new - 1, width).unbind(0)
        length, count = _meta(2, lanes, dtype=torch.int64).unbind(0)
        turns = _meta(lanes, new, 2, width, dtype=torch.float32)
        ring.append(keys, values, k, v, length, count, turns)
        given = (q, keys, values, length, count, window, 1 / math.sqrt(width), turns)
        ring.decode(*given, parts=1)
        ring.decode(*given, parts=4)  # and what puts the parts together

    kernels = ("ring_append", "ring_decode", "ring_combine")
    lengths = ("128", "2k") if group == 1 else ("2k",)
    return Case(name, kernels, width, lengths, torch.bfloat16, launch)


def _patch() -> Iterator[Case]:
    yield _patches("patch_embed-64x64x3", (64, 64, 3), 8)
    yield _patches("patch_embed-84x84x4", (84, 84, 4), 12)
    yield _patches("patch_embed-64x64x3-float32", (64, 64, 3), 8, dtype=torch.float32)


def _patches(
    name: str, frame: tuple[int, int, int], patch: int, *, dtype: torch.dtype = torch.bfloat16
) -> Case:
    embedding = 256

    def launch(num_frames: int) -> None:
        from adbench_kernels.patch_embedding import launch as patches

        frames = _meta(num_frames, *frame, dtype=torch.uint8)
        weight = _meta(embedding, patch * patch * frame[2], dtype=dtype)
        bias = _meta(embedding, dtype=dtype)
        mean, std = [0.5] * frame[2], [0.25] * frame[2]
        out = patches.forward(frames, weight, bias, patch, mean, std, dtype)
        patches.backward(out, frames, patch, mean, std, dtype)

    return Case(name, ("patch_forward", "patch_wgrad"), 0, ("16k",), dtype, launch)

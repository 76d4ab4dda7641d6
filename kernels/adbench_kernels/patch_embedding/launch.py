"""Launching the Triton kernels: shapes, tiles and grids. Works on tensors of the meta device too.

N frames of Y x X pixels and C channels, P pixels a patch side, K patches a frame, I = P * P * C,
E embedding width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from adbench_kernels.choice import arch
from adbench_kernels.configs import Tile, tile
from adbench_kernels.devices import LAUNCH_OPTIONS, launching_on

DTYPES = (torch.float32, torch.bfloat16, torch.float16)

# float32 as pieces of bfloat16: 24 bits are 3 times 8.
_FLOAT32_PIECES = 3
_WIDEST_READ_BYTES = 16
# Enough programs to fill any GPU two or three times over. The number is a constant, not the
# device's: the order of a sum, hence its bits, must not depend on where it is taken.
_GRADIENT_PROGRAMS = 512
_LEAST_BLOCKS_A_SPLIT = 4
_FINISH_BLOCK = 512
_FOLD_BLOCK_E = 16
_FOLD_BLOCK_K = 64


def forward(
    frames: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    patch: int,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: torch.dtype,
) -> Tensor:
    """Embeddings of patches, [N, K, E] in `dtype`.

    Args:
        frames: uint8 [N, Y, X, C].
        weight: one of `DTYPES`, [E, I].
        bias: [E] or none.
        patch: P.
        mean: one a channel, of pixels / 255.
        std: one a channel.
        dtype: of the products and the result, one of `DTYPES`.
    """
    from adbench_kernels.patch_embedding import kernel

    frames, geometry = _geometry(frames, patch)
    embedding, inner = weight.shape
    patches = geometry["PATCHES"]
    out = torch.empty(len(frames), patches, embedding, dtype=dtype, device=frames.device)
    rows = len(frames) * patches
    weight = weight if weight.stride(1) == 1 else weight.contiguous()
    if rows == 0 or embedding == 0:
        return out
    table, scale, centre = _normalisation(tuple(mean), tuple(std), patch, frames.device)
    pieces, compute = _pieces(dtype)
    folded = torch.empty(pieces, embedding, inner, dtype=compute, device=frames.device)
    shift = torch.empty(embedding, dtype=torch.float32, device=frames.device)
    blocks = _tile("patch_forward", frames, dtype)
    blocks = blocks._replace(block_n=min(blocks.block_n, _padded(embedding)))
    grid = (-(-rows // blocks.block_m) * -(-embedding // blocks.block_n),)
    with launching_on(frames.device):
        kernel.patch_fold[(-(-embedding // _FOLD_BLOCK_E),)](
            weight, shift if bias is None else bias.contiguous(), table, folded, shift,
            embedding, scale, weight.stride(0),
            INNER=inner, PIECES=pieces, HAS_BIAS=bias is not None,
            BLOCK_E=_FOLD_BLOCK_E, BLOCK_K=_FOLD_BLOCK_K, num_warps=4, **LAUNCH_OPTIONS,
        )  # fmt: skip
        kernel.patch_project[grid](
            frames, folded, shift, out, rows, embedding, scale, centre,
            **geometry, PIECES=pieces, **_shape(blocks),
        )  # fmt: skip
    return out


def backward(
    grad_out: Tensor,
    frames: Tensor,
    patch: int,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Gradients of the weight, [E, I] in `dtype`, and of the bias, float32 [E].

    Args:
        grad_out: one of `DTYPES`, [N, K, E].
        frames: as for `forward`.
        patch: as for `forward`.
        mean: as for `forward`.
        std: as for `forward`.
        dtype: of the weight.
    """
    from adbench_kernels.patch_embedding import kernel

    frames, geometry = _geometry(frames, patch)
    embedding = grad_out.shape[2]
    inner, rows = patch * geometry["LINE"], len(frames) * geometry["PATCHES"]
    options: dict[str, Any] = {"dtype": torch.float32, "device": frames.device}
    grad_bias = torch.empty(embedding, **options)
    grad_weight = torch.empty(embedding, inner, dtype=dtype, device=frames.device)
    if rows == 0 or embedding == 0:
        return grad_weight.zero_(), grad_bias.zero_()
    table, scale, centre = _normalisation(tuple(mean), tuple(std), patch, frames.device)
    grad_out = grad_out.reshape(rows, embedding)  # a copy where rows are not evenly spaced
    if grad_out.stride(1) != 1:
        grad_out = grad_out.contiguous()
    blocks = _tile("patch_wgrad", frames, grad_out.dtype)
    blocks = blocks._replace(
        block_m=min(blocks.block_m, _padded(embedding)), block_n=min(blocks.block_n, _padded(inner))
    )
    tiles = -(-embedding // blocks.block_m) * -(-inner // blocks.block_n)
    splits = max(1, _GRADIENT_PROGRAMS // tiles)
    splits = min(splits, -(-rows // (blocks.block_k * _LEAST_BLOCKS_A_SPLIT)))
    rows_a_split = -(-rows // (splits * blocks.block_k)) * blocks.block_k
    splits = -(-rows // rows_a_split)
    partial = torch.empty(splits, embedding, inner, **options)
    sums = torch.empty(splits, embedding, **options)
    with launching_on(frames.device):
        kernel.patch_gradient[(splits * tiles,)](
            grad_out, frames, partial, sums, rows, rows_a_split, embedding, centre,
            stride_grad=grad_out.stride(0), **geometry,
            PIECES=_pieces(grad_out.dtype)[0], **_shape(blocks),
        )  # fmt: skip
        kernel.patch_finish[(-(-embedding * inner // _FINISH_BLOCK),)](
            partial, sums, table, grad_weight, grad_bias, splits, embedding, scale,
            INNER=inner, BLOCK=_FINISH_BLOCK, num_warps=4, **LAUNCH_OPTIONS,
        )  # fmt: skip
    return grad_weight, grad_bias


def _geometry(frames: Tensor, patch: int) -> tuple[Tensor, dict[str, int]]:
    """Frames whose lines of a patch are runs of bytes, and where patches are among the bytes."""
    channels = frames.shape[3]
    if frames.stride(3) != 1 or frames.stride(2) != channels:
        frames = frames.contiguous()
    line = patch * channels
    steps = (line, frames.stride(1), frames.stride(0), frames.data_ptr())
    return frames, {
        "stride_frame": frames.stride(0),
        "stride_line": frames.stride(1),
        "PATCHES": frames.shape[1] // patch * (frames.shape[2] // patch),
        "ACROSS": frames.shape[2] // patch,
        "SIDE": patch,
        "LINE": line,
        "RUN": math.gcd(_WIDEST_READ_BYTES, *steps),
    }


@lru_cache(maxsize=16)
def _normalisation(
    mean: tuple[float, ...], std: tuple[float, ...], patch: int, device: torch.device
) -> tuple[Tensor, float, float]:
    """The table of `kernel.patch_fold`, s, c. Kept: a copy to the device must wait for it."""
    scales = [1.0 / (255.0 * one) for one in std]
    largest = max(scales, key=abs)
    centre = round(255.0 * (min(mean) + max(mean)) / 2)
    centre = min(max(centre, 0), 255)
    rows = [[s / largest for s in scales], [centre - 255.0 * m for m in mean]]
    table = torch.tensor(rows, dtype=torch.float32, device="cpu").repeat(1, patch * patch)
    table = table.to(device)
    return table, largest, float(centre)


def _pieces(dtype: torch.dtype) -> tuple[int, torch.dtype]:
    return (_FLOAT32_PIECES, torch.bfloat16) if dtype == torch.float32 else (1, dtype)


def _padded(width: int) -> int:
    """The next power of two, at least 64: narrower blocks lose the widest matrix instructions."""
    return max(64, 1 << (width - 1).bit_length())


def _tile(name: str, frames: Tensor, dtype: torch.dtype) -> Tile:
    return tile(
        name,
        arch=arch(frames.device),
        head_dim=0,
        length=len(frames),
        dtype_bytes=dtype.itemsize,
    )


def _shape(blocks: Tile) -> dict[str, int]:
    return {
        "BLOCK_M": blocks.block_m,
        "BLOCK_N": blocks.block_n,
        "BLOCK_K": blocks.block_k,
        "num_warps": blocks.num_warps,
        "num_stages": blocks.num_stages,
        **LAUNCH_OPTIONS,
    }

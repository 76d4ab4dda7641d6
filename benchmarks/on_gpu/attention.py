"""The attention section: ours beside torch's, over lengths, head widths and masks.

65,536 tokens a batch, H * D = 512, bfloat16, one packed projection [B, T, 3 H, D] that every
implementation reads in place. A window of 1,024 is plain causal up to T 1,024 and is not repeated
there. torch's attention knows no windows: it gets the mask written out, up to T 4,096 (beyond, the
mask alone takes gigabytes and reading it more time than attention). FlexAttention is compiled anew
for each point, which takes seconds, so it has a few points only.

B rows, T keys, Q queries, H heads, D head width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from adbench_kernels import ImplementationUnavailableError, attention
from benchmarks.on_gpu import flex, masks
from benchmarks.on_gpu.card import Card
from benchmarks.on_gpu.cases import Case, UnsupportedError, Work
from benchmarks.on_gpu.exact import Head, Result, attend, errors, exact_dtype

ABOUT = "attention, forward, backward and both, beside SDPA's back ends and FlexAttention"

TOKENS, WIDTH, BFLOAT16_BYTES = 65_536, 512, 2
LENGTHS = (1024, 4096, 16_384, 64, 256, 65_536)
HEAD_DIMS = (32, 16, 64, 128)
MODES = ("both", "forward", "backward")
FLEX_LENGTHS, FLEX_HEAD_DIMS = (1024, 16_384, 65_536), (32, 64)
LONGEST_DENSE_MASK = 4096
FORWARD_FLOPS, BACKWARD_FLOPS = 4, 10
"""Operations a score and unit of head width: 2 and 5 matrix products."""

SDPA = {
    "sdpa-flash": SDPBackend.FLASH_ATTENTION,
    "sdpa-cudnn": SDPBackend.CUDNN_ATTENTION,
    "sdpa-efficient": SDPBackend.EFFICIENT_ATTENTION,
    "sdpa-math": SDPBackend.MATH,
}

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def cases(*, smoke: bool, on_gpu: bool) -> list[Case]:
    """Every case, the most telling first: middle lengths, narrow heads, then the rest.

    Args:
        smoke: a few tiny ones.
        on_gpu: ours is "triton" there (or where it is interpreted), "blocked" on a CPU.
    """
    found = []
    for length in (48,) if smoke else LENGTHS:
        for head_dim in (16,) if smoke else HEAD_DIMS:
            for mask in masks.NAMES:
                if mask == "window" and length <= masks.WINDOW and not smoke:
                    continue
                for name in _implementations(mask, length, smoke, on_gpu):
                    found += [_case(mode, mask, length, head_dim, name) for mode in MODES]
    for length in (48,) if smoke else FLEX_LENGTHS:
        for head_dim in (16,) if smoke else FLEX_HEAD_DIMS:
            for mask in ("causal", "window"):
                if mask == "causal" or length > masks.WINDOW:
                    # On a CPU FlexAttention runs forward only.
                    modes = ("forward",) if smoke else MODES
                    found += [_case(mode, mask, length, head_dim, "flex") for mode in modes]
    return found


def _implementations(mask: str, length: int, smoke: bool, on_gpu: bool) -> tuple[str, ...]:
    if smoke:
        return ("triton" if on_gpu else "blocked", "auto", "sdpa-math")
    if mask == "causal":
        return ("triton", "sdpa-cudnn", "sdpa-flash", "sdpa-efficient", "auto")
    dense = ("sdpa-cudnn", "sdpa-efficient") if length <= LONGEST_DENSE_MASK else ()
    return ("triton", *dense)


def _case(mode: str, mask: str, length: int, head_dim: int, name: str) -> Case:
    depends = {"triton": "kernels", "blocked": "kernels", "auto": "choice"}.get(name, "")
    key: dict[str, str | int] = {
        "op": "attention", "mode": mode, "mask": mask, "T": length, "D": head_dim,
        "implementation": name,
    }  # fmt: skip
    return Case(key, lambda card: prepare(card, mode, mask, length, head_dim, name), depends)


@dataclass(frozen=True)
class Scene:
    """What all cases of one length, width and mask share: inputs and right answers."""

    sets: tuple[tuple[Tensor, Tensor], ...]  # packed [B, T, 3 H, D] and gradients [B, Q, H, D]
    mask: masks.Mask
    exact: Result
    plain: Result

    @property
    def scale(self) -> float:
        """Of the scores."""
        return 1 / math.sqrt(self.sets[0][0].shape[3])


def parts(packed: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a packed projection, as views."""
    q, k, v = packed.chunk(3, 2)
    return q[:, ::stride], k, v


@lru_cache(maxsize=1)
def _scene(card: Card, length: int, head_dim: int, mask_name: str) -> Scene:
    tokens, width = (96, 32) if card.smoke else (TOKENS, WIDTH)
    dtype = torch.bfloat16 if card.on_gpu else torch.float32
    batch, heads = max(1, tokens // length), width // head_dim
    window = 20 if card.smoke else masks.WINDOW
    mask = masks.make(mask_name, batch, length, card.device, window)
    sets = []
    for seed in range(card.sets(3 * batch * length * width * BFLOAT16_BYTES)):
        packed = card.normal(batch, length, 3 * heads, head_dim, seed=seed, dtype=dtype)
        shape = (batch, len(mask.position), heads, head_dim)
        sets.append((packed, card.normal(*shape, seed=1000 + seed, dtype=dtype)))
    packed, grad = sets[0]
    # The last head of the last row: whatever an index may overflow into is before it.
    q, k, v = (x[-1, :, -1] for x in parts(packed, mask.stride))
    head, span = Head(q, k, v, grad[-1, :, -1]), (mask.start[-1], mask.position)
    scale = 1 / math.sqrt(head_dim)
    exact, plain = (attend(head, *span, scale, d) for d in (exact_dtype(dtype), dtype))
    return Scene(tuple(sets), mask, exact, plain)


def prepare(card: Card, mode: str, mask_name: str, length: int, head_dim: int, name: str) -> Work:
    """Attention of a mask, by an implementation, made ready.

    Args:
        card: on which.
        mode: one of `MODES`.
        mask_name: one of `masks.NAMES`.
        length: T.
        head_dim: D.
        name: of the implementation.

    Raises:
        UnsupportedError: it knows no such mask.
    """
    scene = _scene(card, length, head_dim, mask_name)
    run = _attend(scene, name, card)

    def check() -> Mapping[str, float]:
        packed, grad = scene.sets[0]
        leaves = _leaves(packed, scene.mask.stride, mode)
        if mode == "forward":
            with torch.no_grad():
                found = [run(*leaves)]
            last = [found[0][-1, :, -1]]
            return errors(last, scene.exact[:1], scene.plain[:1], ("out",))
        out = run(*leaves)
        grads = torch.autograd.grad(out, leaves, grad)
        last = [x[-1, :, -1] for x in (out, *grads)]
        return errors(last, scene.exact, scene.plain, Result._fields)

    calls = [_call(run, mode, packed, grad, scene.mask.stride) for packed, grad in scene.sets]
    return Work(calls, check, *_worth(scene, mode))


def _leaves(packed: Tensor, stride: int, mode: str) -> tuple[Tensor, ...]:
    learns = mode != "forward"
    return tuple(x.detach().requires_grad_(learns) for x in parts(packed, stride))


def _call(run: Attend, mode: str, packed: Tensor, grad: Tensor, stride: int) -> Callable[[], Any]:
    leaves = _leaves(packed, stride, mode)
    if mode == "forward":

        def forward() -> Tensor:
            with torch.no_grad():
                return run(*leaves)

        return forward
    if mode == "backward":
        out = run(*leaves)
        return lambda: torch.autograd.grad(out, leaves, grad, retain_graph=True)
    return lambda: torch.autograd.grad(run(*leaves), leaves, grad)


def _worth(scene: Scene, mode: str) -> tuple[float, float, float]:
    """Operations, least bytes and scores of one call."""
    packed, grad = scene.sets[0]
    heads, head_dim = packed.shape[2] // 3, packed.shape[3]
    size = packed.element_size()
    elements = float(scene.mask.pairs * heads)
    query_bytes = grad.numel() * size
    lse_bytes = 4 * grad.numel() / head_dim
    key_bytes = 2 * packed.numel() // 3 * size
    forward_bytes = 2 * query_bytes + key_bytes + lse_bytes
    backward_bytes = 4 * query_bytes + 2 * key_bytes + lse_bytes
    flops = {"forward": FORWARD_FLOPS, "backward": BACKWARD_FLOPS}
    flops["both"] = sum(flops.values())
    moved = {"forward": forward_bytes, "backward": backward_bytes}
    moved["both"] = sum(moved.values())
    return flops[mode] * head_dim * elements, moved[mode], elements


def _attend(scene: Scene, name: str, card: Card) -> Attend:
    mask, scale = scene.mask, scene.scale
    if name in SDPA:
        return _sdpa(mask, scale, SDPA[name])
    if name == "flex":
        return flex.attend(mask.name, scene.sets[0][0].shape[1], scale, card)

    ways: Any = {"implementation": name}

    def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor = attention(
            q, k, v, intervals=mask.intervals, query_stride=mask.stride, scale=scale, **ways
        )
        return out

    return ours


@contextmanager
def refused_by_torch() -> Iterator[None]:
    """Make of what SDPA says of a case that a back end does not take that it is unsupported."""
    try:
        yield
    except ImplementationUnavailableError as error:
        raise UnsupportedError(str(error)) from error
    except RuntimeError as error:
        if "No available kernel" in str(error):
            raise UnsupportedError(str(error)) from error
        raise


def _sdpa(mask: masks.Mask, scale: float, backend: SDPBackend) -> Attend:
    causal = mask.name == "causal"
    dense = None if causal else mask.dense()

    def attend_there(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        with refused_by_torch(), sdpa_kernel(backend):
            out = F.scaled_dot_product_attention(
                q, k, v, attn_mask=dense, is_causal=causal, scale=scale
            )
        return out.transpose(1, 2)

    return attend_there

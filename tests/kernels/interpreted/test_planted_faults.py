"""A slip planted in a kernel is caught by the comparison that the other tests make.

Each kernel gets at least a mask off by one, a lost factor and a row that is not written. Every
probe passes with the kernels as they are, or a fault would prove nothing.

B batch rows, T tokens, H heads, D head width.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adbench_kernels import (
    Intervals,
    RingCache,
    attention,
    attention_backward,
    patch_embed,
    ring_append,
    ring_attention,
    rotary_attention,
    rotary_turns,
)
from adbench_kernels.configs import Tile, override
from kernel_checks.faults import planted
from kernel_checks.memory import guarded
from kernel_checks.precision import assert_close
from kernel_checks.rings import Past, steps

SMALL = Tile(block_m=16, block_n=16, num_warps=4, num_stages=1)
"""Short rows have edges, whole tiles and a diagonal at that size."""


def _numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _case(length: int) -> tuple[tuple[Tensor, ...], Intervals]:
    """q of two heads, k and v of one, out's gradient; two episodes in view."""
    q, k, v, grad_out = (
        _numbers(1, length, heads, 16, seed=seed) for seed, heads in enumerate((2, 1, 1, 2))
    )
    # Some begin with the last key of a block, where spans of queries end.
    begins = torch.tensor([11, 15, 31, 47, 63, 70, 95, 127])
    episodes = (torch.arange(length)[:, None] >= begins).sum(1)[None]
    return (q, k, v, grad_out), Intervals.last_episodes(episodes, 2)


def attention_forward() -> None:
    (*inputs, _), intervals = _case(73)
    exact = attention(
        *(x.double() for x in inputs), intervals=intervals, implementation="reference"
    )
    with override("attention_forward", SMALL):
        out = attention(*(guarded(x) for x in inputs), intervals=intervals, implementation="triton")
    assert_close(out, exact)


def _backward(length: int) -> None:
    (*inputs, grad_out), intervals = _case(length)
    q, k, v = (x.double().requires_grad_() for x in inputs)
    out, lse = attention(q, k, v, intervals=intervals, return_lse=True, implementation="reference")
    exact = torch.autograd.grad(out, (q, k, v), grad_out.double())
    grads = attention_backward(
        *(guarded(x.detach().float()) for x in (grad_out, q, k, v, out, lse)),
        intervals=intervals,
        implementation="triton",
    )
    for name, grad, right in zip(("dq", "dk", "dv"), grads, exact, strict=True):
        assert_close(grad, right, name=name)


def attention_long_backward() -> None:
    medium = SMALL._replace(block_m=32, block_n=32)
    with override("attention_dq", medium), override("attention_dkdv", medium):
        _backward(133)


def attention_short_backward() -> None:
    with override("attention_short_backward", SMALL):
        _backward(30)


def ring() -> None:
    """Ten steps of up to four tokens in a ring of 24 slots, read in two parts."""
    lanes, window, capacity = 2, 21, 24
    past = Past(window, lanes)
    cache = RingCache(lanes, capacity, 1, 16, layout="slots")
    cache.keys.fill_(torch.nan)
    cache.values.fill_(torch.nan)
    actual, exact = [], []
    with override("ring_decode", SMALL._replace(block_k=12)):
        for number, new in enumerate(
            steps(
                10, lanes=lanes, new=4, heads=2, key_heads=1, width=16, dtype=torch.float32,
                resets=0.1,
            )
        ):  # fmt: skip
            past.take(new)
            k, v = guarded(new.k), guarded(new.v)
            ring_append(cache, k, v, count=new.count, reset=new.reset, implementation="triton")
            if number % 3:
                continue
            q = guarded(new.q)
            actual.append(ring_attention(q, cache, window=window, implementation="triton"))
            exact.append(past.attend(new))
    assert_close(torch.stack(actual), torch.stack(exact))


def patches() -> None:
    """Nine patches a frame of 27 pixels and channels, 20 wide; both gradients."""
    draw = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (5, 9, 9, 3), generator=draw, dtype=torch.uint8)
    weight, bias = _numbers(20, 27, seed=1), _numbers(20, seed=2)
    grad_out = _numbers(5, 9, 20, seed=3)
    outcomes = []
    for exact in (False, True):
        given = [(x.double() if exact else guarded(x)).requires_grad_() for x in (weight, bias)]
        out = patch_embed(
            frames if exact else guarded(frames), *given, patch=3,
            mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3),
            implementation="reference" if exact else "triton",
        )  # fmt: skip
        grads = torch.autograd.grad(out, given, grad_out.to(out.dtype))
        outcomes.append((out.detach(), *grads))
    for name, actual, right in zip(("out", "dw", "db"), *outcomes, strict=True):
        assert_close(actual, right, name=name)


def rotation() -> None:
    """Packed queries, keys and values turned by their positions, and the gradient."""
    qkv, turns = _numbers(1, 40, 6, 16, seed=0), rotary_turns(torch.arange(40), 16, torch.float32)
    grad_out = _numbers(1, 40, 2, 16, seed=1)
    outcomes = []
    for exact in (False, True):
        given = (qkv.double() if exact else guarded(qkv)).requires_grad_()
        turning = rotary_turns(torch.arange(40), 16, torch.float64) if exact else turns
        out = rotary_attention(
            given, turning, window=9, implementation="reference" if exact else "triton"
        )
        (grad,) = torch.autograd.grad(out, given, grad_out.to(out.dtype))
        outcomes.append((out.detach(), grad))
    for name, actual, right in zip(("out", "dqkv"), *outcomes, strict=True):
        assert_close(actual, right, name=name, tolerance=TURNS_ERROR)


TURNS_ERROR = 4e-6
"""Turns are float32: a cosine is off by 2^-25 at most, and so is a turned number's pair; scores of
16 products of turned numbers carry four such errors each into an exponential."""

ATTENTION = "interval_attention.triton"
STORE = "m_block = o_row[:, None] < limit\n    if D < BLOCK_D:\n        m_block = m_block & "
FORWARD, BACKWARD, SHORT = f"{ATTENTION}.forward", f"{ATTENTION}.backward", f"{ATTENTION}.short"
TILES = f"{ATTENTION}.tiles"
APPEND, DECODE, COMBINE = (f"ring_cache.triton.{name}" for name in ("append", "decode", "combine"))
PATCH, TURN = "patch_embedding.kernel", "rotary_attention.kernel"

Fault = tuple[Callable[[], None], str, str, str, str]
FAULTS: tuple[Fault, ...] = (
    # probe, what is wrong, module, right, wrong
    (attention_forward, "the future is seen", FORWARD,
     "o_key <= b_end[:, None]", "o_key <= b_end[:, None] + 1"),
    (attention_forward, "itself is not seen", FORWARD,
     "o_key <= b_end[:, None]", "o_key < b_end[:, None]"),
    (attention_forward, "a key too early is seen", FORWARD,
     "o_key >= b_start[:, None]", "o_key >= b_start[:, None] - 1"),
    (attention_forward, "the diagonal's tile is not masked", TILES,
     "tl.maximum(near + 1, 0), num_keys) // BLOCK_N",
     "tl.maximum(near, 0), num_keys) // BLOCK_N + 1"),
    (attention_forward, "a tile on the left edge is not masked", TILES,
     "inside = tl.cdiv(start_of(p_starts, last, True, stride, far, width), BLOCK_N)",
     "inside = start_of(p_starts, last, True, stride, far, width) // BLOCK_N"),
    (attention_forward, "the scale is lost", FORWARD,
     "tl.where(m_seen, b_s * scale_log2,", "tl.where(m_seen, b_s,"),
    (attention_forward, "the old sum does not fade", FORWARD, "b_sum * b_fade +", "b_sum +"),
    (attention_forward, "the last row is not written", TILES, STORE,
     STORE.replace("limit", "limit - 1")),
    (attention_forward, "a row past the end is read", TILES,
     "if MASKED:\n        m_block = o_row[:, None] < limit",
     "if MASKED:\n        m_block = o_row[:, None] <= limit"),
    (attention_long_backward, "dq: the future is seen", BACKWARD,
     "o_key <= b_end[:, None]", "o_key <= b_end[:, None] + 1"),
    (attention_long_backward, "dq: the scale is lost", BACKWARD, "b_dq * scale", "b_dq"),
    (attention_long_backward, "dq: delta is lost", BACKWARD, "(b_dp - b_delta[:, None])", "b_dp"),
    (attention_long_backward, "dq: the last row is not written", BACKWARD,
     "b_dq * scale, o_m, stride_dt, left", "b_dq * scale, o_m, stride_dt, left - 1"),
    (attention_long_backward, "dk: itself is not seen", BACKWARD,
     "(o_key[:, None] <= o_position[None, :])", "(o_key[:, None] < o_position[None, :])"),
    (attention_long_backward, "dk: the scale is lost", BACKWARD, "b_dk * scale", "b_dk"),
    (attention_long_backward, "dk: the last queries are left out", BACKWARD,
     "tail = tl.cdiv(high - rest, BLOCK_M)", "tail = (high - rest) // BLOCK_M"),
    (attention_long_backward, "dv: the last row is not written", BACKWARD,
     "b_dv, o_n, stride_yt, left", "b_dv, o_n, stride_yt, left - 1"),
    (attention_long_backward, "dk: the wrong span of queries is searched", BACKWARD,
     "m_above = b_start <= key", "m_above = b_start < key"),
    (attention_short_backward, "the future is seen", SHORT,
     "o_key[:, None] <= b_end[None, :]", "o_key[:, None] <= b_end[None, :] + 1"),
    (attention_short_backward, "the scale is lost", SHORT, "b_dq * scale", "b_dq"),
    (attention_short_backward, "delta is lost", SHORT, "(b_dp - b_delta[None, :])", "b_dp"),
    (attention_short_backward, "the last row is not written", SHORT,
     "b_dk * scale, o_key, stride_xt, num_keys", "b_dk * scale, o_key, stride_xt, num_keys - 1"),
    (ring, "a token goes to the slot beside its own", APPEND,
     "(first + o_n) % capacity", "(first + o_n + 1) % capacity"),
    (ring, "the last new token is not written", APPEND, "(o_n < count)", "(o_n < count - 1)"),
    (ring, "the window is one too wide", DECODE,
     "(tl.uint32, bitcast=True) <", "(tl.uint32, bitcast=True) <="),
    (ring, "the future is seen", DECODE,
     "b_age = o_newest[:, None] - o_token[None, :]",
     "b_age = o_newest[:, None] - o_token[None, :] + 1"),
    (ring, "the scale is lost", DECODE,
     'input_precision="ieee") * scale_log2', 'input_precision="ieee")'),
    (ring, "a part's last row is not written", DECODE,
     "m_row_out = row < NEW * GROUP", "m_row_out = row < NEW * GROUP - 1"),
    (ring, "a part's share is lost", COMBINE,
     "b_part * b_share[:, None]", "b_part"),
    (ring, "the last part is left out", COMBINE, "range(parts)", "range(parts - 1)"),
    (ring, "the last row is not written", COMBINE,
     "m_row = row < NEW * GROUP", "m_row = row < NEW * GROUP - 1"),
    (patches, "the last row is not written", PATCH,
     "mask=(o_row < rows)[:, None]", "mask=(o_row < rows - 1)[:, None]"),
    (patches, "the scale is lost", PATCH, "b_sum * scale + b_shift", "b_sum + b_shift"),
    (patches, "a pixel past the patch is taken in", PATCH,
     "mask=(o_k < INNER)[:, None] & m_e[None, :]", "mask=(o_k <= INNER)[:, None] & m_e[None, :]"),
    (patches, "the shift is lost", PATCH, "b_sum * scale + b_shift[None, :]", "b_sum * scale"),
    (patches, "dw: the last row is left out", PATCH,
     "m_row = o_row < end", "m_row = o_row < end - 1"),
    (patches, "dw: the scale is lost", PATCH, "scale * b_ratio *", "b_ratio *"),
    (patches, "db: the last is not written", PATCH,
     "m_at = o_at < embedding * INNER", "m_at = o_at < embedding * INNER - INNER"),
    (rotation, "turned the other way", TURN, "b_sin = -b_sin", "b_sin = b_sin"),
    (rotation, "the sine is another pair's", TURN, "p_turn + D + 1", "p_turn + D + 3"),
    (rotation, "the last token is not written", TURN,
     "m_t = o_t < tokens", "m_t = o_t < tokens - 1"),
    (rotation, "a half of each pair is not turned", TURN,
     "b_b * b_cos + b_a * b_sin", "b_b * b_cos"),
)  # fmt: skip


@pytest.mark.parametrize("probe", dict.fromkeys(fault[0] for fault in FAULTS))
def test_the_kernels_as_they_are_pass_the_probe(probe: Callable[[], None]) -> None:
    probe()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault[0].__name__}: {fault[1]}")
def test_a_planted_fault_is_caught(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, _, module, right, wrong = fault
    # What uses the kernels must have imported them before they are replaced.
    importlib.import_module("adbench_kernels.interval_attention.triton.launch")
    importlib.import_module("adbench_kernels.ring_cache.triton.launch")
    kernels = importlib.import_module(f"adbench_kernels.{module}")
    planted(monkeypatch, tmp_path, kernels, right, wrong)
    with pytest.raises(AssertionError, match=r"off by|NaN"):
        probe()

"""What is timed is what is said: masks, their counts, and the definition they are checked with."""

from __future__ import annotations

import math

import pytest
import torch

from adbench_kernels import attention
from benchmarks.on_gpu import masks
from benchmarks.on_gpu.cases import WrongResultError
from benchmarks.on_gpu.exact import Head, attend, errors, relative

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", masks.NAMES)
@pytest.mark.parametrize("length", [45, 64])
def test_a_mask_written_out_is_what_our_kernels_see_and_what_is_counted(
    name: str, length: int
) -> None:
    mask = masks.make(name, 2, length, CPU, window=20)
    dense = mask.dense().expand(2, 1, len(mask.position), length)
    assert int(dense.sum()) == mask.pairs
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, length, 1, 4, generator=draw, dtype=torch.float64) for _ in range(3))
    out = attention(q[:, :: mask.stride], k, v, intervals=mask.intervals, query_stride=mask.stride)
    scores = torch.einsum("bqhd,bkhd->bhqk", q[:, :: mask.stride], k) / 2
    weights = scores.masked_fill(~dense, -math.inf).softmax(-1)
    assert torch.allclose(out, torch.einsum("bhqk,bkhd->bqhd", weights, v), atol=1e-12)


def test_episodes_are_a_sixteenth_of_a_row_within_bounds() -> None:
    assert [masks.episode_length(n) for n in (64, 1024, 65_536)] == [16, 64, 512]
    mask = masks.make("episodes", 1, 4096, CPU)
    seen = (mask.position + 1 - mask.start[0])[1024:].float()
    # Three whole episodes of 256 and half of the fourth, on average.
    assert 2.5 * 256 < float(seen.mean()) < 4.5 * 256


def test_the_definition_agrees_with_autograd_of_a_plain_softmax() -> None:
    draw = torch.Generator().manual_seed(0)
    head = Head(*(torch.randn(7, 4, generator=draw, dtype=torch.float64) for _ in range(4)))
    start, position = torch.tensor([0, 0, 1, 1, 3, 6, 6]), torch.arange(7)
    position[4] = 2  # this one sees nothing
    found = attend(head, start, position, 0.5, torch.float64)
    q, k, v = (x.clone().requires_grad_() for x in head[:3])
    key = torch.arange(7)
    seen = (key >= start[:, None]) & (key <= position[:, None])
    weights = (q @ k.T * 0.5).masked_fill(~seen, -1e30).softmax(1) * seen
    out = weights @ v
    expected = (out, *torch.autograd.grad(out, (q, k, v), head.grad))
    for x, right in zip(found, expected, strict=True):
        assert relative(x, right) < 1e-12
    assert not found.out[4].any() and not found.dq[4].any()


def test_twice_the_error_of_plain_arithmetic_is_allowed_and_no_more() -> None:
    right = torch.ones(100, dtype=torch.float64)
    plain = right + 1e-3
    worst = errors([right + 1.9e-3], [right], [plain], ["out"])
    assert worst["error"] == pytest.approx(1.9e-3) and worst["error_of_plain"] == pytest.approx(
        1e-3
    )
    with pytest.raises(WrongResultError, match=r"out is off by 0\.0021"):
        errors([right + 2.1e-3], [right], [plain], ["out"])
    with pytest.raises(WrongResultError, match="nan"):
        errors([right.log() / 0], [right], [plain], ["out"])

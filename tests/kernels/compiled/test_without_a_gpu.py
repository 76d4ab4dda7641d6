"""Triton is installed, nothing interprets it, and there is no GPU: it is refused, not replaced."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from adbench_kernels import (
    ImplementationUnavailableError,
    RingCache,
    attention,
    build_scene,
    patch_embed,
    raycast,
    ring_append,
    ring_attention,
    rotary_attention,
    rotary_turns,
)

X = torch.zeros(1, 3, 2, 16)


def attend() -> object:
    return attention(X, X, X, implementation="triton")


def turn() -> object:
    turns = rotary_turns(torch.arange(3), 16, torch.float32)
    return rotary_attention(torch.zeros(1, 3, 6, 16), turns, implementation="triton")


def embed() -> object:
    frames, weight = torch.zeros(1, 4, 4, 3, dtype=torch.uint8), torch.zeros(5, 48)
    return patch_embed(frames, weight, patch=4, implementation="triton")


def append() -> object:
    cache = RingCache(1, 4, 2, 16, layout="slots")
    return ring_append(cache, X[:, :1], X[:, :1], implementation="triton")


def decode() -> object:
    cache = RingCache(1, 4, 2, 16, layout="slots")
    moved = ring_append(cache, X[:, :1], X[:, :1], implementation="reference")
    return ring_attention(X[:, :1], cache, window=4, step=moved, implementation="triton")


def draw() -> object:
    scene = build_scene([[]])
    return raycast(scene, torch.zeros(1, 4), height=4, width=4, implementation="triton")


@pytest.mark.parametrize("ask", [attend, turn, embed, append, decode, draw])
def test_triton_by_name_is_refused_on_the_cpu(ask: Callable[[], object]) -> None:
    with pytest.raises(ImplementationUnavailableError, match="'triton'"):
        ask()


def test_auto_is_served_by_something_else() -> None:
    assert torch.equal(attention(X, X, X), X)

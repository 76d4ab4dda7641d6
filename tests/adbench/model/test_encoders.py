"""Observations of every kind become vectors of the model's width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from adbench.errors import UsageError
from adbench.model.encoders import (
    DiscreteEncoder,
    MultiDiscreteEncoder,
    VectorEncoder,
    make_encoder,
)

WIDTH = 12


def encoder(space: gymnasium.Space[Any], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return make_encoder(space, WIDTH)


def byte_box(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


SPACES = [
    spaces.Discrete(4),
    spaces.Discrete(3, start=-1),
    spaces.MultiDiscrete([9, 2, 5]),
    spaces.MultiDiscrete([3, 3], start=[1, -2]),
    spaces.Box(-1.0, 1.0, (6,), np.float32),
    spaces.Box(-np.inf, np.inf, (2,), np.float64),
    spaces.Box(0, 255, (7,), np.uint8),
    byte_box(32, 32, 3),
    byte_box(9, 7),
    byte_box(3, 20, 24),
    byte_box(72, 96, 3),
    spaces.Dict({"pos.x": spaces.Discrete(3), "image": byte_box(8, 8, 1)}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_every_space_has_an_encoder_that_keeps_rows_apart_and_learns(
    space: gymnasium.Space[Any],
) -> None:
    encode = encoder(space)
    space.seed(3)
    samples = [space.sample() for _ in range(6)]

    def batch(values: Sequence[Any]) -> Any:
        if isinstance(space, spaces.Dict):
            return {k: torch.from_numpy(np.stack([v[k] for v in values])) for k in space.spaces}
        return torch.from_numpy(np.stack(values))

    def shaped(x: Any, *lead: int) -> Any:
        if isinstance(x, dict):
            return {k: v.reshape(*lead, *v.shape[1:]) for k, v in x.items()}
        return x.reshape(*lead, *x.shape[1:])

    flat = encode(batch(samples))
    assert flat.shape == (6, WIDTH)
    assert torch.isfinite(flat).all()
    assert torch.allclose(encode(shaped(batch(samples), 2, 3)), flat.view(2, 3, WIDTH), atol=1e-6)
    assert torch.allclose(encode(batch(samples[2:3])), flat[2:3], atol=1e-6)
    flat.square().sum().backward()
    assert all(p.grad is not None for p in encode.parameters())


@torch.no_grad()
def test_coordinates_add_up_so_that_a_column_means_the_same_in_every_row() -> None:
    encode = encoder(spaces.MultiDiscrete([9, 4]))
    assert isinstance(encode, MultiDiscreteEncoder)
    at = {(x, y): encode(torch.tensor([x, y])) for x in (2, 8) for y in (0, 3)}
    assert torch.allclose(at[2, 0] - at[8, 0], at[2, 3] - at[8, 3], atol=1e-6)
    assert encode.values.num_embeddings == 13


@torch.no_grad()
def test_every_value_has_its_own_row_of_the_table() -> None:
    encode = encoder(spaces.MultiDiscrete([3, 2], start=[5, -1]))
    assert isinstance(encode, MultiDiscreteEncoder)
    table = encode.values.weight
    assert torch.allclose(encode(torch.tensor([7, -1])), table[2] + table[3])
    single = encoder(spaces.Discrete(3, start=10))
    assert isinstance(single, DiscreteEncoder)
    assert torch.equal(single(torch.tensor(12)), single.values.weight[2])


@torch.no_grad()
def test_bounded_entries_are_brought_to_one_and_others_cannot_blow_up() -> None:
    low, high = np.array([0.0, -np.inf], np.float32), np.array([1000.0, np.inf], np.float32)
    encode = encoder(spaces.Box(low, high))
    assert isinstance(encode, VectorEncoder)
    first = encode.layers[0]
    assert isinstance(first, nn.Linear)
    nn.init.eye_(first.weight)
    seen: list[Tensor] = []
    first.register_forward_hook(lambda _m, inputs, _out: seen.append(inputs[0]))
    encode(torch.tensor([[0.0, 0.001], [1000.0, -1e9]]))
    assert torch.allclose(seen[0][:, 0], torch.tensor([-1.0, 1.0]))
    assert torch.allclose(seen[0][0, 1], torch.tensor(0.001), atol=1e-5)
    assert -21 < float(seen[0][1, 1]) < -20


@torch.no_grad()
def test_frames_with_channels_first_or_last_or_none_are_the_same_picture() -> None:
    last, first = encoder(byte_box(16, 20, 3), seed=4), encoder(byte_box(3, 16, 20), seed=4)
    frame = torch.randint(0, 256, (2, 16, 20, 3), dtype=torch.uint8)
    assert torch.allclose(last(frame), first(frame.permute(0, 3, 1, 2)), atol=1e-6)
    grey, flat = encoder(byte_box(16, 20, 1), seed=4), encoder(byte_box(16, 20), seed=4)
    assert torch.equal(grey(frame[..., :1]), flat(frame[..., 0]))


@torch.no_grad()
def test_every_pixel_of_a_frame_is_seen_also_where_the_patch_does_not_divide_it() -> None:
    encode = encoder(byte_box(9, 7, 1))
    frame = torch.zeros(1, 9, 7, 1, dtype=torch.uint8)
    nothing = encode(frame)
    for y in range(9):
        for x in range(7):
            one = frame.clone()
            one[0, y, x] = 255
            assert (encode(one) != nothing).any()


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (spaces.MultiBinary(4), "MultiBinary"),
        (spaces.Text(3), "Text"),
        (spaces.Dict({"a": spaces.Discrete(2), "word": spaces.Text(3)}), "word"),
        (spaces.Tuple([spaces.Discrete(2)]), "Tuple"),
    ],
)
def test_other_spaces_are_refused_with_the_wrapper_to_use(
    space: gymnasium.Space[Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        make_encoder(space, WIDTH)
    assert "gymnasium.wrappers.FlattenObservation" in str(refused.value)

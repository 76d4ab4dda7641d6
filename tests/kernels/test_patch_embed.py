"""Patch embedding of uint8 frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import ImplementationUnavailableError, patch_embed

Draw = Callable[..., Tensor]
Agree = Callable[..., None]


def frames(*shape: int) -> Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=source)


@pytest.mark.parametrize(
    ("height", "width", "channels", "patch"), [(8, 8, 3, 4), (6, 9, 1, 3), (5, 5, 4, 5)]
)
def test_it_is_a_convolution_whose_stride_is_its_size(
    height: int, width: int, channels: int, patch: int, draw: Draw, agree: Agree
) -> None:
    images = frames(3, height, width, channels)
    weight = draw(7, patch * patch * channels).requires_grad_()
    bias = draw(7).requires_grad_()
    mean, std = 0.4, 0.2
    out = patch_embed(images, weight, bias, patch=patch, mean=mean, std=std)
    normal = (images.double() / 255 - mean) / std
    kernel = weight.view(7, patch, patch, channels).permute(0, 3, 1, 2)
    expected = torch.nn.functional.conv2d(normal.permute(0, 3, 1, 2), kernel, bias, stride=patch)
    expected = expected.flatten(2).transpose(1, 2)
    agree(out, expected)
    grad_out = draw(*out.shape)
    ours = torch.autograd.grad(out, (weight, bias), grad_out)
    theirs = torch.autograd.grad(expected, (weight, bias), grad_out)
    for grad, right in zip(ours, theirs, strict=True):
        agree(grad, right)


def test_patches_run_row_by_row_and_pixels_within_them_too() -> None:
    image = torch.arange(16, dtype=torch.uint8).view(1, 4, 4, 1)
    out = patch_embed(image, torch.eye(4) * 255, patch=2)
    assert out[0].round().int().tolist() == [
        [0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15],
    ]  # fmt: skip


def test_each_channel_has_its_own_mean_and_spread(agree: Agree) -> None:
    image = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    out = patch_embed(
        image, torch.eye(3).double(), patch=1, mean=(0.0, 0.2, 0.5), std=(1.0, 1.0, 0.25)
    )
    agree(out[0, 0], torch.tensor([0.0, 0.0, 2.0]).double())


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("frames", {"frames": torch.zeros(1, 4, 4, 3)}),
        ("frames", {"frames": frames(4, 4, 3)}),
        ("patch", {"patch": 3}),
        ("patch", {"patch": 0}),
        ("weight", {"weight": torch.zeros(5, 11)}),
        ("weight", {"weight": torch.zeros(5, 12, dtype=torch.long)}),
        ("bias", {"bias": torch.zeros(4)}),
        ("mean", {"mean": (0.0, 0.0)}),
        ("std", {"std": 0.0}),
        ("implementation", {"implementation": "quick"}),
    ],
)
def test_bad_input_is_refused_by_the_name_of_the_argument(
    argument: str, changes: dict[str, Any]
) -> None:
    given = {"frames": frames(1, 4, 4, 3), "weight": torch.zeros(5, 12), "patch": 2, **changes}
    with pytest.raises(ValueError, match=f"^{argument}: "):
        patch_embed(**given)


def test_what_cannot_run_here_raises() -> None:
    with pytest.raises(ImplementationUnavailableError, match="patch_embed has no 'triton'"):
        patch_embed(frames(1, 4, 4, 3), torch.zeros(5, 12), patch=2, implementation="triton")

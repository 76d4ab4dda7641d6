"""Patch embedding of uint8 frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import Implementation, ImplementationUnavailableError, patch_embed
from adbench_kernels.patch_embedding import blocked

Draw = Callable[..., Tensor]
Agree = Callable[..., None]


def frames(*shape: int) -> Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=source)


@pytest.mark.parametrize("implementation", ["auto", "reference", "blocked"])
@pytest.mark.parametrize(
    ("height", "width", "channels", "patch"), [(8, 8, 3, 4), (6, 9, 1, 3), (5, 5, 4, 5)]
)
def test_it_is_a_convolution_whose_stride_is_its_size(
    implementation: Implementation,
    height: int,
    width: int,
    channels: int,
    patch: int,
    draw: Draw,
    agree: Agree,
) -> None:
    images = frames(3, height, width, channels)
    weight = draw(7, patch * patch * channels).requires_grad_()
    bias = draw(7).requires_grad_()
    mean, std = 0.4, 0.2
    out = patch_embed(
        images, weight, bias, patch=patch, mean=mean, std=std, implementation=implementation
    )
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


def both(images: Tensor, weight: Tensor, bias: Tensor | None, **options: Any) -> list[list[Tensor]]:
    """Embeddings and gradients by "blocked" and by the definition."""
    outcomes = []
    for implementation in ("blocked", "reference"):
        given = [x.detach().requires_grad_() for x in (weight, bias) if x is not None]
        out = patch_embed(images, *given, **options, implementation=implementation)
        grad_out = torch.arange(float(out.numel())).view(out.shape).sin().to(out.dtype)
        outcomes.append([out.detach(), *torch.autograd.grad(out, given, grad_out)])
    return outcomes


@pytest.mark.parametrize("pixels", [1, 100, 200, 10**6])
@pytest.mark.parametrize("biased", [True, False])
def test_a_few_frames_at_a_time_are_all_frames_at_once(
    pixels: int, biased: bool, draw: Draw, agree: Agree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocked, "_PIXELS_AT_ONCE", pixels)
    bias = draw(7) if biased else None
    options: dict[str, Any] = {"patch": 2, "mean": (0.1, 0.5, 0.9), "std": (1.0, 0.2, -0.5)}
    ours, exact = both(frames(5, 4, 8, 3), draw(7, 12), bias, **options)
    for actual, expected in zip(ours, exact, strict=True):
        agree(actual, expected)


def test_frames_need_not_lie_side_by_side(draw: Draw, agree: Agree) -> None:
    wide = frames(2, 3, 6, 8).permute(0, 2, 3, 1)  # channels first in memory
    ours, exact = both(wide[:, 1:5, ::2], draw(7, 12), draw(7), patch=2)
    for actual, expected in zip(ours, exact, strict=True):
        agree(actual, expected)


def test_half_precision_weights_have_float32_sums(draw: Draw, agree: Agree) -> None:
    weight, bias = draw(7, 48).bfloat16(), draw(7).bfloat16()
    images = frames(3, 8, 8, 3)
    options: dict[str, Any] = {"patch": 4, "mean": 0.5, "std": 0.25}
    out = patch_embed(images, weight, bias, **options, implementation="blocked")
    exact = patch_embed(images, weight.double(), bias.double(), **options)
    assert out.dtype is torch.bfloat16
    assert torch.equal(out, exact.bfloat16())  # rounded once, at the end


@pytest.mark.parametrize("implementation", ["auto", "reference", "blocked"])
def test_autocast_decides_the_result_s_dtype(implementation: Implementation, draw: Draw) -> None:
    weight = draw(7, 48, dtype=torch.float32).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = patch_embed(frames(2, 8, 8, 3), weight, patch=4, implementation=implementation)
    assert out.dtype is torch.bfloat16
    out.float().sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert weight.grad.dtype is torch.float32


@pytest.mark.parametrize("implementation", ["auto", "reference", "blocked"])
def test_no_frames_give_no_embeddings(implementation: Implementation, draw: Draw) -> None:
    weight, bias = draw(7, 48).requires_grad_(), draw(7).requires_grad_()
    out = patch_embed(frames(0, 8, 8, 3), weight, bias, patch=4, implementation=implementation)
    assert out.shape == (0, 4, 7)
    for grad in torch.autograd.grad(out.sum(), (weight, bias)):
        assert torch.equal(grad, torch.zeros_like(grad))


def test_bytes_are_all_that_is_kept_for_the_backward_pass(draw: Draw) -> None:
    images = frames(2, 8, 8, 3)
    kept: list[Tensor] = []
    weight = draw(7, 48).requires_grad_()

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        patch_embed(images, weight, patch=4, implementation="blocked")
    assert [x.data_ptr() for x in kept] == [images.data_ptr()]


@pytest.mark.parametrize("needs_gradients", [False, True])
def test_the_operator_keeps_torch_s_contract(needs_gradients: bool, draw: Draw) -> None:
    weight, bias = draw(5, 12).requires_grad_(needs_gradients), draw(5)
    arguments = (frames(2, 4, 6, 3), weight, bias, 2, [0.5] * 3, [0.25] * 3, torch.float64)
    torch.library.opcheck(torch.ops.adbench.patch_embed_blocked.default, arguments)


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
        ("frames", {"frames": [0]}),
        ("frames", {"frames": frames(1, 4, 4, 0), "weight": torch.zeros(5, 0)}),
        ("weight", {"weight": None}),
        ("weight", {"weight": torch.zeros(5, 12).to(torch.float8_e4m3fn)}),
        ("bias", {"bias": torch.zeros(5, dtype=torch.complex64)}),
        ("patch", {"patch": 2.0}),
        ("patch", {"patch": None}),
        ("mean", {"mean": None}),
        ("mean", {"mean": "dim"}),
        ("mean", {"mean": float("nan")}),
        ("mean", {"mean": [[0.0], [0.0], [0.0]]}),
        ("std", {"std": float("inf")}),
        ("std", {"std": (1.0, 0.0, 1.0)}),
        ("patch", {"patch": 3}),
        ("patch", {"patch": 0}),
        ("weight", {"weight": torch.zeros(5, 11)}),
        ("weight", {"weight": torch.zeros(5, 12, dtype=torch.long)}),
        ("bias", {"bias": torch.zeros(4)}),
        ("bias", {"bias": torch.zeros(5, dtype=torch.long)}),
        ("weight", {"weight": torch.zeros(5, 12, device="meta")}),
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


@pytest.mark.parametrize("implementation", ["auto", "reference", "blocked"])
@pytest.mark.parametrize("shape", [(2, 0, 8, 3, 5), (2, 8, 0, 3, 5), (2, 8, 8, 3, 0)])
def test_frames_without_pixels_and_no_width_give_what_is_left(
    implementation: Implementation, shape: tuple[int, ...]
) -> None:
    count, height, width, channels, embedding = shape
    weight = torch.ones(embedding, 16 * channels, requires_grad=True)
    images = frames(count, height, width, channels)
    out = patch_embed(images, weight, patch=4, implementation=implementation)
    assert out.shape == (count, height * width // 16, embedding)
    assert not torch.autograd.grad(out.sum(), weight)[0].any()


@pytest.mark.parametrize("implementation", ["auto", "reference", "blocked"])
def test_a_bias_may_have_another_type_than_the_weight(
    implementation: Implementation, draw: Draw
) -> None:
    weight, bias = draw(7, 48, dtype=torch.float32), draw(7).requires_grad_()
    out = patch_embed(frames(2, 8, 8, 3), weight, bias, patch=4, implementation=implementation)
    assert out.dtype is torch.float32
    assert torch.autograd.grad(out.sum(), bias)[0].dtype is torch.float64


@pytest.mark.parametrize("implementation", ["auto", "reference", "blocked"])
def test_autocast_leaves_float64_alone(implementation: Implementation, draw: Draw) -> None:
    images, weight = frames(2, 8, 8, 3), draw(7, 48)
    with torch.autocast("cpu", torch.bfloat16):
        out = patch_embed(images, weight, patch=4, implementation=implementation)
    assert torch.equal(out, patch_embed(images, weight, patch=4, implementation=implementation))


def test_means_may_be_numbers_of_numpy_and_of_torch() -> None:
    images, weight = frames(1, 4, 4, 3), torch.ones(5, 12)
    expected = patch_embed(images, weight, patch=2, mean=(0.5, 0.5, 0.5))
    half = torch.full((3,), 0.5)
    for mean in (half, half.numpy(), half[0], half.numpy()[0], half[0].numpy(), 0.5):
        assert torch.equal(patch_embed(images, weight, patch=2, mean=mean), expected)  # type: ignore[arg-type]


def test_it_works_on_meta() -> None:
    images, weight = frames(2, 8, 8, 3).to("meta"), torch.zeros(7, 48, device="meta")
    assert patch_embed(images, weight, patch=4).shape == (2, 4, 7)


def test_tangents_are_refused_where_they_would_be_dropped(draw: Draw) -> None:
    images, weight = frames(2, 8, 8, 3), draw(7, 48)
    with pytest.raises(RuntimeError, match="'blocked' has no derivative in forward mode"):
        torch.func.jvp(lambda w: patch_embed(images, w, patch=4), (weight,), (weight,))

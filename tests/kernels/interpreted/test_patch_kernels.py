"""The patch kernels equal the definition in float64: embeddings, and gradients of weight and bias.

N frames of Y x X pixels and C channels, P pixels a patch side, E embedding width.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import patch_embed
from adbench_kernels.configs import Tile, override
from kernel_checks.memory import guarded
from kernel_checks.pairwise import Case, label, pairwise
from kernel_checks.precision import assert_close

MEAN, STD = (0.5, 0.1, 0.9, 0.3), (0.25, 0.5, 0.2, 1.0)

CASES = pairwise(
    {
        "frames": (1, 3, 7),
        # Inner sizes 192, 432, 3, 75, 64, 100, 9: powers of two, and not; whole tiles, and not.
        "shape": (
            (16, 24, 3, 8), (24, 12, 3, 12), (4, 5, 3, 1), (10, 15, 3, 5), (8, 16, 1, 8),
            (10, 5, 4, 5), (3, 6, 1, 3),
        ),
        "embedding": (1, 16, 20, 65),
        "dtype": (torch.float32, torch.float16, torch.bfloat16),
        "normal": ("one for all", "one a channel", "none"),
        "bias": (True, False),
        "place": ("whole", "guarded", "cropped"),
        "tile": (Tile(64, 64, 4, 1, 64), Tile(16, 16, 4, 1, 16), Tile(32, 128, 4, 1, 32)),
    }
)  # fmt: skip


def frames(*shape: int) -> Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=source)


def numbers(*shape: int, dtype: torch.dtype, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def placed(images: Tensor, place: str) -> Tensor:
    """The same frames in memory of another kind."""
    if place == "guarded":
        return guarded(images)  # pixels lie apart, so the launcher copies
    if place == "cropped":  # read in place: lines lie apart, pixels side by side
        margin = torch.nn.functional.pad(images, (0, 0, 0, 3, 2, 1), value=255)
        return margin[:, 2:-1, :-3]
    return images


def both(
    images: Tensor, weight: Tensor, bias: Tensor | None, grad_out: Tensor, **options: Any
) -> tuple[list[Tensor], list[Tensor]]:
    """Embeddings, gradient of the weight and of the bias: by the kernels and in float64."""
    outcomes = []
    for exact in (False, True):
        given = [guarded(x) if not exact else x.double() for x in (weight, bias) if x is not None]
        given = [x.requires_grad_() for x in given]
        out = patch_embed(
            images, *given, **options, implementation="reference" if exact else "triton"
        )
        grads = torch.autograd.grad(out, given, grad_out.to(out.dtype))
        outcomes.append([out.detach(), *grads])
    return outcomes[0], outcomes[1]


@pytest.mark.parametrize("case", CASES, ids=label)
def test_embeddings_and_gradients_are_those_of_the_definition(case: Case) -> None:
    (height, width, channels, patch), dtype = case["shape"], case["dtype"]
    normals: dict[str, dict[str, Any]] = {
        "one for all": {"mean": 0.5, "std": 0.25},
        "one a channel": {"mean": MEAN[:channels], "std": STD[:channels]},
        "none": {},
    }
    images = placed(frames(case["frames"], height, width, channels), case["place"])
    inner, patches = patch * patch * channels, height // patch * (width // patch)
    weight = numbers(case["embedding"], inner, dtype=dtype, seed=1)
    bias = numbers(case["embedding"], dtype=dtype, seed=2) if case["bias"] else None
    grad_out = numbers(case["frames"], patches, case["embedding"], dtype=dtype, seed=3)
    with override("patch_forward", case["tile"]), override("patch_wgrad", case["tile"]):
        actual, exact = both(images, weight, bias, grad_out, patch=patch, **normals[case["normal"]])
    for name, ours, right in zip(("out", "dw", "db"), actual, exact, strict=False):
        assert_close(ours, right, name=name)


def test_frames_of_one_brightness_far_from_the_mean_are_exact_too() -> None:
    """What rounds the weight must not meet the brightness, only what differs from the mean."""
    images = torch.full((2, 8, 8, 3), 128, dtype=torch.uint8)
    weight = numbers(20, 192, dtype=torch.bfloat16, seed=1)
    grad_out = numbers(2, 1, 20, dtype=torch.bfloat16, seed=2)
    actual, exact = both(images, weight, None, grad_out, patch=8, mean=(0.5, 0.49, 0.51), std=0.2)
    for ours, right in zip(actual, exact, strict=True):
        assert_close(ours, right)


def test_splits_of_the_rows_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from adbench_kernels.patch_embedding import launch

    images, weight = frames(9, 16, 16, 3), numbers(16, 48, dtype=torch.float32, seed=1)
    grad_out = numbers(9, 16, 16, dtype=torch.float32, seed=2)
    gradients = []
    for programs, least in ((1, 1), (6, 1), (512, 1), (512, 4)):
        monkeypatch.setattr(launch, "_GRADIENT_PROGRAMS", programs)
        monkeypatch.setattr(launch, "_LEAST_BLOCKS_A_SPLIT", least)
        with override("patch_wgrad", Tile(16, 16, 4, 1, 16)):
            actual, exact = both(images, weight, None, grad_out, patch=4)
        assert_close(actual[1], exact[1])
        gradients.append(actual[1])
    assert not all(torch.equal(gradients[0], other) for other in gradients[1:])  # splits differed


def test_a_frame_is_the_same_beside_any_others() -> None:
    images, weight = frames(5, 8, 8, 3), numbers(20, 48, dtype=torch.float32, seed=1)

    def embedded(x: Tensor) -> Tensor:
        return patch_embed(x, weight, patch=4, implementation="triton")

    with override("patch_forward", Tile(16, 16, 4, 1, 16)):
        assert torch.equal(embedded(images)[3:4], embedded(images[3:4]))


def test_no_frames_give_no_embeddings_and_gradients_of_nought() -> None:
    weight = numbers(20, 48, dtype=torch.bfloat16, seed=1).requires_grad_()
    bias = numbers(20, dtype=torch.bfloat16, seed=2).requires_grad_()
    out = patch_embed(frames(0, 8, 8, 3), weight, bias, patch=4, implementation="triton")
    assert out.shape == (0, 4, 20)
    for grad in torch.autograd.grad(out.sum(), (weight, bias)):
        assert torch.equal(grad, torch.zeros_like(grad))


def test_only_bytes_are_kept_for_the_backward_pass() -> None:
    images = frames(2, 8, 8, 3)
    kept: list[Tensor] = []
    weight = numbers(20, 48, dtype=torch.float32, seed=1).requires_grad_()

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        patch_embed(images, weight, patch=4, implementation="triton")
    assert [x.data_ptr() for x in kept] == [images.data_ptr()]


def test_autocast_decides_the_result_s_dtype_and_not_the_gradient_s() -> None:
    images = frames(2, 8, 8, 3)
    weight = numbers(20, 48, dtype=torch.float32, seed=1).requires_grad_()
    bias = numbers(20, dtype=torch.float32, seed=2).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = patch_embed(images, weight, bias, patch=4, implementation="triton")
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()  # type: ignore[no-untyped-call]
    exact = patch_embed(images, weight.double(), bias.double(), patch=4, implementation="reference")
    assert_close(out.detach(), exact.detach())
    for x in (weight, bias):
        assert x.grad is not None
        assert x.grad.dtype == torch.float32


def test_gradients_of_any_layout_are_taken() -> None:
    images = frames(3, 8, 8, 3)
    weight = numbers(20, 48, dtype=torch.float32, seed=1)
    grad_out = numbers(3, 4, 20, dtype=torch.float32, seed=2)
    across = grad_out.transpose(1, 2).contiguous().transpose(1, 2)
    spread = torch.ones(1, 1, 1).expand(3, 4, 20)
    for grad in (guarded(grad_out), across, spread):
        actual, exact = both(images, weight, None, grad, patch=4)
        assert_close(actual[1], exact[1])


def test_a_weight_that_lies_across_is_taken() -> None:
    images = frames(2, 4, 4, 3)
    weight = numbers(12, 16, dtype=torch.float32, seed=1).t()
    out = patch_embed(images, weight, patch=2, implementation="triton")
    assert_close(out, patch_embed(images, weight.double(), patch=2, implementation="reference"))


@pytest.mark.parametrize("needs_gradients", [False, True])
def test_the_operator_keeps_torch_s_contract(needs_gradients: bool) -> None:
    weight = numbers(5, 12, dtype=torch.float32, seed=1).requires_grad_(needs_gradients)
    bias = numbers(5, dtype=torch.float32, seed=2).requires_grad_(needs_gradients)
    arguments = (frames(2, 4, 6, 3), weight, bias, 2, [0.5] * 3, [0.25] * 3, torch.float32)
    torch.library.opcheck(torch.ops.adbench.patch_embed_triton.default, arguments)


@pytest.mark.parametrize("dynamic", [False, True])
def test_it_is_one_graph_for_torch_compile(dynamic: bool) -> None:
    def loss(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out = patch_embed(
            images, weight, bias, patch=2, mean=0.5, std=0.25, implementation="triton"
        )
        return out.square().sum()

    graph = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for count in (3, 4):
        weight = numbers(5, 12, dtype=torch.float32, seed=1).requires_grad_()
        bias = numbers(5, dtype=torch.float32, seed=2).requires_grad_()
        images = frames(count, 4, 6, 3)
        values = graph(images, weight, bias), loss(images, weight, bias)
        ours, eager = (torch.autograd.grad(value, (weight, bias)) for value in values)
        assert torch.equal(values[0], values[1])
        assert all(torch.equal(a, b) for a, b in zip(ours, eager, strict=True))


def test_float64_weights_are_refused_by_name() -> None:
    weight = numbers(5, 12, dtype=torch.float64, seed=1)
    with pytest.raises(ValueError, match=r"^implementation: 'triton' takes .*float64"):
        patch_embed(frames(1, 4, 4, 3), weight, patch=2, implementation="triton")

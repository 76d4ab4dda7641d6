"""Patch embedding as compiled for the GPU: exact enough, the same every time, past 2^31 bytes.

N frames of Y x X pixels and C channels, P pixels a patch side, E embedding width.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adbench_kernels import patch_embed
from kernel_checks.precision import assert_close, relative_error

MEAN, STD = 0.5, 0.25
TWICE = 2.0
"""An error may be that of the same mathematics in plain 16-bit torch, twice."""


def frames(count: int, height: int, width: int, channels: int) -> Tensor:
    source = torch.Generator("cuda").manual_seed(0)
    shape = (count, height, width, channels)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=source, device="cuda")


def numbers(*shape: int, dtype: torch.dtype, seed: int) -> Tensor:
    source = torch.Generator("cuda").manual_seed(seed)
    return torch.randn(*shape, generator=source, device="cuda").to(dtype)


def run(
    implementation: str, images: Tensor, weight: Tensor, bias: Tensor, grad_out: Tensor, patch: int
) -> tuple[Tensor, ...]:
    given = [x.detach().requires_grad_() for x in (weight, bias)]
    out = patch_embed(
        images, *given, patch=patch, mean=MEAN, std=STD,
        implementation=implementation,  # type: ignore[arg-type]
    )  # fmt: skip
    return out.detach(), *torch.autograd.grad(out, given, grad_out.to(out.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("shape", "patch"), [((64, 64, 3), 8), ((72, 96, 3), 8), ((84, 84, 4), 12), ((10, 15, 1), 5)]
)
@pytest.mark.parametrize(("count", "embedding"), [(37, 256), (5, 20), (1, 1)])
def test_embeddings_and_gradients_are_those_of_the_definition(
    shape: tuple[int, int, int], patch: int, count: int, embedding: int, dtype: torch.dtype
) -> None:
    images = frames(count, *shape)
    weight = numbers(embedding, patch * patch * shape[2], dtype=dtype, seed=1)
    bias = numbers(embedding, dtype=dtype, seed=2)
    patches = shape[0] // patch * (shape[1] // patch)
    grad_out = numbers(count, patches, embedding, dtype=dtype, seed=3)
    ours = run("triton", images, weight, bias, grad_out, patch)
    exact = run("reference", images, weight.double(), bias.double(), grad_out, patch)
    plain = run("reference", images, weight, bias, grad_out, patch)
    for name, actual, right, other in zip(("out", "dw", "db"), ours, exact, plain, strict=True):
        assert_close(actual, right, name=name)
        if dtype is not torch.float32:
            assert relative_error(actual, right) <= TWICE * relative_error(other, right), name


def test_a_hundred_runs_give_the_same_bits() -> None:
    images, weight = frames(500, 64, 64, 3), numbers(64, 192, dtype=torch.bfloat16, seed=1)
    bias = numbers(64, dtype=torch.bfloat16, seed=2)
    grad_out = numbers(500, 64, 64, dtype=torch.bfloat16, seed=3)
    first = run("triton", images, weight, bias, grad_out, 8)
    for _ in range(99):
        again = run("triton", images, weight, bias, grad_out, 8)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_frames_past_two_gigabytes_are_found() -> None:
    count = 2**31 // (64 * 64 * 3) + 1000
    images, weight = frames(count, 64, 64, 3), numbers(16, 192, dtype=torch.bfloat16, seed=1)
    bias = numbers(16, dtype=torch.bfloat16, seed=2)
    last = slice(count - 3, count)
    grad_out = torch.zeros(count, 64, 16, dtype=torch.bfloat16, device="cuda")
    grad_out[last] = numbers(3, 64, 16, dtype=torch.bfloat16, seed=3)
    out, *grads = run("triton", images, weight, bias, grad_out, 8)
    alone, *exact = run(
        "reference", images[last], weight.double(), bias.double(), grad_out[last], 8
    )
    assert_close(out[last], alone)
    for actual, right in zip(grads, exact, strict=True):
        assert_close(actual, right)


def test_it_is_captured_in_a_graph_and_played_again() -> None:
    images, weight = frames(40, 64, 64, 3), numbers(64, 192, dtype=torch.bfloat16, seed=1)

    def embedded() -> Tensor:
        return patch_embed(images, weight, patch=8, mean=MEAN, std=STD, implementation="triton")

    embedded()  # compiled, and the table of means copied, before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = embedded()
    images.copy_(frames(40, 64, 64, 3).flip(0))
    graph.replay()
    assert torch.equal(out, embedded())


def test_auto_serves_a_gpu_also_under_autocast_and_compiled() -> None:
    images = frames(40, 64, 64, 3)
    weight = numbers(64, 192, dtype=torch.float32, seed=1).requires_grad_()

    def embedded() -> Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            return patch_embed(images, weight, patch=8, mean=MEAN, std=STD)

    out, compiled = embedded(), torch.compile(embedded, fullgraph=True)()
    assert out.dtype is torch.bfloat16
    assert torch.equal(out, compiled)
    out.float().sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert weight.grad.dtype is torch.float32

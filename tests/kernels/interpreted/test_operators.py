"""The Triton paths are good citizens of torch: opcheck, torch.compile, autocast, fake tensors.

The CPU runs the kernels themselves here, through Triton's interpreter.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from adbench_kernels import attention
from kernel_checks.operators import (
    ARGUMENTS,
    DIFFERENTIABLE,
    losses,
    operator,
    register_all,
    value_and_gradient,
)

register_all()

TRITON = tuple(name for name in ARGUMENTS if "triton" in name)
LOSSES = losses("triton")

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("c++", "g++", "clang++")),
    reason="inductor compiles C++ on the CPU, and there is no compiler here",
)

AUTOCAST_ERROR = 3e-2
"""A projection, attention and another sum in bfloat16: a few of its roundings of 2^-8."""


@pytest.fixture(autouse=True)
def _forget_graphs() -> Iterator[None]:
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("name", TRITON)
def test_an_operator_obeys_torch_library_rules(name: str) -> None:
    torch.library.opcheck(operator(name), ARGUMENTS[name](False))


@pytest.mark.parametrize("name", [name for name in TRITON if name in DIFFERENTIABLE])
def test_a_differentiable_operator_obeys_them_with_gradients(name: str) -> None:
    torch.library.opcheck(operator(name), ARGUMENTS[name](True))


@pytest.mark.parametrize("name", TRITON)
def test_fake_tensors_have_the_shapes_that_real_ones_get(name: str) -> None:
    arguments = ARGUMENTS[name](False)
    real = operator(name)(*arguments)
    with FakeTensorMode() as mode:
        fake = operator(name)(
            *(mode.from_tensor(x) if isinstance(x, torch.Tensor) else x for x in arguments)
        )
    for one, other in zip(_tensors(real), _tensors(fake), strict=True):
        assert (one.shape, one.dtype, one.stride()) == (other.shape, other.dtype, other.stride())


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=needs_compiler)])
@pytest.mark.parametrize("name", LOSSES)
def test_compiling_gives_one_graph_and_the_same_numbers(
    name: str, backend: str, dynamic: bool
) -> None:
    loss, inputs = LOSSES[name]
    compiled = torch.compile(loss, backend=backend, fullgraph=True, dynamic=dynamic)
    for size in (9, 13) if dynamic else (9,):
        given = inputs(size)
        expected = value_and_gradient(loss, given)
        for one, other in zip(value_and_gradient(compiled, given), expected, strict=True):
            # inductor sums the sines in another order
            assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_model_under_autocast_trains_through_the_kernel() -> None:
    torch.manual_seed(0)
    project = torch.nn.Linear(32, 96)
    x = torch.randn(2, 33, 32)

    def gradient(implementation: str, *, autocast: bool) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            q, k, v = project(x).view(2, 33, 6, 16).chunk(3, 2)
            assert q.dtype == (torch.bfloat16 if autocast else torch.float32)
            out = attention(q, k, v, implementation=implementation)  # type: ignore[call-overload]
            assert out.dtype == q.dtype
        (grad,) = torch.autograd.grad(out.float().square().sum(), project.weight)
        return grad

    exact, actual = gradient("reference", autocast=False), gradient("triton", autocast=True)
    assert actual.dtype == torch.float32
    assert (actual - exact).norm() <= AUTOCAST_ERROR * exact.norm()


def _tensors(outcome: object) -> list[torch.Tensor]:
    if isinstance(outcome, torch.Tensor):
        return [outcome]
    return [x for x in outcome if isinstance(x, torch.Tensor)] if outcome is not None else []  # type: ignore[attr-defined]

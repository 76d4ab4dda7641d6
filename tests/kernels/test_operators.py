"""What holds of our torch operators without Triton; with it: `interpreted/test_operators.py`."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from kernel_checks.operators import (
    ARGUMENTS,
    DIFFERENTIABLE,
    operator,
    register_all,
    registered,
)

WITHOUT_TRITON = tuple(name for name in ARGUMENTS if "triton" not in name)

ABSENT = """
import sys, warnings
import torch
sys.modules["triton"] = None  # an import of it fails from here on
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    import adbench_kernels as kernels
    x = torch.zeros(1, 3, 2, 16)
    kernels.attention(x, x, x)
    kernels.attention(x, x, x, implementation="reference")
    turns = kernels.rotary_turns(torch.arange(3), 16, torch.float32)
    kernels.rotary_attention(torch.zeros(1, 3, 6, 16), turns)
    kernels.patch_embed(torch.zeros(1, 4, 4, 3, dtype=torch.uint8), torch.zeros(5, 48), patch=4)
    cache = kernels.RingCache(1, 4, 2, 16)
    moved = kernels.ring_append(cache, x[:, :1], x[:, :1])
    kernels.ring_attention(x[:, :1], cache, window=4, step=moved)
assert not said, [str(one.message) for one in said]
assert not torch.cuda.is_initialized()
for ask in (
    lambda: kernels.attention(x, x, x, implementation="triton"),
    lambda: kernels.patch_embed(
        torch.zeros(1, 4, 4, 3, dtype=torch.uint8), torch.zeros(5, 48), patch=4,
        implementation="triton",
    ),
):
    try:
        ask()
    except kernels.ImplementationUnavailableError as error:
        print(error)
    else:
        raise SystemExit("triton ran, or something else in its name")
"""


def test_every_operator_is_checked() -> None:
    register_all()
    assert registered() == set(ARGUMENTS)


def test_every_differentiable_operator_has_a_backward_that_is_checked_too() -> None:
    own = {name for name in ARGUMENTS if name.removesuffix("_backward") in DIFFERENTIABLE}
    assert own - DIFFERENTIABLE == {f"{name}_backward" for name in DIFFERENTIABLE} - {
        "turn_triton_backward"  # turning is its own inverse
    }


@pytest.mark.parametrize("name", WITHOUT_TRITON)
def test_an_operator_obeys_torch_library_rules(name: str) -> None:
    torch.library.opcheck(operator(name), ARGUMENTS[name](False))


@pytest.mark.parametrize("name", [name for name in WITHOUT_TRITON if name in DIFFERENTIABLE])
def test_a_differentiable_operator_obeys_them_with_gradients(name: str) -> None:
    torch.library.opcheck(operator(name), ARGUMENTS[name](True))


def test_without_triton_everything_is_served_in_silence_and_triton_is_refused_by_name() -> None:
    done = subprocess.run([sys.executable, "-c", ABSENT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'triton'") >= 2

"""What the machine gives at the most: a matrix product and a copy, through torch.

    pytest benchmarks/bench_ceilings.py

`adbench perf report` holds every benchmark of the same session against the best of these, with as
many threads and in the same precision: float32 on a CPU, bfloat16 on a GPU. Copies are larger than
caches are.
"""

from __future__ import annotations

import pytest
import torch

from adbench.perf.ceilings import COPY, MATMUL
from adbench.perf.panels import CEILINGS
from benchmarks.meter import Meter, scales

ERROR = {"float32": 1e-5, "bfloat16": 2.0**-8}
"""Of a product, as a share of its norm: a hundred roundings of 2^-24; one of the outcome to 8 bits,
of sums that are float32."""

pytestmark = pytest.mark.benchmark(group=CEILINGS)


def time_matmul(meter: Meter, size: int) -> None:
    precision = "bfloat16" if meter.device == "cuda" else "float32"
    meter.about(MATMUL, "torch", ours=False, precision=precision, matrix=size)
    source = torch.Generator().manual_seed(0)
    dtype = getattr(torch, precision)
    a, b = (torch.randn(size, size, generator=source).to(meter.device, dtype) for _ in range(2))
    out = torch.empty_like(a)

    def multiply() -> None:
        torch.mm(a, b, out=out)

    def check() -> None:
        multiply()
        right = a[:8].double() @ b.double()
        error = (out[:8].double() - right).norm() / right.norm()
        assert error < ERROR[precision], f"the product is off by {float(error):.2g}: not timed"

    meter.time(
        multiply,
        check=check,
        products=1,
        flops=2.0 * size**3,
        moved_bytes=3.0 * a.numel() * a.element_size(),
    )


def time_copy(meter: Meter, mib: int) -> None:
    meter.about(COPY, "torch", ours=False, copy=mib)
    meter.needs(2.0 * mib * 2**20)
    source = torch.arange(mib * 2**18, dtype=torch.int32, device=meter.device)
    target = torch.zeros_like(source)

    def copy() -> None:
        target.copy_(source)

    def check() -> None:
        copy()
        assert torch.equal(source, target), "the copy differs: not timed"

    meter.time(copy, check=check, arrays=1, moved_bytes=2.0 * mib * 2**20)


@scales("size", 512, 1024, 2048, full=(4096,), gpu=(4096, 8192, 16_384))
def test_matmul(meter: Meter, size: int) -> None:
    time_matmul(meter, size)


@scales("mib", 64, 256, 512, full=(1024,), gpu=(256, 1024, 4096))
def test_copy(meter: Meter, mib: int) -> None:
    time_copy(meter, mib)


@pytest.mark.only("cpu")
@scales("size", 512, 1024)
def test_matmul_on_one_thread(meter: Meter, one_thread: None, size: int) -> None:
    time_matmul(meter, size)


@pytest.mark.only("cpu")
@scales("mib", 64, 256)
def test_copy_on_one_thread(meter: Meter, one_thread: None, mib: int) -> None:
    time_copy(meter, mib)

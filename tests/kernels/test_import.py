"""`import adbench_kernels` needs torch alone."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
for name in ("numba", "triton", "gymnasium", "h5py", "matplotlib", "pydantic", "adbench"):
    sys.modules[name] = None  # an import of it fails from here on
import torch
compiler = "torch._dynamo" in sys.modules  # which takes longer to import than all the rest
import adbench_kernels
assert ("torch._dynamo" in sys.modules) == compiler
q = torch.zeros(1, 3, 2, 16)
print(adbench_kernels.attention(q, q, q).shape, *adbench_kernels.__all__)
"""


def test_it_imports_and_attends_with_torch_alone() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shape, names = done.stdout.split("]) ")
    assert shape == "torch.Size([1, 3, 2, 16"
    promised = "attention attention_backward Intervals RingCache ring_append ring_attention"
    assert {*promised.split(), "patch_embed"} <= set(names.split())

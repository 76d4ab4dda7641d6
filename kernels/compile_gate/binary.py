"""What a compiled kernel costs, read from its machine code with the tools of Triton's wheel."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import triton

_TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"
# One machine instruction: its address, perhaps a predicate, its name, its operands.
_INSTRUCTION = re.compile(
    r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+\s+)?([A-Z][\w.]*)[^;]*;", re.MULTILINE
)
_USAGE = re.compile(r"REG:(\d+) STACK:(\d+)")
_COUNTED = {
    "wgmma": re.compile(r"HGMMA\b"),
    "mma_sync": re.compile(r"HMMA\b"),
    "tcgen05": re.compile(r"UTC\w*MMA\b"),
    "spill_loads": re.compile(r"LDL\b"),
    "spill_stores": re.compile(r"STL\b"),
}


class Facts(NamedTuple):
    """Of one kernel.

    Attributes:
        registers: a thread.
        instructions: in the code, not executed; padding left out.
        shared_bytes: a block.
        warps: a block.
        stack_bytes: local memory a thread.
        spill_loads: instructions that read local memory.
        spill_stores: instructions that write it.
        wgmma: matrix instructions of sm_90.
        mma_sync: matrix instructions of sm_80, slow on later chips.
        tcgen05: matrix instructions of sm_100.
    """

    registers: int
    instructions: int
    shared_bytes: int
    warps: int
    stack_bytes: int = 0
    spill_loads: int = 0
    spill_stores: int = 0
    wgmma: int = 0
    mma_sync: int = 0
    tcgen05: int = 0


def read(binary: Any) -> Facts:
    """The facts of one of Triton's compiled kernels, for an NVIDIA or AMD target."""
    shared, warps = int(binary.metadata.shared), int(binary.metadata.num_warps)
    if "cubin" not in binary.asm:
        return _amd(binary.asm["amdgcn"], shared, warps)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.asm["cubin"])
        file.flush()
        usage, listing = (_cuobjdump(option, file.name) for option in ("-res-usage", "-sass"))
    found = _USAGE.search(usage)
    if found is None:
        raise ValueError(f"cuobjdump -res-usage: no registers in {usage!r}")
    return Facts(
        registers=int(found[1]),
        shared_bytes=shared,
        warps=warps,
        stack_bytes=int(found[2]),
        **count(listing),
    )


def count(listing: str) -> dict[str, int]:
    """How many instructions there are in a listing of `cuobjdump -sass`, and of which kinds."""
    names = [name for name in _INSTRUCTION.findall(listing) if name != "NOP"]
    kinds = {kind: sum(bool(p.match(n)) for n in names) for kind, p in _COUNTED.items()}
    return {"instructions": len(names), **kinds}


def _cuobjdump(option: str, path: str) -> str:
    command = [str(_TOOLS / "cuobjdump"), option, path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _amd(listing: str, shared: int, warps: int) -> Facts:
    def number(pattern: str) -> int:
        found = re.search(pattern, listing)
        return int(found[1]) if found else 0

    return Facts(
        registers=number(r"\.vgpr_count:\s+(\d+)"),
        instructions=len(
            re.findall(r"^\t(?:v|s|ds|buffer|global|flat)_\w+", listing, re.MULTILINE)
        ),
        shared_bytes=shared,
        warps=warps,
        stack_bytes=number(r"ScratchSize: (\d+)"),
        spill_loads=number(r"\.vgpr_spill_count:\s+(\d+)"),
    )

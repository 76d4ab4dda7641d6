"""What a compiled kernel costs, read from its machine code with the tools of Triton's wheel."""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import triton

_TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"
_USAGE = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)")
_INSTRUCTION_BYTES = 16  # of every NVIDIA GPU since Volta
_MATRIX = {  # in PTX, which the assembler translates one to one
    "wgmma": re.compile(r"\bwgmma\.mma_async"),
    "mma_sync": re.compile(r"\bmma\.sync"),
    "tcgen05": re.compile(r"\btcgen05\.mma"),
}
_SPILLS = {"spill_loads": re.compile(r"\bLDL\b"), "spill_stores": re.compile(r"\bSTL\b")}


class Facts(NamedTuple):
    """Of one kernel.

    Attributes:
        registers: a thread.
        instructions: in the code, not executed; padding included, of at most 8.
        shared_bytes: a block.
        warps: a block.
        stack_bytes: local memory a thread; where there is none, nothing can have been spilled.
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
    code: bytes = binary.asm["cubin"]
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        usage = _run("cuobjdump", "-res-usage", file.name)
        found = _USAGE.search(usage)
        if found is None:
            raise ValueError(f"cuobjdump -res-usage: no registers in {usage!r}")
        registers, stack, local = (int(number) for number in found.groups())
        # Half a second a kernel, and only worth it where there is something to find.
        listing = _run("nvdisasm", "-c", file.name) if stack or local else ""
    return Facts(
        registers=registers,
        instructions=code_bytes(code) // _INSTRUCTION_BYTES,
        shared_bytes=shared,
        warps=warps,
        stack_bytes=stack + local,
        **{kind: len(p.findall(listing)) for kind, p in _SPILLS.items()},
        **{kind: len(p.findall(binary.asm["ptx"])) for kind, p in _MATRIX.items()},
    )


def code_bytes(elf: bytes) -> int:
    """Size of the code in a 64-bit ELF file: of the sections named `.text` and what follows."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    entry, number, names_index = struct.unpack_from("<HHH", elf, 0x3A)
    # Of a section: name, type, flags, address, offset, size.
    sections = [struct.unpack_from("<IIQQQQ", elf, table + i * entry) for i in range(number)]
    names = sections[names_index][4]
    return sum(section[5] for section in sections if elf[names + section[0] :].startswith(b".text"))


def _run(tool: str, *arguments: str) -> str:
    command = [str(_TOOLS / tool), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _amd(listing: str, shared: int, warps: int) -> Facts:
    def number(pattern: str) -> int:
        found = re.search(pattern, listing)
        return int(found[1]) if found else 0

    return Facts(
        registers=number(r"\.vgpr_count:\s+(\d+)"),
        instructions=len(re.findall(r"^\t(?:v|s|ds|buffer|global|flat)_\w+", listing, re.M)),
        shared_bytes=shared,
        warps=warps,
        stack_bytes=number(r"ScratchSize: (\d+)"),
        spill_loads=number(r"\.vgpr_spill_count:\s+(\d+)"),
    )

"""What a compiled kernel must be, and how a failure is said."""

from __future__ import annotations

import math

from compile_gate.binary import Facts
from compile_gate.targets import Target

ALLOWED_GROWTH = 0.10
"""Registers or instructions over the golden number: less is noise of no cost, more is a finding."""


def problems(
    facts: Facts, target: Target, *, matrix: str | None, golden: Facts | None
) -> list[str]:
    """What is wrong with one kernel on one target: for each, what is there, and the limit.

    Args:
        facts: of the compiled kernel.
        target: what it was compiled for.
        matrix: "fast": it must use the chip's fast matrix instructions, and on no account
            mma.sync where there are better ones; "any": some; none: not checked.
        golden: the committed facts; none: not compared.
    """
    found = []
    if target.shared_bytes is not None and facts.shared_bytes > target.shared_bytes:
        found.append(
            f"shared memory: {facts.shared_bytes} bytes a block; {target.name} has "
            f"{target.shared_bytes}: fewer stages, or a smaller tile"
        )
    if target.matrix is None:  # that it compiles and fits is all that is asked there
        return found
    if facts.stack_bytes or facts.spill_loads or facts.spill_stores:
        found.append(
            f"spills: {facts.stack_bytes} bytes of stack a thread, {facts.spill_loads} loads, "
            f"{facts.spill_stores} stores; none are allowed: more warps, or a smaller tile"
        )
    instructions = {kind: getattr(facts, kind) for kind in ("wgmma", "mma_sync", "tcgen05")}
    said = ", ".join(f"{count} {kind}" for kind, count in instructions.items())
    if matrix == "fast" and not instructions[target.matrix]:
        found.append(f"matrix instructions: no {target.matrix} on {target.name} ({said})")
    elif matrix == "fast" and target.matrix != "mma_sync" and facts.mma_sync:
        found.append(
            f"matrix instructions: some fell back to mma.sync on {target.name} ({said}): "
            "rows of 64 or more are needed"
        )
    elif matrix == "any" and not any(instructions.values()):
        found.append(f"matrix instructions: none on {target.name}")
    if golden is not None:
        for field in ("registers", "instructions"):
            now, before = getattr(facts, field), getattr(golden, field)
            limit = math.floor(before * (1 + ALLOWED_GROWTH))
            if now > limit:
                found.append(f"{field}: {now}; golden {before}, limit {limit}")
    return found

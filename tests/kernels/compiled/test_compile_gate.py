"""Every shipped kernel, compiled for every GPU that we name, keeps the rules of `compile_gate`."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
import torch
import triton

from adbench_kernels.choice import assume_arch
from adbench_kernels.configs import Tile, override
from compile_gate import binary, golden, rules
from compile_gate.capture import capture
from compile_gate.cases import Job, jobs
from compile_gate.gate import check
from compile_gate.targets import TARGETS

WORK = [(target, job) for target in TARGETS for job in jobs(target)]

needs_golden = pytest.mark.skipif(
    golden.load(triton.__version__) is None,
    reason=f"Triton {triton.__version__} has no golden file: make test-kernels uses those that do",
)


def name(value: object) -> str:
    return value.name if isinstance(value, Job) else str(value)


def job(target: str, case: str) -> Job:
    (found,) = (job for job in jobs(target) if job.name.startswith(case))
    return found


@needs_golden
@pytest.mark.parametrize(("target", "job"), WORK, ids=name)
def test_a_kernel_compiles_without_spills_to_the_instructions_it_should(
    target: str, job: Job
) -> None:
    problems = [verdict for verdict in check(job, TARGETS[target]) if verdict.problems]
    assert not problems, "\n".join(str(verdict) for verdict in problems)


@needs_golden
def test_the_golden_file_speaks_of_the_cases_there_are_and_no_others() -> None:
    committed = golden.load(triton.__version__)
    assert committed is not None
    for target, rows in committed.items():
        assert {key.split("/")[0] for key in rows} == {job.name for job in jobs(target)}


def problems_of(target: str, case: str) -> str:
    """What the gate says of one case, golden file apart."""
    verdicts = check(job(target, case), TARGETS[target], compare=False)
    return "\n".join(str(verdict) for verdict in verdicts if verdict.problems)


FORWARD, BACKWARD = "attention_forward-d128-16k", "attention_backward-d32-16k"


def test_a_tile_with_too_few_warps_is_caught_as_spilling() -> None:
    with override("attention_forward", Tile(128, 128, num_warps=4, num_stages=2)):
        said = problems_of("sm_80", FORWARD)
    assert f"sm_80 {FORWARD}/attention_forward (Triton {triton.__version__}): spills: " in said
    assert "none are allowed: more warps, or a smaller tile" in said


def test_a_tile_with_too_many_stages_is_caught_as_too_large() -> None:
    with override("attention_forward", Tile(128, 128, num_warps=8, num_stages=8)):
        assert "shared memory" in problems_of("sm_90", FORWARD)


def test_a_tile_with_too_few_rows_is_caught_as_falling_back() -> None:
    with override("attention_dq", Tile(32, 64, num_warps=4, num_stages=1)):
        assert "wgmma" in problems_of("sm_90", BACKWARD)


def test_a_kernel_that_does_not_compile_is_a_finding() -> None:
    with override("attention_forward", Tile(24, 64, num_warps=4, num_stages=1)):
        assert "does not compile" in problems_of("sm_90", FORWARD)


FACTS = binary.Facts(registers=100, instructions=1000, shared_bytes=4096, warps=4, mma_sync=8)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"registers": 111}, "registers: 111; golden 100, limit 110"),
        ({"instructions": 1101}, "instructions: 1101; golden 1000, limit 1100"),
        ({"spill_loads": 1}, "spills: 0 bytes of stack a thread, 1 loads, 0 stores"),
        ({"stack_bytes": 8}, "spills: 8 bytes"),
        ({"shared_bytes": 200_000}, "shared memory: 200000 bytes a block; sm_80 has 166912"),
        ({"mma_sync": 0}, "no mma_sync on sm_80 (0 wgmma, 0 mma_sync, 0 tcgen05)"),
    ],
)
def test_what_is_wrong_is_said_with_its_golden_number_and_limit(
    changed: dict[str, int], said: str
) -> None:
    sm_80 = TARGETS["sm_80"]
    assert rules.problems(FACTS, sm_80, matrix="fast", golden=FACTS) == []
    (problem,) = rules.problems(FACTS._replace(**changed), sm_80, matrix="fast", golden=FACTS)
    assert said in problem


def test_fewer_registers_than_the_golden_file_says_are_welcome() -> None:
    fewer = FACTS._replace(registers=50, instructions=500)
    assert rules.problems(fewer, TARGETS["sm_80"], matrix="fast", golden=FACTS) == []


def test_what_is_read_is_what_the_disassembler_lists() -> None:
    with assume_arch("sm_90"), capture(TARGETS["sm_90"]) as compiled:
        job("sm_90", "rotate-d32").case.launch(2048)
    (one,) = compiled
    facts = binary.read(one.binary)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(one.binary.asm["cubin"])
        listing = binary._run("nvdisasm", "-c", file.name)
    assert facts.instructions == len(re.findall(r"^\s+/\*[0-9a-f]{4,}\*/", listing, re.M))
    assert facts.spill_loads == facts.spill_stores == facts.stack_bytes == 0
    assert "LDL" not in listing and "STL" not in listing
    assert 0 < facts.registers <= 255


def test_nothing_of_the_gate_stays_behind() -> None:
    driver = triton.runtime.driver._active
    check(job("sm_90", "ring-d16"), TARGETS["sm_90"], compare=False)
    assert triton.runtime.driver._active is driver
    with pytest.raises((RuntimeError, ValueError)):  # a launch needs a device again
        _copy[(1,)](torch.ones(1), torch.empty(1))


@triton.jit
def _copy(p_x, p_y):  # type: ignore[no-untyped-def]
    triton.language.store(p_y, triton.language.load(p_x))

"""Which implementation "auto" takes: measurements first, then a rule that says it is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import choice
from adbench_kernels.choice import Choice, arch, assume_arch, fastest, parse
from adbench_kernels.errors import ImplementationUnavailableError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def ask(mask: str = "causal", **changed: Any) -> Choice:
    request: dict[str, Any] = {
        "device": GPU, "head_dim": 64, "length": 1024, "available": ("sdpa", "triton", "reference"),
    }  # fmt: skip
    with assume_arch("sm_90"):
        return fastest("attention", mask=mask, **{**request, **changed})


def row(**changed: Any) -> dict[str, Any]:
    filled = {
        "op": "attention", "arch": "sm_90", "head_dim": 64, "length": "<=2k", "mask": "causal",
        "median_ms": {"sdpa-flash": 2.0, "triton": 1.5, "sdpa-cudnn": 1.0},
    }  # fmt: skip
    return {**filled, **changed}


def test_without_measurements_a_rule_decides_and_says_so() -> None:
    assert ask("causal").name == "sdpa"
    for mask in ("window", "interval", "strided"):
        assert ask(mask).name == "triton"
        assert "not measured on sm_90" in ask(mask).reason
    assert ask("window", available=("sdpa", "blocked")).name == "sdpa"
    assert fastest("attention", device=CPU, head_dim=64, length=9, mask="window",
                   available=("sdpa", "blocked")).name == "blocked"  # fmt: skip


def test_what_no_kernel_serves_alone_is_put_together_and_says_so() -> None:
    def takes(device: torch.device, *fused: str) -> Choice:
        return fastest("rotary_attention", device=device, head_dim=32, length=64, mask="causal",
                       available=(*fused, "sdpa-flash", "attention"))  # fmt: skip

    assert takes(CPU, "numba").name == "numba"
    with assume_arch("sm_90"):
        assert takes(GPU, "triton").name == "triton"
        for device in (CPU, GPU):
            assert takes(device) == ("attention", choice._COMPOSED)


def test_the_fastest_that_can_serve_the_request_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    table = parse({"schema": 1, "rows": [row()]})
    monkeypatch.setattr(choice, "_MEASURED", table)
    assert ask(available=("triton", "sdpa-cudnn")).name == "sdpa-cudnn"
    assert ask(available=("triton", "reference")).name == "triton"
    assert "sdpa-cudnn 1 ms, triton 1.5 ms" in ask(available=("triton",)).reason
    # What was measured elsewhere says nothing here.
    for other in ({"head_dim": 128}, {"length": 4096}, {"mask": "window"}):
        assert "not measured" in ask(**other).reason
    with assume_arch("sm_100"):
        other_gpu = fastest("attention", device=GPU, head_dim=64, length=1024, mask="causal",
                            available=("sdpa",))  # fmt: skip
    assert "not measured on sm_100" in other_gpu.reason
    assert "measured on CPUs" in ask(device=CPU).reason


def test_a_narrow_head_takes_the_row_of_the_next_wider_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_MEASURED", parse({"schema": 1, "rows": [row()]}))
    assert ask(head_dim=40).reason == ask(head_dim=64).reason != ask(head_dim=32).reason


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([row(), row()], "repeats"),
        ([row(mask="none")], "unknown"),
        ([row(op="dance")], "unknown"),
        ([row(length="<=3")], "unknown"),
    ],
)
def test_a_wrong_table_is_refused(rows: list[dict[str, Any]], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse({"schema": 1, "rows": rows})
    with pytest.raises(ValueError, match="schema"):
        parse({"schema": 2, "rows": []})


def test_the_committed_table_is_one_that_can_be_read() -> None:
    document = json.loads((Path(choice.__file__).parent / "choice.json").read_text())
    assert parse(document) == choice._MEASURED


def test_an_unknown_operation_or_nothing_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="available"):
        ask(available=())
    with pytest.raises(ValueError, match="op: no operation named 'dance'"):
        fastest("dance", device=CPU, head_dim=1, length=1, mask="causal", available=("reference",))


def test_the_architecture_of_a_cpu_says_whether_triton_is_interpreted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert arch(CPU) == "cpu" and arch(torch.device("meta")) == "unknown"
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert arch(CPU) == "interpreter"
    with assume_arch("sm_80"):
        assert arch(CPU) == arch(GPU) == "sm_80"
    assert arch(torch.device("meta")) == "unknown"


@pytest.mark.parametrize("dynamic", [False, True])
def test_torch_compile_traces_through_a_choice(dynamic: bool) -> None:
    def takes(x: Tensor, mask: str) -> Tensor:
        chosen = fastest(
            "attention", device=x.device, head_dim=x.shape[3], length=x.shape[1], mask=mask,
            available=("sdpa", "blocked"),
        )  # fmt: skip
        return x * 2 if chosen.name == "sdpa" else x * 3

    torch._dynamo.reset()
    compiled = torch.compile(takes, fullgraph=True, dynamic=dynamic, backend="eager")
    for length in (40, 300):
        x = torch.ones(1, length, 2, 16)
        assert [float(compiled(x, mask).max()) for mask in ("causal", "window")] == [2, 3]


def test_an_explicit_name_never_turns_into_another() -> None:
    with pytest.raises(ImplementationUnavailableError, match="has no 'flex'"):
        choice.require("flex", op="attention", provided={"reference": None}, device=CPU)

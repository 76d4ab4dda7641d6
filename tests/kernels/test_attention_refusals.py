"""Bad input to attention is refused by the name of the argument, never computed in silence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend

from adbench_kernels import (
    ImplementationUnavailableError,
    Intervals,
    attention,
    attention_backward,
    choice,
)
from adbench_kernels.interval_attention import sdpa


def inputs(**changes: Any) -> dict[str, Any]:
    q, k, v = (torch.zeros(2, 5, 4, 8) for _ in range(3))
    return {"q": q, "k": k, "v": v, **changes}


ids = torch.zeros(3, 5, dtype=torch.long)


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("q", {"q": torch.zeros(2, 5, 8)}),
        ("q", {"q": torch.zeros(2, 5, 0, 8)}),
        ("q", {"q": torch.zeros(2, 5, 4, 0)}),
        ("q", {"q": torch.zeros(2, 5, 4, 8, dtype=torch.long)}),
        ("k", {"k": torch.zeros(3, 5, 4, 8)}),
        ("k", {"k": torch.zeros(2, 5, 4, 16)}),
        ("k", {"k": torch.zeros(2, 5, 4, 8).double()}),
        ("k", {"k": torch.zeros(2, 5, 3, 8), "v": torch.zeros(2, 5, 3, 8)}),
        ("v", {"v": torch.zeros(2, 6, 4, 8)}),
        ("v", {"v": torch.zeros(2, 5, 4, 8, device="meta")}),
        ("q", {"q": [[1.0]]}),
        ("q", {"q": torch.zeros(2, 5, 4, 8).numpy()}),
        ("q", {"q": torch.zeros(2, 5, 4, 8).to_sparse()}),
        ("q", {"q": torch.zeros(2, 5, 4, 8).to(torch.float8_e4m3fn)}),
        ("q", {"q": torch.zeros(2, 5, 4, 8).to(torch.complex64)}),
        ("k", {"k": None}),
        ("v", {"v": 3}),
        ("query_offset", {"query_offset": -1}),
        ("query_offset", {"query_offset": 1.0}),
        ("query_offset", {"query_offset": "1"}),
        ("query_offset", {"query_offset": torch.tensor(1)}),
        ("query_offset", {"query_offset": 1 << 30}),
        ("query_offset", {"query_stride": 1 << 30}),
        ("query_offset", {"query_offset": 1 << 70, "q": torch.zeros(2, 0, 4, 8)}),
        ("query_stride", {"query_stride": 1 << 70, "q": torch.zeros(2, 1, 4, 8)}),
        ("query_stride", {"query_stride": 0}),
        ("query_stride", {"query_stride": True}),
        ("query_stride", {"query_stride": None}),
        ("scale", {"scale": float("nan")}),
        ("scale", {"scale": -float("inf")}),
        ("scale", {"scale": 1e300}),
        ("scale", {"scale": "1"}),
        ("scale", {"scale": torch.tensor(1.0)}),
        ("dropout", {"dropout": 1.0}),
        ("dropout", {"dropout": -0.1}),
        ("dropout", {"dropout": float("nan")}),
        ("dropout", {"dropout": None}),
        ("dropout", {"dropout": 0.1, "implementation": "blocked"}),
        ("return_lse", {"return_lse": True, "implementation": "sdpa-math"}),
        ("implementation", {"implementation": "fastest"}),
        ("intervals", {"intervals": Intervals.packed(ids)}),
        ("intervals", {"intervals": "causal"}),
        ("intervals", {"intervals": Intervals.packed(ids[:2, :4])}),
        ("intervals", {"intervals": Intervals.packed(ids[:2]), "query_offset": 1}),
        ("intervals", {"intervals": Intervals.from_kv_start(ids[:2, :3], 5, query_stride=2)}),
        ("intervals", {"intervals": Intervals.packed(torch.zeros_like(ids[:2], device="meta"))}),
    ],
)
def test_bad_input_is_refused_by_the_name_of_the_argument(
    argument: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=f"^{argument}: "):
        attention(**inputs(**changes))


@pytest.mark.parametrize("name", ["triton", "numba", "flex", "sdpa-efficient", "sdpa-cudnn"])
def test_what_cannot_run_here_raises_and_says_what_can(name: Any) -> None:
    with pytest.raises(ImplementationUnavailableError, match=f"'{name}'.*Available here: auto, "):
        attention(**inputs(), implementation=name)


@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 0.1},
        {name: torch.zeros(2, 5, 8, 4).mT for name in "qkv"},
    ],
)
def test_what_a_back_end_of_torch_does_not_take_is_not_given_to_another(
    changes: dict[str, Any],
) -> None:
    with pytest.warns(UserWarning), pytest.raises(
        ImplementationUnavailableError, match="FLASH_ATTENTION takes no such call here"
    ):  # fmt: skip
        attention(**inputs(**changes), implementation="sdpa-flash")


@pytest.mark.parametrize(
    ("name", "dtype", "window", "said"),
    [
        ("sdpa-flash", torch.float32, None, "q: 'sdpa-flash' takes float16 and bfloat16"),
        ("sdpa-cudnn", torch.float64, None, "q: 'sdpa-cudnn' takes float16 and bfloat16"),
        ("sdpa-flash", torch.float16, 3, "implementation: 'sdpa-flash' knows no mask"),
    ],
)
def test_what_back_ends_lack_on_a_gpu_is_said_before_any_launch(
    name: Any, dtype: torch.dtype, window: int | None, said: str
) -> None:
    intervals = None if window is None else Intervals.window(window)
    with FakeTensorMode(allow_non_fake_inputs=True):
        q = torch.zeros(2, 5, 4, 8, dtype=dtype, device="cuda")
        with pytest.raises(ValueError, match=f"^{said}"):
            attention(q, q, q, intervals=intervals, implementation=name)


def test_what_auto_took_by_measurement_has_others_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Torch may refuse a back end for reasons that no table holds; who named none need not know."""
    row = {
        "op": "attention", "arch": "sm_90", "head_dim": 16, "length": "<=128", "mask": "causal",
        "median_ms": {"sdpa-flash": 1.0, "sdpa-cudnn": 2.0},
    }  # fmt: skip
    monkeypatch.setattr(choice, "_MEASURED", choice.parse({"schema": 1, "rows": [row]}))
    seen: list[Any] = []

    def ask(q: torch.Tensor, *_: Any, asked: Any, **__: Any) -> torch.Tensor:
        seen.append(asked)
        return q

    monkeypatch.setattr(sdpa, "attention", ask)
    with choice.assume_arch("sm_90"), FakeTensorMode():
        q = torch.zeros(2, 5, 4, 8, dtype=torch.float16, device="cuda")
        attention(q, q, q)
        attention(q, q, q, implementation="sdpa-flash")
    assert seen[0][0] is SDPBackend.FLASH_ATTENTION
    assert set(seen[0]) == set(sdpa.BACKENDS.values())
    assert seen[1] == [SDPBackend.FLASH_ATTENTION]


@pytest.mark.parametrize("name", ["blocked", "auto"])
def test_tangents_are_refused_where_they_would_be_dropped(name: Any) -> None:
    q, k, v = (torch.randn(1, 5, 2, 8) for _ in range(3))

    def run(q: torch.Tensor) -> torch.Tensor:
        return attention(q, k, v, intervals=Intervals.window(3), implementation=name)

    with pytest.raises(RuntimeError, match="'blocked' has no derivative in forward mode"):
        torch.func.jvp(run, (q,), (q,))


@pytest.mark.parametrize("argument", ["grad_out", "out", "lse"])
def test_backward_refuses_wrong_shapes(argument: str) -> None:
    q, k, v = inputs().values()
    given = {"grad_out": q, "out": q, "lse": torch.zeros(2, 4, 5), argument: torch.zeros(1)}
    with pytest.raises(ValueError, match=f"^{argument}: "):
        attention_backward(q=q, k=k, v=v, **given)


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [
        ("grad_out", torch.zeros(2, 5, 4, 8).double()),
        ("out", torch.zeros(2, 5, 4, 8, device="meta")),
        ("lse", torch.zeros(2, 4, 5).bfloat16()),
        ("lse", torch.zeros(2, 4, 5, device="meta")),
    ],
)
def test_backward_refuses_another_dtype_or_device(argument: str, wrong: torch.Tensor) -> None:
    q, k, v = inputs().values()
    given = {"grad_out": q, "out": q, "lse": torch.zeros(2, 4, 5), argument: wrong}
    with pytest.raises(ValueError, match=f"^{argument}: must be torch.float32 .*on cpu.*; got "):
        attention_backward(q=q, k=k, v=v, **given)


def test_backward_has_no_sdpa() -> None:
    q, k, v = inputs().values()
    with pytest.raises(ImplementationUnavailableError, match="attention_backward has no"):
        attention_backward(q, q, k, v, q, torch.zeros(2, 4, 5), implementation="sdpa-math")

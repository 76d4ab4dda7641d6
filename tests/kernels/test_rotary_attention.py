"""Attention of packed rows, turned on the way in: the vector kernel, its definition, its refusals.

B rows, T tokens, H heads, D head width, W window.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend

from adbench_kernels import (
    Implementation,
    ImplementationUnavailableError,
    Intervals,
    attention,
    choice,
    rotary_attention,
    rotary_turns,
    rotate,
    strided_rotary_attention,
)
from adbench_kernels.choice import assume_arch
from adbench_kernels.cpu import threads
from adbench_kernels.interval_attention import sdpa
from adbench_kernels.rotary_attention import cpu

Definition = Callable[..., tuple[Tensor, Tensor]]
Agree = Callable[..., None]
Shape = tuple[int, int, int, int, int | None]
Inputs = tuple[Tensor, Tensor, Tensor]

FLOAT32_ERROR = 2e-6
"""Of outputs of order 1: sums of at most a few hundred products of 16 to 64 float32."""
GRADIENT_ERROR = 1e-5
"""Gradients of keys and values sum over all queries that saw them."""
FLOAT64_ERROR = 1e-12

# Blocks of 16 queries and runs of 64 keys: shapes below, at and past their edges.
SHAPES = [
    (1, 1, 1, 16, None),
    (2, 15, 1, 16, None),
    (1, 16, 2, 16, 1),
    (1, 17, 3, 32, 5),
    (2, 64, 1, 16, 64),
    (1, 65, 2, 16, 64),
    (1, 130, 1, 48, 70),
    (1, 200, 1, 16, 17),
    (1, 129, 2, 16, 1000),
]
IDS = [f"B{b}-T{t}-H{h}-D{d}-W{w}" for b, t, h, d, w in SHAPES]


def draw(batch: int, length: int, heads: int, width: int, seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    qkv = torch.randn(batch, length, 3 * heads, width, generator=generator, dtype=torch.float64)
    grad = torch.randn(batch, length, heads, width, generator=generator, dtype=torch.float64)
    turns = rotary_turns(torch.arange(length), width, torch.float64)
    return qkv, grad, turns


def run(
    qkv: Tensor, grad: Tensor, turns: Tensor, dtype: torch.dtype, **options: Any
) -> tuple[Tensor, Tensor]:
    qkv = qkv.to(dtype).clone().requires_grad_()
    out = rotary_attention(qkv, turns.to(dtype), **options)
    out.backward(grad.to(dtype))  # type: ignore[no-untyped-call]
    assert qkv.grad is not None
    return out.detach(), qkv.grad


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_the_vector_kernel_is_the_definition_with_its_gradient(shape: Shape, agree: Agree) -> None:
    *sizes, window = shape
    inputs = draw(*sizes)
    expected = run(*inputs, torch.float64, window=window, implementation="reference")
    actual = run(*inputs, torch.float32, window=window, implementation="numba")
    agree(actual[0], expected[0], error=FLOAT32_ERROR)
    agree(actual[1], expected[1], error=GRADIENT_ERROR)


@pytest.mark.parametrize("implementation", ["auto", "blocked", "sdpa-math", "sdpa-flash"])
def test_turning_and_then_attending_is_the_same(
    implementation: Implementation, agree: Agree
) -> None:
    inputs = draw(2, 40, 2, 8)  # a head width that the vector kernel does not take
    expected = run(*inputs, torch.float64, window=9, implementation="reference")
    actual = run(*inputs, torch.float64, window=9, implementation=implementation)
    agree(actual[0], expected[0], error=FLOAT64_ERROR)
    agree(actual[1], expected[1], error=FLOAT64_ERROR)


@pytest.mark.parametrize("implementation", ["auto", "reference", "blocked", "sdpa-math"])
@pytest.mark.parametrize(("offset", "stride"), [(0, 1), (2, 3), (1, 5)])
@pytest.mark.parametrize("window", [None, 1, 9])
def test_a_few_who_ask_get_what_they_get_among_all(
    implementation: Implementation,
    offset: int,
    stride: int,
    window: int | None,
    agree: Agree,
) -> None:
    qkv, grad, turns = draw(2, 20, 2, 8)
    asked = slice(offset, None, stride)
    grad_of_all = torch.zeros_like(grad)
    grad_of_all[:, asked] = grad[:, asked]
    expected = run(
        qkv, grad_of_all, turns, torch.float64, window=window, implementation="reference"
    )
    q = qkv[:, asked, :2].clone().requires_grad_()
    kv = qkv[:, :, 2:].clone().requires_grad_()
    out = strided_rotary_attention(
        q, kv, turns, query_offset=offset, query_stride=stride, window=window,
        implementation=implementation,
    )  # fmt: skip
    agree(out, expected[0][:, asked], error=FLOAT64_ERROR)
    dq, dkv = torch.autograd.grad(out, (q, kv), grad[:, asked])
    agree(dq, expected[1][:, asked, :2], error=FLOAT64_ERROR)
    agree(dkv, expected[1][:, :, 2:], error=FLOAT64_ERROR)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"q": torch.zeros(1, 2, 2, 16)}, "q: must be"),
        ({"q": torch.zeros(1, 2, 1, 16).double()}, "q: must be torch.float32"),
        ({"kv": torch.zeros(1, 6, 3, 16)}, "kv: must be"),
        ({"query_stride": 0}, "query_stride: must be"),
        ({"query_offset": 1.0}, "query_offset: must be a whole number"),
        ({"q": None}, "q: must be a tensor"),
        ({"query_offset": 4}, "query_offset: the last of 2 queries"),
        ({"window": 0}, "window"),
        ({"implementation": "fast"}, "no implementation named 'fast'"),
    ],
)
def test_wrong_arguments_of_those_who_ask_are_named(change: dict[str, Any], says: str) -> None:
    arguments = {
        "q": torch.zeros(1, 2, 1, 16), "kv": torch.zeros(1, 6, 2, 16), "query_offset": 2,
        "query_stride": 3, "turns": torch.zeros(6, 2, 16), **change,
    }  # fmt: skip
    with pytest.raises(ValueError, match=says):
        strided_rotary_attention(**arguments)


def test_the_definition_is_rotation_then_interval_attention(
    definition: Definition, agree: Agree
) -> None:
    qkv, _, turns = draw(2, 12, 2, 6)
    q, k, v = qkv.chunk(3, 2)
    expected, _ = definition(
        rotate(q, turns), rotate(k, turns), v, lambda _b, i, j: i - 4 < j <= i, 1 / math.sqrt(6)
    )
    agree(rotary_attention(qkv, turns, window=4, implementation="reference"), expected)


def test_a_rotation_turns_neighbours_by_position_times_frequency() -> None:
    x = torch.tensor([1.0, 0.0, 0.0, 2.0], dtype=torch.float64).expand(3, 1, 4)
    turned = rotate(x, rotary_turns(torch.tensor([0, 1, 5]), 4, torch.float64))[:, 0]
    for row, position in zip(turned, (0, 1, 5), strict=True):
        slow = position / 100  # 10,000 ** (-1 / 2)
        expected = [math.cos(position), math.sin(position), -2 * math.sin(slow), 2 * math.cos(slow)]
        assert torch.allclose(row, torch.tensor(expected, dtype=torch.float64))


def test_scores_depend_on_distances_however_far_out(agree: Agree) -> None:
    qkv, _, _ = draw(1, 30, 2, 16)
    near, far = (
        rotary_attention(
            qkv.float(), rotary_turns(torch.arange(30) + offset, 16, torch.float32), window=11
        )
        for offset in (0, 1_000_000)
    )
    agree(far, near, error=FLOAT32_ERROR)


def test_no_position_turns_nothing(agree: Agree) -> None:
    qkv, _, _ = draw(1, 20, 1, 16)
    still = rotary_turns(torch.zeros(20, dtype=torch.int64), 16, torch.float64)
    q, k, v = qkv.chunk(3, 2)
    expected = attention(q, k, v, intervals=Intervals.window(5))
    agree(rotary_attention(qkv, still, window=5), expected)


def test_a_row_is_the_same_beside_any_others_and_on_any_number_of_threads() -> None:
    inputs = draw(5, 50, 2, 16)
    with_others = run(*inputs, torch.float32, window=20, implementation="numba")
    alone = run(
        inputs[0][3:4], inputs[1][3:4], inputs[2], torch.float32, window=20, implementation="numba"
    )
    assert torch.equal(with_others[0][3:4], alone[0])
    assert torch.equal(with_others[1][3:4], alone[1])
    before = torch.get_num_threads()
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            again = run(*inputs, torch.float32, window=20, implementation="numba")
            assert torch.equal(again[0], with_others[0])
            assert torch.equal(again[1], with_others[1])
    finally:
        torch.set_num_threads(before)


def _note(seen: list[int], first: int, end: int) -> None:
    seen.extend(range(first, end))


WAYS = ["torch's", "a pool's"]


@pytest.fixture(params=WAYS)
def whose_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to get threads, torch's only where it runs on GNU OpenMP."""
    way: str = request.param
    if way == "a pool's":
        monkeypatch.setattr(threads, "gnu_openmp", lambda: None)
    elif threads.gnu_openmp() is None:
        pytest.skip("torch does not run on GNU OpenMP here")
    return way


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_units_are_shared_without_gap_or_overlap(
    whose_threads: str, set_threads: Callable[[int], None]
) -> None:
    for number, units in ((1, 5), (3, 7), (4, 2), (2, 64)):
        set_threads(number)
        seen: list[int] = []
        threads.share(partial(_note, seen), units)
        assert sorted(seen) == list(range(units))


def test_an_error_in_a_thread_is_an_error_of_the_call(
    whose_threads: str, set_threads: Callable[[int], None]
) -> None:
    set_threads(3)

    def fail(first: int, end: int) -> None:
        if first <= 4 < end:
            raise OverflowError("unit 4")

    with pytest.raises(OverflowError, match="unit 4"):
        threads.share(fail, 6)


def test_gradients_on_several_threads_are_those_of_one(
    whose_threads: str, set_threads: Callable[[int], None]
) -> None:
    inputs, found = draw(3, 40, 2, 16), []
    for number in (1, 2, 4):
        set_threads(number)
        found.append(run(*inputs, torch.float32, window=15, implementation="numba"))
    for out, gradient in found[1:]:
        assert torch.equal(out, found[0][0])
        assert torch.equal(gradient, found[0][1])


def test_the_future_and_what_left_the_window_have_no_weight_at_all() -> None:
    qkv, _, turns = (x.float() for x in draw(1, 60, 1, 16))
    out = rotary_attention(qkv, turns, window=10, implementation="numba")
    loud = qkv.clone()
    loud[:, 40] = 1e4
    moved = (rotary_attention(loud, turns, window=10, implementation="numba") != out).any(-1)
    assert moved[0, :, 0].nonzero()[:, 0].tolist() == list(range(40, 50))


def test_half_precision_rows_are_turned_in_float32(agree: Agree) -> None:
    qkv, _, _ = draw(1, 12, 2, 16)
    far = torch.arange(12) + 5_000
    expected = rotary_attention(qkv, rotary_turns(far, 16, torch.float64))
    actual = rotary_attention(qkv.bfloat16(), rotary_turns(far, 16, torch.float32))
    assert actual.dtype is torch.bfloat16
    # bfloat16 has 8 bits: scores of 10 are off by a few hundredths.
    agree(actual, expected, error=0.15)


def test_large_scores_do_not_overflow(agree: Agree) -> None:
    qkv, grad, turns = draw(1, 70, 1, 16)
    expected = run(qkv * 30, grad, turns, torch.float64, implementation="reference")
    actual = run(qkv * 30, grad, turns, torch.float32, implementation="numba")
    # Scores of 10,000 carry rounding errors of 1e-3, and so do weights.
    agree(actual[0], expected[0], error=0.1)
    assert torch.isfinite(actual[1]).all()


def test_a_window_may_be_wider_than_any_integer_of_the_machine(agree: Agree) -> None:
    qkv, _, turns = draw(1, 20, 1, 16)
    names: tuple[Implementation, ...] = ("auto", "reference", "blocked", "sdpa-math")
    for name in names:
        wide = rotary_attention(qkv, turns, window=2**70, implementation=name)
        agree(wide, rotary_attention(qkv, turns, implementation="reference"))


def test_inputs_with_strides_are_taken_as_they_are(agree: Agree) -> None:
    qkv, grad, turns = (x.float() for x in draw(2, 20, 2, 16))
    wide = torch.zeros(2, 20, 6, 32)
    wide[..., ::2] = qkv
    strided = run(wide[..., ::2], grad, turns, torch.float32, implementation="numba")
    plain = run(qkv, grad, turns, torch.float32, implementation="numba")
    assert torch.equal(strided[0], plain[0])
    assert torch.equal(strided[1], plain[1])


def test_the_operator_keeps_torch_s_contract() -> None:
    qkv, _, turns = (x.float() for x in draw(1, 20, 1, 16))
    arguments = (qkv.requires_grad_(), turns, 7, 0.25)
    torch.library.opcheck(
        torch.ops.adbench.rotary_attention_cpu.default,
        arguments,
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_a_kernel_with_a_wrong_band_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: the window is one key too wide."""
    inputs = draw(1, 40, 1, 16)
    expected = run(*inputs, torch.float64, window=9, implementation="reference")
    right = cpu.forward

    def wrong(*arguments: Any) -> None:
        right(*arguments[:7], arguments[7] + 1, *arguments[8:])

    monkeypatch.setattr(cpu, "forward", wrong)
    actual = run(*inputs, torch.float32, window=9, implementation="numba")
    assert (actual[0] - expected[0]).abs().max() > 100 * FLOAT32_ERROR


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"qkv": torch.zeros(1, 4, 5, 16)}, "qkv: must be"),
        ({"qkv": torch.zeros(1, 4, 3, 7)}, "D even"),
        ({"qkv": torch.zeros(1, 4, 3, 16, dtype=torch.int64)}, "floating"),
        ({"turns": torch.zeros(5, 2, 16)}, "turns: must be"),
        ({"turns": torch.zeros(4, 2, 16, dtype=torch.float64)}, "turns: must be"),
        ({"qkv": torch.zeros(1, 4, 3, 16).to(torch.float8_e4m3fn)}, "qkv: must be floating"),
        ({"qkv": [0.0]}, "qkv: must be a tensor"),
        ({"turns": None}, "turns: must be a tensor"),
        ({"window": 0}, "window"),
        ({"window": 1.5}, "window: must be a whole number"),
        ({"window": "3"}, "window: must be a whole number"),
        ({"scale": math.nan}, "scale: must be a finite number"),
        ({"scale": 1e300}, "scale: must be at most"),
        ({"dropout": 1.0}, "dropout: must be in"),
        ({"dropout": math.nan, "implementation": "reference"}, "dropout: must be"),
        ({"implementation": "numba", "dropout": 0.1}, "no dropout"),
        ({"implementation": "attention"}, "no implementation named 'attention'"),
        ({"implementation": "fast", "qkv": torch.zeros(0, 4, 3, 16)}, "no implementation named"),
        ({"implementation": "fast"}, "no implementation named 'fast'"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, Any], says: str) -> None:
    arguments = {"qkv": torch.zeros(1, 4, 3, 16), "turns": torch.zeros(4, 2, 16), **change}
    with pytest.raises(ValueError, match=says):
        rotary_attention(**arguments)


def test_an_implementation_that_is_not_there_is_refused() -> None:
    with pytest.raises(ImplementationUnavailableError, match="triton"):
        rotary_attention(torch.zeros(1, 4, 3, 16), torch.zeros(4, 2, 16), implementation="triton")


def test_numba_is_loaded_when_it_is_needed_and_not_before() -> None:
    program = "import sys, adbench_kernels; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


MEASURED = {"triton": 3.0, "sdpa-cudnn": 1.0, "sdpa-flash": 2.0}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """An sm_90 that is not there, where cuDNN was fastest at D 32; what SDPA is asked for."""
    row = {
        "op": "rotary_attention", "arch": "sm_90", "head_dim": 32, "length": "<=128",
        "mask": "causal", "median_ms": MEASURED,
    }  # fmt: skip
    monkeypatch.setattr(choice, "_MEASURED", choice.parse({"schema": 1, "rows": [row]}))
    seen: list[Any] = []

    def ask(q: Tensor, k: Tensor, v: Tensor, span: Any, *, asked: Any, **_: Any) -> Tensor:
        seen.append(asked)
        return q

    monkeypatch.setattr(sdpa, "attention", ask)
    with assume_arch("sm_90"), FakeTensorMode():
        yield seen


def on_gpu(width: int = 32, dtype: torch.dtype = torch.bfloat16, **options: Any) -> None:
    turns = torch.zeros(9, 2, width, device="cuda", dtype=torch.promote_types(dtype, torch.float32))
    rotary_attention(torch.zeros(2, 9, 6, width, device="cuda", dtype=dtype), turns, **options)


def test_auto_takes_torch_s_attention_where_that_was_measured_to_be_faster(gpu: list[Any]) -> None:
    on_gpu()
    (asked,) = gpu
    assert asked[0] is SDPBackend.CUDNN_ATTENTION
    # Should torch refuse it after all, another is asked, for nobody named cuDNN.
    assert set(asked[1:]) == set(sdpa.BACKENDS.values()) - {SDPBackend.CUDNN_ATTENTION}


def test_a_back_end_that_was_named_is_the_only_one_asked(gpu: list[Any]) -> None:
    on_gpu(implementation="sdpa-flash")
    on_gpu(implementation="sdpa-cudnn", window=3)
    assert gpu == [[SDPBackend.FLASH_ATTENTION], [SDPBackend.CUDNN_ATTENTION]]
    with pytest.raises(ValueError, match="implementation: 'sdpa-flash' knows no mask on a GPU"):
        on_gpu(implementation="sdpa-flash", window=3)
    with pytest.raises(ValueError, match="q: 'sdpa-cudnn' takes float16 and bfloat16"):
        on_gpu(implementation="sdpa-cudnn", dtype=torch.float32)


@pytest.mark.parametrize(
    "options", [{"width": 64}, {"dtype": torch.float32}, {"dtype": torch.float64}]
)
def test_what_was_not_measured_is_left_to_attention(gpu: list[Any], options: Any) -> None:
    on_gpu(**options)
    assert gpu == [[]]  # without Triton: the back end that torch prefers


def test_a_window_is_never_given_to_what_was_measured_without(gpu: list[Any]) -> None:
    on_gpu(window=9)  # all of the row: plainly causal
    assert gpu[0][0] is SDPBackend.CUDNN_ATTENTION
    on_gpu(window=8)
    assert gpu[1] == []


def test_heads_too_wide_for_the_kernel_that_turns_are_turned_without(
    gpu: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    turned: list[int] = []

    def turn(x: Tensor, *_: object) -> Tensor:
        turned.append(x.shape[3])
        return x

    module = sys.modules["adbench_kernels.rotary_attention"]
    monkeypatch.setattr(module, "runs_triton", lambda device: True)
    monkeypatch.setattr(module, "turn_triton", turn)
    for width in (128, 160):
        on_gpu(width, implementation="sdpa-cudnn")
    assert turned == [128]


def test_autocast_casts_what_is_turned_for_every_implementation(agree: Agree) -> None:
    qkv, _, turns = (x.float() for x in draw(1, 20, 2, 16))
    names: tuple[Implementation, ...] = ("auto", "reference", "blocked", "sdpa-math")
    for name in names:
        with torch.autocast("cpu", torch.bfloat16):
            out = rotary_attention(qkv, turns, implementation=name)
            assert rotary_attention(qkv.double(), turns.double()).dtype is torch.float64
        assert out.dtype is torch.bfloat16
        agree(out, rotary_attention(qkv, turns), error=0.05)


def test_nobody_who_asks_and_no_token_have_gradients_of_zero() -> None:
    kv, turns = torch.ones(2, 4, 2, 16, requires_grad=True), torch.zeros(4, 2, 16)
    q = torch.ones(2, 0, 1, 16, requires_grad=True)
    out = strided_rotary_attention(q, kv, turns, query_offset=0, query_stride=2)
    dq, dkv = torch.autograd.grad(out.sum(), (q, kv))
    assert out.shape == dq.shape == (2, 0, 1, 16)
    assert (dkv == 0).all()
    empty = torch.ones(2, 0, 3, 16, requires_grad=True)
    out = rotary_attention(empty, turns[:0])
    assert torch.autograd.grad(out.sum(), empty)[0].shape == empty.shape


def test_nan_is_not_lost_on_the_way() -> None:
    for part in range(3):
        qkv, _, turns = (x.float() for x in draw(1, 40, 3, 16))
        qkv[0, 20, part, 5] = math.nan
        seen = [
            rotary_attention(qkv, turns, window=8, implementation=name).isnan()
            for name in ("reference", "numba")
        ]
        assert seen[0].any()
        assert torch.equal(*seen)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_torch_s_default_dtype_is_the_user_s_to_choose(dtype: torch.dtype, agree: Agree) -> None:
    inputs = draw(1, 20, 1, 16)
    expected = run(*inputs, torch.float32, implementation="numba")
    torch.set_default_dtype(dtype)
    try:
        actual = run(*inputs, torch.float32, implementation="numba")
    finally:
        torch.set_default_dtype(torch.float32)
    for a, b in zip(actual, expected, strict=True):
        assert torch.equal(a, b)


def test_derivatives_that_there_are_not_are_refused() -> None:
    qkv, _, turns = (x.float() for x in draw(1, 20, 1, 16))
    with pytest.raises(RuntimeError, match="'numba' has no derivative in forward mode"):
        torch.func.jvp(lambda x: rotary_attention(x, turns), (qkv,), (qkv,))
    out = rotary_attention(qkv.requires_grad_(), turns, implementation="numba")
    (slope,) = torch.autograd.grad(out.sum(), qkv, create_graph=True)
    with pytest.raises(RuntimeError, match="'numba' has no second derivative"):
        torch.autograd.grad(slope.sum(), qkv)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("positions", lambda: rotary_turns([0, 1], 4, torch.float32)),  # type: ignore[arg-type]
        ("positions", lambda: rotary_turns(torch.ones(3, dtype=torch.bool), 4, torch.float32)),
        ("head_dim", lambda: rotary_turns(torch.arange(3), 5, torch.float32)),
        ("head_dim", lambda: rotary_turns(torch.arange(3), 0, torch.float32)),
        ("head_dim", lambda: rotary_turns(torch.arange(3), -2, torch.float32)),
        ("dtype", lambda: rotary_turns(torch.arange(3), 4, torch.int32)),
        ("longest_wave", lambda: rotary_turns(torch.arange(3), 4, torch.float32, longest_wave=0)),
        ("x", lambda: rotate(torch.ones(3, 2, 4, dtype=torch.int32), torch.zeros(3, 2, 4))),
        ("x", lambda: rotate(torch.ones(3, 2, 5), torch.zeros(3, 2, 5))),
        ("turns", lambda: rotate(torch.ones(3, 2, 4), torch.zeros(1, 2, 4))),
        ("turns", lambda: rotate(torch.ones(3, 2, 4), torch.zeros(3, 2, 6))),
        ("turns", lambda: rotate(torch.ones(3, 2, 4), torch.zeros(4))),
        ("turns", lambda: rotate(torch.ones(3, 2, 4), torch.zeros(3, 2, 4, device="meta"))),
    ],
)
def test_turns_that_make_no_sense_are_refused(argument: str, call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=f"^{argument}: "):
        call()

"""Which implementation runs: chosen by name, never swapped in silence.

`fastest` is what "auto" asks. It looks the medians up that were measured on this GPU's
architecture (`choice.json` beside this file, written by `make tune`); where there are none, a rule
decides, and the choice says so. Both are plain Python on static values: torch.compile traces
through them, and nothing waits for the device.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import torch

from adbench_kernels.configs import HEAD_DIMS, LENGTHS, length_bucket
from adbench_kernels.errors import ImplementationUnavailableError

Implementation = Literal[
    "auto",
    "reference",
    "blocked",
    "sdpa-math",
    "sdpa-efficient",
    "sdpa-flash",
    "sdpa-cudnn",
    "flex",
    "triton",
    "numba",
]
"""auto: the fastest that was measured for the device and the request. The others run or raise."""

IMPLEMENTATIONS: tuple[str, ...] = get_args(Implementation)

CUDA_ONLY = frozenset({"sdpa-efficient", "sdpa-cudnn"})
OPTIONAL = frozenset({"triton", "numba"})
"""Implementations whose name is also that of the package they need."""


def _can_be_imported(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # it was imported, but has no spec
        return False


# Looked up once, here: torch.compile can neither search for packages nor see through a cache.
_INSTALLED = frozenset(name for name in OPTIONAL if _can_be_imported(name))


def installed(package: str) -> bool:
    """Whether one of `OPTIONAL` can be imported."""
    return package in _INSTALLED


def require(name: str, *, op: str, provided: Mapping[str, object], device: torch.device) -> None:
    """Check that `op` has the implementation `name` on `device`.

    Args:
        name: one of `IMPLEMENTATIONS` but "auto".
        op: public name of the operation.
        provided: the operation's implementations, by name.
        device: where its inputs are.

    Raises:
        ValueError: no implementation has that name.
        ImplementationUnavailableError: the name is known, but `op` has no such path on `device`.
    """
    if name not in IMPLEMENTATIONS:
        raise ValueError(
            f"implementation: no implementation named {name!r}; known: {', '.join(IMPLEMENTATIONS)}"
        )
    here = [n for n in provided if _has_device(n, device)]
    if name not in here:
        needs = " without a CUDA device" if name in provided else ""
        raise ImplementationUnavailableError(
            f"{op} has no {name!r} implementation{needs} (inputs are on {device}). "
            f"Available here: {', '.join(['auto', *here])}."
        )
    if name in OPTIONAL and not installed(name):
        raise ImplementationUnavailableError(
            f"{op} with {name!r} needs a package that is not installed: pip install {name}"
        )


def runs_triton(device: torch.device) -> bool:
    """Whether Triton kernels run there: on GPUs, and on CPUs while Triton interprets them."""
    return installed("triton") and _has_device("triton", device)


def _has_device(name: str, device: torch.device) -> bool:
    if name == "triton":
        return device.type == "cuda" or arch(device) == "interpreter"
    return device.type == "cuda" or name not in CUDA_ONLY


MASKS = ("causal", "window", "interval", "strided")
"""Kinds of masks: everything before the query; its last W keys; `kv_start`; not every position."""

SCHEMA = 1

# What is taken where nothing was measured: (operation, on a GPU), then the mask or "other", then
# names from the best to the last. "sdpa" is the back end that torch prefers; "attention": turning,
# then what `attention` takes.
_RULES: dict[tuple[str, bool], dict[str, tuple[str, ...]]] = {
    ("attention", False): {"causal": ("sdpa",), "other": ("blocked", "sdpa")},
    ("attention", True): {"causal": ("sdpa",), "other": ("triton", "sdpa", "blocked")},
    ("attention_backward", False): {"other": ("blocked",)},
    ("attention_backward", True): {"other": ("triton", "blocked")},
    ("rotary_attention", False): {"other": ("numba", "attention")},
    ("rotary_attention", True): {"other": ("triton", "attention")},
    ("ring_append", False): {"other": ("reference",)},
    ("ring_append", True): {"other": ("triton",)},
    ("ring_attention", False): {"other": ("numba",)},
    ("ring_attention", True): {"other": ("triton",)},
    ("TransformerStep", False): {"other": ("numba", "reference")},
    ("TransformerStep", True): {"other": ("reference",)},
    ("patch_embed", False): {"other": ("blocked",)},
    ("patch_embed", True): {"other": ("triton", "reference")},
    ("raycast", False): {"other": ("numba", "reference")},
    ("raycast", True): {"other": ("triton", "reference")},
}

OPERATIONS = tuple(dict.fromkeys(op for op, _ in _RULES))
"""Operations for which "auto" means something."""


_Function = TypeVar("_Function", bound=Callable[..., object])


class Choice(NamedTuple):
    """What "auto" takes.

    Attributes:
        name: the implementation; "sdpa": the back end of SDPA that torch prefers; "attention":
            put together, of turning and of what `attention` takes.
        reason: one line for people.
    """

    name: str
    reason: str


def fastest(
    op: str,
    *,
    device: torch.device,
    head_dim: int,
    length: int,
    mask: str,
    available: Collection[str],
) -> Choice:
    """The implementation that "auto" takes: the fastest measured, else what the rule says.

    Args:
        op: one of `OPERATIONS`.
        device: where the inputs are.
        head_dim: D; 0 for an operation without heads.
        length: keys a row; in a ring its slots; for patches the frames.
        mask: one of `MASKS`.
        available: names that can serve this very request, in the order in which to fall through
            where neither a measurement nor the rule speaks of any of them.

    Raises:
        ValueError: nothing is available, or `op` is unknown.
    """
    on_gpu = device.type != "cpu"
    if (op, on_gpu) not in _RULES:
        raise ValueError(f"op: no operation named {op!r}; known: {', '.join(OPERATIONS)}")
    if not available:
        raise ValueError(f"available: no implementation of {op} can serve this request")
    where = arch(device)
    if on_gpu:
        key = (op, where, _table_width(head_dim), length_bucket(length), mask)
        for choice in _MEASURED.get(key, ()):
            if choice.name in available:
                return choice
    rules = _RULES[op, on_gpu]
    because = (
        f"not measured on {where} at this width, length and mask: {_RULE_IN_WORDS[op]}"
        if on_gpu
        else "measured on CPUs"
    )
    for name in rules.get(mask, rules["other"]):
        if name in available:
            why = _COMPOSED if name == "attention" else because
            return Choice(name, why)
    first = next(iter(available))
    return Choice(first, f"{because}; {first} is the first that serves this request here")


def measured(arch: str) -> bool:
    """Whether choices for this architecture rest on measurements."""
    return any(key[1] == arch for key in _MEASURED)


def _constant_when_compiled(function: _Function) -> _Function:
    """What `torch.compiler.assume_constant_result` does, without importing the compiler for it:
    that takes longer than everything else that a small program imports."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@_constant_when_compiled
def arch(device: torch.device) -> str:
    """The architecture behind a device, as tables name it.

    Args:
        device: where tensors are.

    Returns:
        "sm_90" and the like on NVIDIA, "gfx942" and the like on AMD, "cpu", "interpreter" (a CPU
        while TRITON_INTERPRET is set), or "unknown".
    """
    if _ASSUMED:
        return _ASSUMED[-1]
    if device.type == "cpu":
        return "interpreter" if _interpreted() else "cpu"
    if device.type != "cuda":
        return "unknown"
    index = torch.cuda.current_device() if device.index is None else device.index
    if index not in _ARCHS:
        _ARCHS[index] = _ask(index)
    return _ARCHS[index]


@contextmanager
def assume_arch(name: str) -> Iterator[None]:
    """Let every device have this architecture: for compiling without one, and for tests.

    Args:
        name: as `arch` would say it.
    """
    _ASSUMED.append(name)
    try:
        yield
    finally:
        _ASSUMED.pop()


def parse(document: Mapping[str, Any]) -> dict[_Key, tuple[Choice, ...]]:
    """The rows of a table, each with its choices from the fastest to the slowest.

    Args:
        document: `choice.json`, read.

    Raises:
        ValueError: says which row is wrong, and how.
    """
    if document.get("schema") != SCHEMA:
        raise ValueError(f"schema: must be {SCHEMA}; got {document.get('schema')!r}")
    table: dict[_Key, tuple[Choice, ...]] = {}
    for number, row in enumerate(document["rows"], start=1):
        key = (row["op"], row["arch"], row["head_dim"], row["length"], row["mask"])
        if row["op"] not in OPERATIONS or row["mask"] not in MASKS or row["length"] not in LENGTHS:
            raise ValueError(f"rows: row {number} names an unknown op, mask or length: {key}")
        if key in table:
            raise ValueError(f"rows: row {number} repeats {key}")
        medians: dict[str, float] = row["median_ms"]
        in_order = sorted(medians, key=medians.__getitem__)
        said = ", ".join(f"{name} {medians[name]:.3g} ms" for name in in_order)
        table[key] = tuple(Choice(name, f"measured on {row['arch']}: {said}") for name in in_order)
    return table


def _table_width(head_dim: int) -> int:
    if head_dim == 0:
        return 0
    for width in HEAD_DIMS:
        if head_dim <= width:
            return width
    return head_dim


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on")


def _ask(index: int) -> str:
    if torch.version.hip:
        name: str = torch.cuda.get_device_properties(index).gcnArchName
        return name.partition(":")[0]
    major, minor = torch.cuda.get_device_capability(index)
    return f"sm_{major}{minor}"


_Key = tuple[str, str, int, str, str]
_RULE_IN_WORDS = {
    "attention": "plain causal goes to SDPA, every other mask to triton",
    **dict.fromkeys(OPERATIONS[1:], "triton where it is installed"),
    "TransformerStep": "no kernel for GPUs takes all blocks, so the definition",
}
_COMPOSED = "no kernel does both here: turned first, then what attention takes"
_ASSUMED: list[str] = []
_ARCHS: dict[int, str] = {}
_MEASURED = parse(json.loads((files(__package__) / "choice.json").read_text(encoding="utf-8")))

"""What operations ask of their arguments, said in one way: the name, what is wanted, what it is.

All of it is plain Python on static values, so torch.compile traces through.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""What every definition computes in; narrower floats have no arithmetic of their own."""

LARGEST_SCALE = torch.finfo(torch.float32).max / 2
"""Of scores, either way: kernels multiply it by log2(e), in float32."""


def check_tensor(name: str, x: object) -> None:
    """Refuse what is no tensor, or one without strides.

    Raises:
        ValueError: names the argument.
    """
    if not isinstance(x, Tensor):
        raise ValueError(f"{name}: must be a tensor; got {_kind(x)}")
    if x.layout is not torch.strided or x.is_nested:
        layout = "nested" if x.is_nested else x.layout
        raise ValueError(f"{name}: must be dense (torch.strided); got {layout}")


def check_floating(name: str, x: Tensor) -> None:
    """Refuse all but tensors of `FLOATING`.

    Raises:
        ValueError: names the argument.
    """
    check_tensor(name, x)
    if x.dtype not in FLOATING:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in FLOATING)
        raise ValueError(f"{name}: must be floating ({known}); got {x.dtype}")


def whole(name: str, value: Any, *, least: int) -> int:
    """A whole number, also numpy's; not a tensor's, which lies on a device.

    Args:
        name: of the argument.
        value: what was given for it.
        least: the smallest that is allowed.

    Raises:
        ValueError: names the argument.
    """
    given: int = least - 1
    if isinstance(value, int | torch.SymInt):
        given = cast(int, value)
    elif not isinstance(value, Tensor):
        with suppress(TypeError):
            given = operator.index(value)
    if isinstance(value, bool) or given < least:
        raise ValueError(f"{name}: must be a whole number, at least {least}; got {_kind(value)}")
    return given


def real(name: str, value: Any) -> float:
    """A finite number, also numpy's; not a tensor's, which lies on a device.

    Args:
        name: of the argument.
        value: what was given for it.

    Raises:
        ValueError: names the argument.
    """
    if isinstance(value, float | int | torch.SymFloat | torch.SymInt):
        given = cast(float, value)
    else:
        try:
            given = math.nan if isinstance(value, Tensor | str) else float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{name}: must be a number; got {_kind(value)}") from None
    if not -math.inf < given < math.inf:
        raise ValueError(f"{name}: must be a finite number; got {_kind(value)}")
    return given


def scale_of(scale: Any, width: int) -> float:
    """What scores are multiplied by.

    Args:
        scale: as given; none: 1 / sqrt(D).
        width: D.

    Raises:
        ValueError: names the argument.
    """
    if scale is None:
        return 1.0 / math.sqrt(width)
    given = real("scale", scale)
    if not -LARGEST_SCALE <= given <= LARGEST_SCALE:
        raise ValueError(
            f"scale: must be at most {LARGEST_SCALE:.3g} in size (float32's largest); got {scale!r}"
        )
    return given


def check_dropout(dropout: Any) -> None:
    """Refuse what is no probability below 1.

    Raises:
        ValueError: names the argument.
    """
    if not 0.0 <= real("dropout", dropout) < 1.0:
        raise ValueError(f"dropout: must be in [0, 1); got {dropout!r}")


def usable_device(device: torch.device | str) -> torch.device:
    """A device on which torch can put something here.

    Raises:
        ValueError: names the argument.
    """
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"device: must be one that torch can use here; got {device!r} ({reason})"
        ) from None


def refuse_forward_mode(op: str, name: str, *tensors: Tensor | None) -> None:
    """Refuse tangents where an operator would drop them in silence, as torch's custom ones do.

    Args:
        op: public name of the operation.
        name: of the implementation, one that torch cannot see into.
        tensors: its inputs.

    Raises:
        RuntimeError: some input carries a tangent.
    """
    for x in tensors:
        if x is not None and _tangent(x) is not None:
            raise RuntimeError(
                f"{op}: {name!r} has no derivative in forward mode; use implementation='reference'"
            )


def _tangent(x: Tensor) -> Tensor | None:
    found: Tensor | None = forward_ad.unpack_dual(x).tangent  # type: ignore[no-untyped-call]
    return found


def _kind(x: object) -> str:
    if isinstance(x, Sequence) and not isinstance(x, str):
        return f"a {type(x).__name__} of {len(x)}"
    return repr(x) if isinstance(x, int | float | str | None) else f"a {type(x).__name__}"

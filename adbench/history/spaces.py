"""What values a stored field may hold, as JSON: gymnasium spaces without gymnasium.

The manifest carries one of these records a field, so that a reader (in any language) knows how many
symbols an observation or an action has, and the writer knows the narrowest element type that holds
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Le, Len
from pydantic import Field

from adbench.config import Config
from adbench.errors import ContractError

if TYPE_CHECKING:
    import gymnasium

_SMALL_FIRST = ("u1", "i1", "i2", "i4", "i8")

Int64 = Annotated[int, Ge(-(2**63)), Le(2**63 - 1)]
Symbols = Annotated[int, Ge(1), Le(2**31)]
Extent = Annotated[int, Ge(1), Le(2**40)]
Bound = float | Annotated[tuple[float | None, ...], Len(1, 2**16)] | None
"""One bound for all elements, one an element in row-major order, or none: unbounded."""


class DiscreteSpace(Config):
    """One of `n` symbols: start, start + 1, ..., start + n - 1."""

    kind: Literal["discrete"] = "discrete"
    n: Symbols
    start: Int64 = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one value."""
        return ()

    def integer_range(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Least and greatest value, int64 []."""
        return np.asarray(self.start), np.asarray(self.start + self.n - 1)


class MultiDiscreteSpace(Config):
    """Several symbols at once: element i is one of `nvec[i]`, counted from 0."""

    kind: Literal["multi_discrete"] = "multi_discrete"
    nvec: Annotated[tuple[Symbols, ...], Len(1, 2**16)]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one value."""
        return (len(self.nvec),)

    def integer_range(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Least and greatest value, int64 [n]."""
        highest = np.asarray(self.nvec, np.int64) - 1
        return np.zeros_like(highest), highest


class BoxSpace(Config):
    """An array of numbers between bounds."""

    kind: Literal["box"] = "box"
    shape: Annotated[tuple[Extent, ...], Len(0, 6)]
    dtype: Literal["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
    low: Bound = None
    high: Bound = None

    def integer_range(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Least and greatest value, int64 [] or `shape`; none for floats and unbounded."""
        if self.dtype[0] == "f":
            return None
        bounds = [_integers(bound, self.shape) for bound in (self.low, self.high)]
        if bounds[0] is None or bounds[1] is None:
            return None
        return bounds[0], bounds[1]


Space = Annotated[DiscreteSpace | MultiDiscreteSpace | BoxSpace, Field(discriminator="kind")]


def _integers(bound: Bound, shape: tuple[int, ...]) -> np.ndarray | None:
    values = bound if isinstance(bound, tuple) else (bound,)
    if any(value is None or not -(2.0**63) <= value < 2.0**63 for value in values):
        return None
    array = np.asarray(values, np.float64).astype(np.int64)
    if not isinstance(bound, tuple):
        return array.reshape(())
    return array.reshape(shape) if array.size == int(np.prod(shape)) else None


def storage_dtype(space: DiscreteSpace | MultiDiscreteSpace | BoxSpace) -> str:
    """The narrowest element type of torch's that holds every value of a space, such as "u1"."""
    bounds = space.integer_range()
    if bounds is not None:
        low, high = int(bounds[0].min()), int(bounds[1].max())
        for name in _SMALL_FIRST:
            info = np.iinfo(name)
            if info.min <= low and high <= info.max:
                return name
    if isinstance(space, BoxSpace):
        return {"u2": "i4", "u4": "i8"}.get(space.dtype, space.dtype)
    return "i8"


def space_record(
    space: gymnasium.Space[Any], *, name: str = "space"
) -> DiscreteSpace | MultiDiscreteSpace | BoxSpace:
    """The record of one gymnasium space (Discrete, MultiDiscrete, MultiBinary, Box).

    Raises:
        ContractError: a space that histories cannot hold.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return DiscreteSpace(n=int(space.n), start=int(space.start))
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1 and not np.any(space.start):
        return MultiDiscreteSpace(nvec=tuple(int(n) for n in space.nvec))
    if isinstance(space, spaces.MultiBinary):
        return BoxSpace(shape=tuple(int(n) for n in space.shape), dtype="u1", low=0, high=1)
    if isinstance(space, spaces.Box) and space.dtype is not None and space.dtype.kind in "uif":
        code = f"{space.dtype.kind}{space.dtype.itemsize}"
        code = {"u8": "i8", "f16": "f8"}.get(code, code)
        return BoxSpace.parse(
            {
                "shape": space.shape,
                "dtype": code,
                "low": _bound(space.low),
                "high": _bound(space.high),
            }
        )
    raise ContractError(
        f"{name} is {space}; histories hold Discrete, one-dimensional MultiDiscrete counted from "
        "0, MultiBinary and "
        "Box spaces, and Dict spaces of these. Wrap the environment in "
        "gymnasium.wrappers.TransformObservation."
    )


def _bound(values: np.ndarray) -> Bound:
    flat = values.astype(np.float64).ravel()
    plain = tuple(float(v) if np.isfinite(v) else None for v in flat)
    if len(set(plain)) == 1:
        return plain[0]
    return plain if len(plain) <= 2**16 else None


def spaces_of(
    observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]
) -> dict[str, DiscreteSpace | MultiDiscreteSpace | BoxSpace]:
    """Spaces of the fields that an environment decides: observation(s), final observation(s) and
    action.

    A Dict observation gives `observation/NAME` and `final_observation/NAME` for each of its keys.

    Raises:
        ContractError: a space that histories cannot hold.
    """
    from gymnasium import spaces

    records = {"action": space_record(action_space, name="the action space")}
    parts = (
        {f"/{key}": part for key, part in observation_space.spaces.items()}
        if isinstance(observation_space, spaces.Dict)
        else {"": observation_space}
    )
    for suffix, part in parts.items():
        record = space_record(part, name=f"the observation space{suffix and f' at {suffix[1:]!r}'}")
        records[f"observation{suffix}"] = records[f"final_observation{suffix}"] = record
    return records

"""A case: one thing to time, how it is prepared and checked, and what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.on_gpu.card import Card

Value = str | int


class UnsupportedError(Exception):
    """This implementation cannot serve this case, and says why; that is an outcome, no failure."""


class WrongResultError(Exception):
    """The case computes the wrong thing; its speed is never measured."""


@dataclass(frozen=True)
class Work:
    """A prepared case.

    Attributes:
        calls: each does the work once, on inputs of its own; they are called in turn, so that no
            call finds its inputs in the cache.
        check: compares one call with the definition and gives numbers worth keeping; raises
            `WrongResultError`.
        flops: of one call, as the mathematics needs them.
        bytes: of one call: every input read once, every output written once.
        elements: scores of one call; 0 where there are none.
        frames: that one call draws or reads; 0 where it does neither.
        tokens: that one call trains on; 0 where it does not train.
        steps: environment steps that one call decides, of all lanes; 0 where it decides none.
        memory: a call whose memory is told; none: nobody asks. What a CUDA graph uses is not seen
            when it is replayed, so there it is the same work without one.
        capture: whether short calls may be recorded in a CUDA graph to time them.
    """

    calls: Sequence[Callable[[], object]]
    check: Callable[[], Mapping[str, float]]
    flops: float = 0.0
    bytes: float = 0.0
    elements: float = 0.0
    frames: float = 0.0
    tokens: float = 0.0
    steps: float = 0.0
    memory: Callable[[], object] | None = None
    capture: bool = True


@dataclass(frozen=True)
class Case:
    """What is timed.

    Attributes:
        key: names it among the cases of its section; the columns of the table.
        prepare: makes it ready on a card; may raise `UnsupportedError`.
        depends: what makes its measurement stale, one of `sources.KINDS`; "": torch alone.
    """

    key: Mapping[str, Value]
    prepare: Callable[[Card], Work] = field(compare=False)
    depends: str = "kernels"

    @property
    def name(self) -> str:
        """The key on one line."""
        return " ".join(f"{value}" if name == "op" else f"{name}={value}"
                        for name, value in self.key.items())  # fmt: skip

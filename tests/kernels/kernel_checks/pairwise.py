"""Few cases that still hold every pair of values of any two factors.

Most faults need one or two circumstances at once (an odd length and a window; grouped heads and a
stride). A pairwise cover meets each such pair with a tenth or a hundredth of all combinations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from typing import Any

Case = dict[str, Any]


def pairwise(
    factors: Mapping[str, Sequence[Any]],
    *,
    allowed: Callable[[Case], bool] = lambda case: True,
) -> list[Case]:
    """Cases in which every pair of values that any allowed case holds occurs at least once.

    Greedy: each case is the combination that covers most of the pairs still missing, the first of
    equals, so that the list is the same every time.

    Args:
        factors: name -> values.
        allowed: whether a combination can be asked for at all.
    """
    names = list(factors)
    everything = [
        case
        for values in product(*factors.values())
        if allowed(case := dict(zip(names, values, strict=True)))
    ]
    index = [{name: factors[name].index(case[name]) for name in names} for case in everything]
    pairs = [
        frozenset((a, case[a], b, case[b]) for a, b in combinations(names, 2)) for case in index
    ]
    missing = set().union(*pairs)
    chosen: list[Case] = []
    while missing:
        best = max(range(len(pairs)), key=lambda i: len(pairs[i] & missing))
        missing -= pairs[best]
        chosen.append(everything[best])
    return chosen


def label(case: Case) -> str:
    """A short name of a case, for pytest's `ids`: `length=63-dtype=bfloat16`."""
    return "-".join(f"{name}={str(value).removeprefix('torch.')}" for name, value in case.items())

"""Few cases that still hold every pair of values of any two factors.

Most faults need one or two circumstances at once (an odd length and a window; grouped heads and a
stride). A pairwise cover meets each such pair with a tenth or a hundredth of all combinations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np

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
    names, levels = list(factors), [range(len(values)) for values in factors.values()]
    everything, places = [], []
    for place, values in zip(product(*levels), product(*factors.values()), strict=True):
        case = dict(zip(names, values, strict=True))
        if allowed(case):
            everything.append(case)
            places.append(place)
    # A number for every pair of values of two factors, [cases, pairs of factors].
    place_of = np.array(places)
    most = max(len(level) for level in levels)
    pairs = np.stack(
        [
            (number * most + place_of[:, a]) * most + place_of[:, b]
            for number, (a, b) in enumerate(combinations(range(len(names)), 2))
        ],
        axis=1,
    )
    missing = np.zeros(pairs.max() + 1, dtype=bool)
    missing[pairs] = True
    chosen: list[Case] = []
    while missing.any():
        best = int(missing[pairs].sum(axis=1).argmax())  # the first of equals
        missing[pairs[best]] = False
        chosen.append(everything[best])
    return chosen


def label(case: Case) -> str:
    """A short name of a case, for pytest's `ids`: `length=63-dtype=bfloat16`."""
    return "-".join(f"{name}={str(value).removeprefix('torch.')}" for name, value in case.items())

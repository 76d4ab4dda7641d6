"""Whether the numbers in a shard make sense together: the same rules when it is written and when it
is read.

H histories, S steps (of the longest), E episodes (of the longest).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adbench.history.schema import FieldRecord, axis_of


def boundaries_problem(episode_end: np.ndarray, length: np.ndarray, steps: int) -> str | None:
    """What is wrong with episode boundaries, in words; none if they are sound.

    Args:
        episode_end: exclusive step index of each episode's end, padded with -1, int32 [H, E].
        length: steps of each history, int32 [H].
        steps: S.
    """
    if length.min() < 1 or length.max() > steps:
        return f"length runs from {length.min()} to {length.max()}, expected 1 to {steps}"
    real = episode_end >= 0
    if not real[:, 0].all():
        return f"history {int(np.argmin(real[:, 0]))} has no episode"
    if (real[:, 1:] & ~real[:, :-1]).any() or episode_end.min() < -1:
        return "episode_end has a gap; after a history's last episode there must be -1 only"
    grows = np.diff(episode_end, axis=1, prepend=0) > 0
    if (real & ~grows).any():
        history = int(np.argmax((real & ~grows).any(1)))
        return f"episode_end of history {history} does not increase"
    if (episode_end.max(1) > length).any():
        history = int(np.argmax(episode_end.max(1) > length))
        return f"episode_end of history {history} is past its length {length[history]}"
    return None


def values_problem(
    arrays: Mapping[str, np.ndarray], fields: Mapping[str, FieldRecord]
) -> str | None:
    """What is wrong with the numbers of a shard whose boundaries are sound, in words; none if
    nothing is.

    Args:
        arrays: every field that is not compressed; name -> [H, ...].
        fields: their records.
    """
    length, episode_end = arrays["length"], arrays["episode_end"]
    steps = arrays["action"].shape[1]
    masks = {
        "step": np.arange(steps) < length[:, None],
        "episode": episode_end >= 0,
        "history": np.ones(len(length), bool),
        "sample": np.ones(len(arrays.get("sample/history", ())), bool),
    }
    for name, values in arrays.items():
        axis = axis_of(name)
        assert axis is not None
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            return f"{name} holds numbers that are not finite"
        problem = _range_problem(name, values, masks[axis], fields[name])
        if problem:
            return problem
    problem = _samples_problem(arrays)
    if problem:
        return problem
    return _flags_problem(arrays["terminated"], arrays["truncated"], episode_end, masks["step"])


def _range_problem(
    name: str, values: np.ndarray, real: np.ndarray, record: FieldRecord
) -> str | None:
    bounds = record.space.integer_range() if record.space else None
    if bounds is None or values.dtype.kind == "f":
        return None
    low, high = np.broadcast_arrays(*bounds)
    # Least and greatest first: without a temporary array, and nearly always enough.
    if low.min() == low.max() and high.min() == high.max():
        inside = bool(values.min() >= low.min() and values.max() <= high.max())
    else:
        flat = values.reshape(-1, *low.shape)
        inside = bool((flat.min(0) >= low).all() and (flat.max(0) <= high).all())
    if inside:
        return None
    # Padding may hold anything.
    real = real.reshape(real.shape + (1,) * (values.ndim - real.ndim))
    outside = ((values < low) | (values > high)) & real
    if not outside.any():
        return None
    got = values[outside].flat[0]
    return f"{name} holds {got}, expected {int(low.min())} to {int(high.max())}"


def _samples_problem(arrays: Mapping[str, np.ndarray]) -> str | None:
    """What is wrong with where sample frames were drawn; they are steps of histories."""
    if "sample/history" not in arrays:
        return None
    history, step, length = arrays["sample/history"], arrays["sample/step"], arrays["length"]
    if history.min() < 0 or history.max() >= len(length):
        return (
            f"sample/history holds {history.min()} to {history.max()}, not 0 to {len(length) - 1}"
        )
    outside = (step < 0) | (step >= length[history])
    if outside.any():
        at = int(np.argmax(outside))
        return (
            f"sample {at} is step {step[at]} of history {history[at]}, which has "
            f"{length[history[at]]}"
        )
    return None


def _flags_problem(
    terminated: np.ndarray, truncated: np.ndarray, episode_end: np.ndarray, real: np.ndarray
) -> str | None:
    if terminated.max() > 1 or truncated.max() > 1:
        return "terminated or truncated holds something other than 0 and 1"
    ends = np.zeros_like(real)
    history, episode = np.nonzero(episode_end >= 0)
    ends[history, episode_end[history, episode] - 1] = True
    flagged = ((terminated | truncated) != 0) & real
    if (flagged != ends).any():
        where = tuple(int(i) for i in np.argwhere(flagged != ends)[0])
        return (
            f"history {where[0]}, step {where[1]}: episode_end says that an episode "
            f"{'ends' if ends[where] else 'goes on'} here, terminated and truncated say the "
            "opposite"
        )
    return None

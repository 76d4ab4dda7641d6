"""Histories for tests: small, random, with episodes of unequal length that end in both ways."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

Arrays = dict[str, np.ndarray]


def history_arrays(
    episode_lengths: Sequence[Sequence[int]],
    *,
    seed: int = 0,
    dict_space: bool = False,
    states: bool = False,
) -> Arrays:
    """Arrays of one shard whose histories have episodes of these lengths; with `states` they hold
    those, and sample frames, in the place of observations."""
    rng = np.random.default_rng(seed)
    num_histories = len(episode_lengths)
    num_episodes = max(len(lengths) for lengths in episode_lengths)
    steps = max(sum(lengths) for lengths in episode_lengths) + 3
    episode_end = np.full((num_histories, num_episodes), -1)
    terminated = np.zeros((num_histories, steps), bool)
    truncated = np.zeros_like(terminated)
    for history, lengths in enumerate(episode_lengths):
        ends = np.cumsum(lengths)
        episode_end[history, : len(ends)] = ends
        by_task = rng.random(len(ends)) < 0.5
        terminated[history, ends - 1] = by_task
        truncated[history, ends - 1] = ~by_task
    arrays: Arrays = {
        "action": rng.integers(0, 5, (num_histories, steps)),
        "reward": rng.normal(size=(num_histories, steps)).astype(np.float32),
        "terminated": terminated,
        "truncated": truncated,
        "episode_end": episode_end,
        "length": np.array([sum(lengths) for lengths in episode_lengths]),
        "task": rng.integers(0, 3, (num_histories, 2)),
        "learner_seed": rng.integers(0, 2**63, num_histories, dtype=np.uint64),
        "actor": np.arange(num_histories) % 2,
        "state/pose": rng.normal(size=(num_histories, steps, 3)).astype(np.float32),
    }
    if states:
        arrays |= _states(rng, arrays["length"], num_episodes, steps)
        return arrays
    for name, axis in (("observation", steps), ("final_observation", num_episodes)):
        if dict_space:
            arrays[f"{name}/cell"] = rng.integers(0, 9, (num_histories, axis, 2))
            arrays[f"{name}/scent"] = rng.normal(size=(num_histories, axis, 4))
        else:
            arrays[name] = rng.integers(0, 9, (num_histories, axis, 2))
    return arrays


def _states(rng: np.random.Generator, length: np.ndarray, num_episodes: int, steps: int) -> Arrays:
    shape = (len(length), num_episodes)
    history = np.arange(5) % len(length)
    return {
        "state/held": rng.random((len(length), steps)) < 0.5,
        "final_state/pose": rng.normal(size=(*shape, 3)).astype(np.float32),
        "final_state/held": rng.random(shape) < 0.5,
        "sample/frame": rng.integers(0, 256, (5, 4, 6, 3), np.uint8),
        "sample/history": history,
        "sample/step": (rng.random(5) * length[history]).astype(np.int32),
    }


def random_lengths(seed: int, histories: int, episodes: int = 8) -> list[list[int]]:
    """Episode lengths 1 to 7, between 2 and `episodes` of them a history."""
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 8, rng.integers(2, episodes + 1)).tolist() for _ in range(histories)]


def shard_meta(*, dict_space: bool = False, states: bool = False, **changes: Any) -> Any:
    """Where the histories of `history_arrays` come from."""
    from adbench.history.schema import Renderer, ShardMeta
    from adbench.history.spaces import spaces_of

    cell = gymnasium.spaces.MultiDiscrete([9, 9])
    scent = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    space = gymnasium.spaces.Dict({"cell": cell, "scent": scent}) if dict_space else cell
    given = {
        "env": "grid", "env_version": 3, "split": "train", "source": "q-lambda",
        "source_config": {"trace": 0.9, "decay": None}, "seed": 7, "learners": 2, "actors": 2,
        "spaces": spaces_of(space, gymnasium.spaces.Discrete(5)),
    }  # fmt: skip
    if states:
        given["renderer"] = Renderer(
            name="chalk", samples=1, height=4, width=6, world_version=2, device="cpu"
        )
    return ShardMeta(**{**given, **changes})


@pytest.fixture
def write_histories(tmp_path: Path) -> Callable[..., tuple[Path, list[Arrays]]]:
    """Writes shards of random histories; gives the folder and each shard's arrays."""

    def write(
        *, shards: int = 2, histories: int = 4, episodes: int = 8, name: str = "histories",
        dict_space: bool = False, states: bool = False, seed: int = 0, **meta: Any,
    ) -> tuple[Path, list[Arrays]]:  # fmt: skip
        from adbench.history.writer import write_shard

        folder = tmp_path / name
        written = []
        for index in range(shards):
            key = 100 * seed + index
            lengths = random_lengths(key, histories, episodes)
            kind = {"dict_space": dict_space, "states": states}
            arrays = history_arrays(lengths, seed=key, **kind)
            write_shard(folder, index, arrays, shard_meta(**kind, **meta))
            written.append(arrays)
        return folder, written

    return write


@pytest.fixture
def arrays_of() -> Callable[..., Arrays]:
    """`history_arrays`, for tests that change something in them."""
    return history_arrays


@pytest.fixture
def meta_of() -> Callable[..., Any]:
    """`shard_meta`, for tests that change something in it."""
    return shard_meta


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a distribution on the path: its name, its entry points, and modules as text."""

    def put(
        name: str,
        entry_points: str,
        *,
        version: str = "1.0",
        metadata: str = "dist-info",
        where: str = "site",
        **modules: str,
    ) -> None:
        site = tmp_path / where
        folder = site / f"{name.replace('-', '_')}-{version}.{metadata}"
        folder.mkdir(parents=True)
        kind = "METADATA" if metadata == "dist-info" else "PKG-INFO"
        (folder / kind).write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (folder / "entry_points.txt").write_text(entry_points)
        for module, text in modules.items():
            (site / f"{module}.py").write_text(text)
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.syspath_prepend(str(site))

    return put

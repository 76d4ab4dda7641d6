"""Training rows against their definition: one loop over episodes, token by token."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from adbench.errors import CheckpointError, TrainingError
from adbench.history.reader import HistoryStore
from adbench.history.sampler import WindowSampler
from adbench.history.sequences import learning_part
from adbench.history.spaces import spaces_of
from adbench.history.writer import write_shard
from adbench.tokens import NO_ACTION, RUNNING, TERMINATED, TRUNCATED, Tokens

Make = Callable[..., Any]
Token = tuple[Any, ...]


def defined_tokens(store: HistoryStore, history: int, episodes: list[int]) -> list[Token]:
    """Tokens of episodes: (observation, previous action, previous reward, ending, action)."""
    tokens: list[Token] = []
    for number in episodes:
        episode = store.episode(history, number)
        action, reward = NO_ACTION, 0.0
        for step in range(len(episode["action"])):
            seen = tuple(episode["observation"][step].tolist())
            chosen = int(episode["action"][step])
            tokens.append((seen, action, reward, RUNNING, chosen))
            action, reward = chosen, float(episode["reward"][step])
        ending = TERMINATED if episode["terminated"][-1] else TRUNCATED
        seen = tuple(episode["final_observation"].tolist())
        tokens.append((seen, action, reward, ending, NO_ACTION))
    return tokens


def row_tokens(tokens: Tokens, row: int) -> list[Token]:
    """A row's real tokens, in the form of `defined_tokens`; checks that the rest is padding."""
    count = int(tokens.valid[row].sum())
    assert tokens.valid[row, :count].all()
    assert (tokens.action[row, count:] == NO_ACTION).all()
    assert not tokens.asks[row, count:].any()
    assert isinstance(tokens.observation, torch.Tensor)
    return [
        (
            tuple(tokens.observation[row, i].tolist()),
            int(tokens.previous_action[row, i]),
            float(tokens.previous_reward[row, i]),
            int(tokens.ending[row, i]),
            int(tokens.action[row, i]),
        )
        for i in range(count)
    ]


def place_of(row: list[Token], sequences: dict[int, list[Token]]) -> tuple[int, int]:
    """Which history a row is a stretch of, and where it begins; fails if there is none."""
    for history, sequence in sequences.items():
        for offset in range(len(sequence) - len(row) + 1):
            if sequence[offset : offset + len(row)] == row:
                return history, offset
    raise AssertionError("the row is no stretch of any history")


@pytest.mark.parametrize("row_steps", [1, 2, 7, 63, 129])
@pytest.mark.parametrize("subsample", [1, 2, 3])
@pytest.mark.parametrize("learning_episodes", [None, 5])
def test_a_row_is_a_stretch_of_one_history(
    row_steps: int, subsample: int, learning_episodes: int | None, write_histories: Make
) -> None:
    folder, _ = write_histories(shards=3, histories=5, episodes=12)
    store = HistoryStore.open(folder)
    sampler = WindowSampler(
        store,
        row_steps=row_steps,
        subsample=subsample,
        learning_episodes=learning_episodes,
        seed=1,
        label="ad",
    )
    sequences = {}
    for history in range(store.num_histories):
        count = len(store.episode_ends(history))
        kept = range(count if learning_episodes is None else min(count, learning_episodes))
        episodes = [e for e in kept if (e + 1) % subsample == 0]
        if episodes:
            sequences[history] = defined_tokens(store, history, episodes)
    assert sampler.histories.tolist() == list(sequences)
    assert sampler.tokens_available == sum(len(sequence) for sequence in sequences.values())
    for _ in range(3):
        batch = sampler.batch(8)
        assert batch.shape == (8, row_steps)
        for row in range(8):
            tokens = row_tokens(batch, row)
            history, offset = place_of(tokens, sequences)
            if len(tokens) < row_steps:
                assert (offset, len(tokens)) == (0, len(sequences[history]))


def test_reward_on_last_steps_is_found_in_the_window(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    arrays = arrays_of([[3, 1, 4], [2, 2, 5]])
    arrays["reward"][:] = 0.0
    for history, ends in enumerate(arrays["episode_end"]):
        arrays["reward"][history, ends - 1] = [1.0, 2.0, 3.0]
    write_shard(tmp_path, 0, arrays, meta_of())
    sampler = WindowSampler(HistoryStore.open(tmp_path), row_steps=12, seed=0, label="ad")
    batch = sampler.batch(16)
    finals = batch.ending != RUNNING
    assert sorted(set(batch.previous_reward[finals].tolist())) == [1.0, 2.0, 3.0]
    assert batch.previous_reward[~finals].abs().sum() == 0.0
    whole = batch.valid.all(1) & batch.first[:, 0]
    assert (
        (batch.previous_reward[whole].sum(1) == 6.0).sum() == (finals[whole].sum(1) == 3).sum() > 0
    )


def test_an_episode_of_n_steps_makes_n_plus_one_tokens_and_asks_for_n_actions(
    write_histories: Make,
) -> None:
    folder, _ = write_histories()
    store = HistoryStore.open(folder)
    sampler = WindowSampler(store, row_steps=400, seed=0, label="ad")
    batch = sampler.batch(20)
    starts = (~batch.valid).sum(1)
    assert (starts > 0).all(), "every history fits a row"
    episodes = (batch.ending != RUNNING).sum(1)
    assert torch.equal(batch.first.sum(1), episodes)
    assert torch.equal(batch.asks.sum(1) + episodes, batch.valid.sum(1))
    follows = batch.valid[:, 1:] & (batch.ending[:, :-1] != RUNNING)
    assert torch.equal(batch.first[:, 1:], follows)


def test_tokens_have_the_types_that_the_model_reads(write_histories: Make) -> None:
    folder, written = write_histories(dict_space=True)
    store = HistoryStore.open(folder)
    batch = WindowSampler(store, row_steps=6, seed=0, label="ad").batch(3)
    assert isinstance(batch.observation, dict)
    assert batch.observation["cell"].dtype == torch.int64
    assert batch.observation["scent"].dtype == torch.float32
    assert batch.observation["scent"].shape == (3, 6, 4)
    assert (batch.action.dtype, batch.previous_action.dtype) == (torch.int64, torch.int64)
    assert (batch.previous_reward.dtype, batch.ending.dtype) == (torch.float32, torch.uint8)
    assert batch.valid.dtype == torch.bool
    whole = WindowSampler(store, row_steps=200, seed=0, label="ad", start_at_beginning=1.0).batch(1)
    assert isinstance(whole.observation, dict)
    ended = int((whole.ending[0] != RUNNING).nonzero()[0])
    cells = {tuple(a["final_observation/cell"][h, 0]) for a in written for h in range(4)}
    assert tuple(whole.observation["cell"][0, ended].tolist()) in cells


def test_frames_reach_the_tokens_bit_for_bit(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    pytest.importorskip("hdf5plugin")
    arrays = arrays_of([[3, 1, 4, 2], [2, 2, 5, 1]])
    for name in ("action", "reward", "terminated", "truncated", "state/pose"):
        arrays[name] = arrays[name][:, :10]  # no padding: one history's end meets the next's start
    image = gymnasium.spaces.Box(0, 255, (2, 3, 3), np.uint8)
    spaces = spaces_of(image, gymnasium.spaces.Discrete(5))
    rng = np.random.default_rng(0)
    steps, episodes = arrays["action"].shape[1], 4
    arrays["frame"] = rng.integers(0, 256, (2, steps, 2, 3, 3), np.uint8)
    arrays["final_observation"] = rng.integers(0, 256, (2, episodes, 2, 3, 3), np.uint8)
    del arrays["observation"]
    write_shard(tmp_path, 0, arrays, meta_of(spaces={**spaces, "frame": spaces["observation"]}))
    store = HistoryStore.open(tmp_path)
    sampler = WindowSampler(
        store, row_steps=30, subsample=2, seed=0, label="ad", start_at_beginning=1.0
    )
    batch = sampler.batch(6)
    assert isinstance(batch.observation, torch.Tensor)
    assert batch.observation.dtype == torch.uint8
    expected = []
    for history in (0, 1):
        pieces = []
        for number in (1, 3):
            episode = store.episode(history, number)
            pieces += [*episode["frame"], episode["final_observation"]]
        expected.append(torch.stack(pieces))
    for row in range(6):
        frames = batch.observation[row, batch.valid[row]]
        assert any(torch.equal(frames, sequence) for sequence in expected)


@pytest.mark.parametrize(
    ("episodes", "learning", "k", "kept"),
    [
        (10, None, 1, list(range(10))),
        (10, None, 3, [2, 5, 8]),
        (10, 6, 3, [2, 5]),
        (10, 100, 5, [4, 9]),
        (10, 2, 3, []),
    ],
)
def test_every_kth_episode_of_the_learning_part_is_kept(
    episodes: int, learning: int | None, k: int, kept: list[int]
) -> None:
    assert learning_part(episodes, learning, k).tolist() == kept


def first_rewards(sampler: WindowSampler, batches: int, rows: int) -> list[float]:
    """What identifies the first token of each row: the second token's previous reward is unique."""
    return [
        float(reward)
        for _ in range(batches)
        for reward in sampler.batch(rows).previous_reward[:, 1]
    ]


def one_history(arrays_of: Make, meta_of: Make, folder: Path, steps: int = 20) -> HistoryStore:
    arrays = arrays_of([[steps]])
    arrays["reward"] = np.arange(1, steps + 4, dtype=np.float32)[None]
    write_shard(folder, 0, arrays, meta_of())
    return HistoryStore.open(folder)


def test_rows_begin_where_evaluation_does_as_often_as_asked_and_anywhere_else_alike(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    store = one_history(arrays_of, meta_of, tmp_path)  # 21 tokens: 17 full rows of 5
    sampler = WindowSampler(store, row_steps=5, seed=0, label="ad", start_at_beginning=0.3)
    counts = Counter(int(reward) - 1 for reward in first_rewards(sampler, 40, 100))
    assert sorted(counts) == list(range(17))
    # Binomial deviations: 5 standard deviations, so that only a wrong rule fails.
    for start, count in counts.items():
        share = 0.7 / 17 + (0.3 if start == 0 else 0.0)
        deviation = (4000 * share * (1 - share)) ** 0.5
        assert abs(count - 4000 * share) < 5 * deviation


def test_rows_can_all_begin_at_the_beginning(write_histories: Make) -> None:
    folder, _ = write_histories()
    store = HistoryStore.open(folder)
    sampler = WindowSampler(store, row_steps=4, seed=0, label="ad", start_at_beginning=1.0)
    assert sampler.batch(64).first[:, 0].all()


def test_histories_are_drawn_alike_whatever_their_length(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    arrays = arrays_of([[2] * 30, [2] * 3, [2] * 3])
    arrays["reward"][:] = np.arange(1, 4, dtype=np.float32)[:, None]
    write_shard(tmp_path, 0, arrays, meta_of())
    sampler = WindowSampler(HistoryStore.open(tmp_path), row_steps=4, seed=0, label="ad")
    rewards = torch.cat([sampler.batch(100).previous_reward.amax(1) for _ in range(30)])
    for value in (1.0, 2.0, 3.0):
        assert abs(int((rewards == value).sum()) - 1000) < 5 * (3000 * 2 / 9) ** 0.5


def equal(one: Tokens, other: Tokens) -> bool:
    return all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in (
            "observation",
            "previous_action",
            "previous_reward",
            "ending",
            "action",
            "valid",
        )
    )


def test_equal_seeds_and_labels_give_equal_rows_and_others_do_not(write_histories: Make) -> None:
    folder, _ = write_histories()
    store = HistoryStore.open(folder)

    def third(seed: int, label: str) -> Tokens:
        sampler = WindowSampler(store, row_steps=9, seed=seed, label=label)
        return [sampler.batch(16) for _ in range(3)][2]

    assert equal(third(0, "ad"), third(0, "ad"))
    assert not equal(third(0, "ad"), third(1, "ad"))
    assert not equal(third(0, "ad"), third(0, "ed"))


def test_a_sampler_resumes_where_it_was(write_histories: Make) -> None:
    folder, _ = write_histories()
    store = HistoryStore.open(folder)
    undisturbed = WindowSampler(store, row_steps=9, seed=0, label="ad")
    for _ in range(5):
        undisturbed.batch(4)
    state = json.loads(json.dumps(undisturbed.state_dict()))
    resumed = WindowSampler(HistoryStore.open(folder), row_steps=9, seed=0, label="ad")
    resumed.load_state_dict(state)
    for _ in range(3):
        assert equal(resumed.batch(4), undisturbed.batch(4))


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", 1), ("label", "ed"), ("histories", "other"), ("batches", -1), ("batches", "3"),
     ("batches", True), ("batches", None)],
)  # fmt: skip
def test_a_state_of_other_rows_is_refused(name: str, value: object, write_histories: Make) -> None:
    folder, _ = write_histories()
    sampler = WindowSampler(HistoryStore.open(folder), row_steps=9, seed=0, label="ad")
    with pytest.raises(CheckpointError):
        sampler.load_state_dict({**sampler.state_dict(), name: value})
    with pytest.raises(CheckpointError):
        sampler.load_state_dict({})


def test_losing_a_shard_between_two_sessions_does_not_go_unnoticed(write_histories: Make) -> None:
    folder, _ = write_histories()
    state = WindowSampler(HistoryStore.open(folder), row_steps=9, seed=0, label="ad").state_dict()
    (folder / "shard-00001.h5").write_bytes(b"")
    sampler = WindowSampler(HistoryStore.open(folder), row_steps=9, seed=0, label="ad")
    with pytest.raises(CheckpointError, match="histories"):
        sampler.load_state_dict(state)


def test_shuffled_histories_have_the_same_episodes_in_one_other_order(
    write_histories: Make,
) -> None:
    folder, _ = write_histories(histories=6, episodes=14)
    store = HistoryStore.open(folder)

    def whole_rows(shuffled: bool, label: str, batches: int) -> dict[Any, set[tuple[Token, ...]]]:
        sampler = WindowSampler(
            store, row_steps=150, subsample=2, shuffle_episodes=shuffled, seed=0, label=label,
            start_at_beginning=1.0,
        )  # fmt: skip
        rows: dict[tuple[Token, ...], set[tuple[Token, ...]]] = {}
        for _ in range(batches):
            batch = sampler.batch(8)
            for row in range(8):
                tokens = tuple(row_tokens(batch, row))
                rows.setdefault(tuple(sorted(tokens)), set()).add(tokens)
        return rows

    straight, shuffled = whole_rows(False, "ad", 20), whole_rows(True, "ad-shuffled", 20)
    assert set(straight) == set(shuffled), "the same tokens"
    assert all(len(orders) == 1 for orders in shuffled.values()), "one order a history"
    moved = sum(straight[key] != shuffled[key] for key in straight)
    assert moved > len(straight) // 2
    again = whole_rows(True, "ad-shuffled", 20)
    assert again == shuffled


def test_shuffling_does_not_change_how_much_is_trained_on(write_histories: Make) -> None:
    folder, _ = write_histories()
    store = HistoryStore.open(folder)
    stats = [
        WindowSampler(
            store, row_steps=9, subsample=2, shuffle_episodes=shuffled, seed=0, label="ad"
        ).stats()
        for shuffled in (False, True)
    ]
    assert stats[0] == stats[1]


def expert_store(arrays_of: Make, meta_of: Make, folder: Path, scale: float = 1.0) -> HistoryStore:
    """Three histories of four one-step episodes: last two return 8 and 10, 10 and 10, 2 and 2."""
    arrays = arrays_of([[1, 1, 1, 1]] * 3)
    arrays["reward"][:, :4] = scale * np.array([[0, 0, 8, 10], [0, 0, 10, 10], [0, 9, 2, 2]])
    arrays["task"] = np.array([[0, 0], [0, 0], [1, 1]])
    write_shard(folder, 0, arrays, meta_of())
    return HistoryStore.open(folder)


@pytest.mark.parametrize(
    ("share", "optimal", "chosen"),
    [
        (0.9, [10.0, 10.0, 10.0], [0, 1]),
        (0.91, [10.0, 10.0, 10.0], [1]),
        (1.0, [10.0, 10.0, 10.0], [1]),
        (0.9, [10.0, 20.0, 2.0], [0, 2]),
        (0.9, None, [0, 1, 2]),
        (0.95, None, [1, 2]),
    ],
)
def test_experts_are_histories_whose_last_episodes_come_near_the_optimum(
    share: float, optimal: list[float] | None, chosen: list[int],
    arrays_of: Make, meta_of: Make, tmp_path: Path,
) -> None:  # fmt: skip
    store = expert_store(arrays_of, meta_of, tmp_path)
    sampler = WindowSampler(
        store, row_steps=9, episodes="expert", expert_episodes=2, expert_share=share, subsample=3,
        optimal=None if optimal is None else torch.tensor(optimal), seed=0, label="ed",
    )  # fmt: skip
    assert sampler.histories.tolist() == chosen
    assert sampler.stats()["episodes"] == 2 * len(chosen), "the last ones, unsubsampled"
    sequences = {history: defined_tokens(store, history, [2, 3]) for history in chosen}
    batch = sampler.batch(10)
    assert {place_of(row_tokens(batch, row), sequences)[0] for row in range(10)} <= set(chosen)


def test_nearness_to_an_optimum_below_zero_counts_downwards(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    store = expert_store(arrays_of, meta_of, tmp_path, scale=-1.0)  # means -9, -10, -2
    sampler = WindowSampler(
        store, row_steps=9, episodes="expert", expert_episodes=2, optimal=torch.full((3,), -8.5),
        expert_share=0.9, seed=0, label="ed",
    )  # fmt: skip
    assert sampler.histories.tolist() == [0, 2], "-9.35 is reached by -9 and -2"


def test_without_experts_the_error_has_the_numbers(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    store = expert_store(arrays_of, meta_of, tmp_path)
    with pytest.raises(TrainingError, match=r"of 3.*4 episodes.*2 last episodes.*90%.*50\.0%"):
        WindowSampler(
            store,
            row_steps=9,
            episodes="expert",
            expert_episodes=2,
            optimal=torch.full((3,), 20.0),
            seed=0,
            label="ed",
        )
    with pytest.raises(TrainingError, match="none has 5 last episodes"):
        WindowSampler(store, row_steps=9, episodes="expert", expert_episodes=5, seed=0, label="ed")


def test_where_subsampling_leaves_nothing_the_error_has_the_numbers(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    store = expert_store(arrays_of, meta_of, tmp_path)
    with pytest.raises(TrainingError, match=r"'ad'.*4 episodes.*one in 5 of the first 4 episodes"):
        WindowSampler(store, row_steps=9, subsample=5, learning_episodes=4, seed=0, label="ad")


def test_histories_without_observations_cannot_be_trained_on(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    arrays = {k: v for k, v in arrays_of([[2, 3]]).items() if "observation" not in k}
    write_shard(tmp_path, 0, arrays, meta_of(spaces={"action": meta_of().spaces["action"]}))
    with pytest.raises(TrainingError, match="states without observations"):
        WindowSampler(HistoryStore.open(tmp_path), row_steps=9, seed=0, label="ad")


def test_a_subset_of_the_actors_can_be_distilled(write_histories: Make) -> None:
    folder, _ = write_histories()
    store = HistoryStore.open(folder)
    sampler = WindowSampler(store, row_steps=9, kept_actors=1, seed=0, label="ad")
    assert sampler.histories.tolist() == [0, 2, 4, 6]
    assert (store.actor[sampler.histories] == 0).all()


def test_stats_count_what_rows_are_made_of(arrays_of: Make, meta_of: Make, tmp_path: Path) -> None:
    arrays = arrays_of([[3, 1, 4, 2], [2, 2]])
    arrays["task"] = np.array([[1, 2], [1, 2]])
    write_shard(tmp_path, 0, arrays, meta_of())
    sampler = WindowSampler(
        HistoryStore.open(tmp_path), row_steps=9, subsample=2, seed=0, label="ad"
    )
    assert sampler.stats() == {
        "histories": 2, "tasks": 1, "episodes": 3, "steps": 1 + 2 + 2, "tokens": 2 + 3 + 3,
        "shortest_history_tokens": 3, "longest_history_tokens": 5,
    }  # fmt: skip

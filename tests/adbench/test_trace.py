"""Traces: what a few lanes went through, as it was, in a file that is whole or refused."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adbench.errors import AdbenchError, ResultsError
from adbench.evaluate import rollout
from adbench.noise import Lanes, key_of
from adbench.policy import RandomPolicy
from adbench.trace import Recorder, Trace
from adbench_envs.key_to_door_3d import KeyToDoor3D
from adbench_envs.watermaze import WatermazeSmall

STAGE = "evaluate/test/ad"


def traced(lanes: tuple[int, ...] = (0, 3, 5), *, lanes_at_once: int = 512) -> tuple[Trace, Tensor]:
    """Random play of six lanes on three tasks, five episodes each; and all lengths."""
    family = KeyToDoor3D()
    tasks = family.tasks("test", 3, seed=0)
    recorder = Recorder(lanes, (1, 2, 5))
    played = rollout(
        RandomPolicy(), family, tasks, lanes_per_task=2, episodes=5, seed=1, stage=STAGE,
        recorder=recorder, lanes_at_once=lanes_at_once,
    )  # fmt: skip
    kept = played.tasks[played.task_index[list(lanes)]]
    return recorder.trace(kept, played.about), played.lengths[list(lanes)]


def test_a_trace_is_what_stepping_each_lane_alone_goes_through() -> None:
    trace, lengths = traced()
    family = KeyToDoor3D()
    assert trace.length.tolist() == lengths[:, [0, 1, 4]].tolist()
    for row, lane in enumerate((0, 3, 5)):
        task, number = trace.task[row : row + 1], lane % 2
        noise = Lanes(1, STAGE, task, (number,)).noise("action", 8)
        seed = int(key_of(1, STAGE, "env")[0] >> 1)
        env = family.make(task, seed=seed, lane_ids=(number,), observe="state")
        env.reset()
        states, rewards, step, episode = [env.state()], [], 0, 1
        while episode <= 5:
            _, reward, terminated, truncated, info = env.step(noise.gumbel_at(step).argmax(-1))
            step += 1
            rewards.append(float(reward))
            if not bool(terminated | truncated):
                states.append(env.state())
                continue
            states.append(info["final_state"])
            if episode in (1, 2, 5):
                place = (1, 2, 5).index(episode)
                for name, values in trace.of(row, place).items():
                    assert torch.equal(values, torch.cat([state[name] for state in states]))
                assert trace.rewards(row, place).tolist() == rewards
            states, rewards, episode = [env.state()], [], episode + 1


def test_whoever_plays_beside_them_lanes_leave_the_same_trace() -> None:
    whole, _ = traced()
    in_turns, _ = traced(lanes_at_once=2)
    alone, _ = traced(lanes=(3,))
    assert torch.equal(whole.state["pose"], in_turns.state["pose"])
    assert torch.equal(whole.reward, in_turns.reward)
    for episode in range(3):
        assert torch.equal(whole.of(1, episode)["pose"], alone.of(0, episode)["pose"])


def test_watching_changes_nothing_of_what_is_played() -> None:
    family = WatermazeSmall()
    tasks = family.tasks("test", 3, seed=0)
    free, watched = (
        rollout(
            RandomPolicy(), family, tasks, lanes_per_task=2, episodes=3, seed=0, stage="x",
            recorder=recorder,
        )
        for recorder in (None, Recorder((0,), (1,)))
    )  # fmt: skip
    assert torch.equal(free.returns, watched.returns)


def test_what_is_saved_is_what_is_loaded_and_equal_traces_make_equal_files(tmp_path: Path) -> None:
    trace, _ = traced()
    trace.save(tmp_path / "deep" / "a")
    loaded = Trace.load(tmp_path / "deep" / "a", about={"env": "key-to-door-3d", "seed": 1})
    assert loaded.about == trace.about and loaded.state.keys() == {"pose", "has_key"}
    for name in ("reward", "length", "episode", "task"):
        assert torch.equal(getattr(loaded, name), getattr(trace, name))
    assert all(torch.equal(loaded.state[name], trace.state[name]) for name in trace.state)
    traced()[0].save(tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "deep" / "a").read_bytes()
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_damaged_trace_and_one_of_something_else_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "ad.trace.safetensors"
    trace, _ = traced()
    trace.save(path)
    with pytest.raises(ResultsError, match=r"ad\.trace\.safetensors.*its seed is 1, wanted 4"):
        Trace.load(path, about={"seed": 4})
    whole, drawn = path.read_bytes(), random.Random(0)
    for turn in range(60):
        damaged = bytearray(whole)
        if turn % 2:
            del damaged[drawn.randrange(len(whole)) :]
        else:
            damaged[drawn.randrange(len(whole))] ^= 1 << drawn.randrange(8)
        path.write_bytes(damaged)
        try:
            assert torch.equal(Trace.load(path).reward, trace.reward)
        except AdbenchError as error:
            assert "ad.trace.safetensors" in str(error)


def test_a_roll_out_is_no_trace(tmp_path: Path) -> None:
    family = WatermazeSmall()
    played = rollout(
        RandomPolicy(), family, family.tasks("test", 1, seed=0), lanes_per_task=1, episodes=1,
        seed=0, stage="x",
    )  # fmt: skip
    played.save(tmp_path / "x")
    with pytest.raises(ResultsError, match="of another kind"):
        Trace.load(tmp_path / "x")


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("length", torch.zeros(3, 3, dtype=torch.int32), "no steps"),
        ("length", torch.ones(3, 3), "not int32"),
        ("reward", torch.zeros(3, 2, 50), "rewards are"),
        ("episode", torch.ones(2), "episode is"),
        ("state", {"pose": torch.zeros(3, 3, 7, 3)}, "state 'pose' is"),
    ],
)
def test_a_trace_checks_itself(field: str, value: Tensor, says: str) -> None:
    trace, _ = traced()
    with pytest.raises(ResultsError, match=says):
        Trace(**{**vars(trace), field: value})

"""Histories of states are the histories of frames, and say so when they look otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adbench import plugins
from adbench.collect import collect
from adbench.config import CollectConfig, RunConfig, Scalar, SourceConfig, TasksConfig
from adbench.errors import ConfigError, HistoryError, ResourceError
from adbench.folder import RunFolder
from adbench.history.drift import CLOSE, Drift, Parity, drifts
from adbench.history.frames import RowFrames, renderer_of
from adbench.history.reader import HistoryStore
from adbench.history.sampler import WindowSampler
from adbench.history.schema import Renderer
from adbench.stages import train as train_stage
from adbench.stages.work import Work
from adbench.task import TaskFamily
from adbench.tokens import Tokens

ENV = "watermaze-small"
SIZE: dict[str, Scalar] = {"height": 12, "width": 20}
CPU = torch.device("cpu")


def run(env: str = ENV, *, store_frames: bool = False, **changes: Any) -> RunConfig:
    rules = CollectConfig(
        learners_per_task=2, episodes=4, expert_episodes=2, max_episodes=9, expert_share=0.01,
        store_frames=store_frames,
    )  # fmt: skip
    given = {
        "env": env, "device": "cpu", "env_settings": SIZE, "source": SourceConfig(name="q-lambda"),
        "tasks": TasksConfig(train=4, validation=2, test=2), "collect": rules,
    }  # fmt: skip
    return RunConfig(**{**given, **changes})


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("states")
    collect(run(), seed=3, folder=folder)
    return folder


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hdf5plugin")
    folder = tmp_path_factory.mktemp("frames")
    collect(run(store_frames=True), seed=3, folder=folder)
    return folder


def family_of(config: RunConfig) -> Callable[[Renderer], TaskFamily]:
    return lambda drawn: plugins.family_of(config)


def test_histories_of_a_world_that_draws_itself_hold_states_and_sixteen_samples_a_shard(
    states: Path,
) -> None:
    store = HistoryStore.open(states, env=ENV)
    assert not store.damaged and len(store.shards) == 8
    assert {"state/pose", "final_state/pose"} <= set(store.fields)
    assert not any("observation" in name or name == "frame" for name in store.fields)
    family = plugins.family_of(run())
    for line in store.manifest:
        assert line.fields["sample/frame"].shape == (16, 12, 20, 3)
        assert line.renderer == renderer_of(family, CPU)
    for shard in store.shards:
        places = zip(shard.arrays["sample/history"], shard.arrays["sample/step"], strict=True)
        assert len(set(places)) == 16


def test_nothing_but_the_samples_is_drawn_where_the_source_does_not_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    kind = type(plugins.family(ENV))
    plain = kind.render_state

    def render(self: Any, state: dict[str, Tensor]) -> Tensor:
        drawn.append(len(state["pose"]))
        return plain(self, state)

    monkeypatch.setattr(kind, "render_state", render)
    collect(run(), seed=3, folder=tmp_path)
    assert drawn == [16] * 8


@pytest.mark.parametrize("label", ["ad", "ed", "ad-shuffled"])
def test_frames_drawn_from_states_are_those_that_were_stored_bit_for_bit(
    states: Path, frames: Path, label: str
) -> None:
    batches = []
    for folder in (states, frames):
        store = HistoryStore.open(folder)
        expert: dict[str, Any] = {"episodes": "expert", "expert_episodes": 2, "expert_share": 0.01}
        sampler = WindowSampler(
            store, row_steps=110, seed=0, label=label, shuffle_episodes=label == "ad-shuffled",
            learning_episodes=4, **(expert if label == "ed" else {}),
        )  # fmt: skip
        assert sampler.holds_states == (folder == states)
        tokens = sampler.batch(9)
        if sampler.holds_states:
            tokens = RowFrames(plugins.family_of(run()), store.tasks)(tokens, CPU)
        batches.append(tokens)
    drawn, stored = batches
    for name in ("previous_action", "previous_reward", "ending", "action", "valid"):
        assert torch.equal(getattr(drawn, name), getattr(stored, name))
    assert isinstance(drawn.observation, Tensor) and isinstance(stored.observation, Tensor)
    assert drawn.observation.shape == (9, 110, 12, 20, 3)
    assert drawn.observation.dtype == torch.uint8
    assert torch.equal(drawn.observation, stored.observation)
    padding = ~drawn.valid
    assert padding.any() and not drawn.observation[padding].any()
    assert drawn.observation[drawn.ending > 0].any()  # final observations are drawn too


@pytest.mark.parametrize("env", ["four-boxes", "key-to-door-3d", "radial-arm", "dark-room-3d"])
def test_what_else_a_state_holds_is_drawn_as_the_agent_saw_it(env: str, tmp_path: Path) -> None:
    pytest.importorskip("hdf5plugin")
    rules = CollectConfig(
        learners_per_task=1, episodes=2, expert_episodes=0, max_episodes=2, store_frames=True
    )
    config = run(env, collect=rules, tasks=TasksConfig(train=3, validation=2, test=2))
    collect(config, seed=0, folder=tmp_path)
    store = HistoryStore.open(tmp_path)
    drawer = RowFrames(plugins.family_of(config), store.tasks)
    for history in range(store.num_histories):
        window = store.window(history, 0, int(store.lengths[history]))
        held = {n.removeprefix("state/"): v for n, v in window.items() if n.startswith("state/")}
        assert torch.equal(drawer.draw(held), window["frame"])


def test_states_are_the_same_whatever_the_size_of_the_frames(states: Path, tmp_path: Path) -> None:
    other = run(env_settings={"height": 16, "width": 16, "samples": 4})
    before = {path: path.stat().st_mtime_ns for path in states.iterdir()}
    collect(other, seed=3, folder=states)
    assert {path: path.stat().st_mtime_ns for path in states.iterdir()} == before
    collect(other, seed=3, folder=tmp_path)
    here, there = (HistoryStore.open(folder) for folder in (states, tmp_path))
    for one, two in zip(here.shards, there.shards, strict=True):
        for name, values in one.arrays.items():
            if name != "sample/frame":
                assert np.array_equal(values, two.arrays[name]), name


def test_one_shard_drawn_in_another_size_is_no_damage(states: Path, tmp_path: Path) -> None:
    collect(run(), seed=3, folder=tmp_path)
    (tmp_path / "shard-00004.h5").unlink()
    bigger = run(env_settings={"height": 16, "width": 16})
    collect(bigger, seed=3, folder=tmp_path)
    store = HistoryStore.open(tmp_path)
    assert not store.damaged
    assert {line.fields["sample/frame"].shape[1] for line in store.manifest} == {12, 16}
    sized = [drawn.height for drawn in {line.renderer for line in store.manifest} if drawn]

    def as_sized(drawn: Renderer) -> TaskFamily:
        return plugins.family(ENV, {"height": drawn.height, "width": drawn.width})

    assert sorted(sized) == [12, 16]
    assert list(drifts(store, device=CPU, sized=as_sized)) == []


def test_stored_frames_of_another_size_are_another_run(frames: Path) -> None:
    other = run(store_frames=True, env_settings={**SIZE, "height": 13})
    with pytest.raises(HistoryError, match=r"env_settings\.height = 12; this run has 13"):
        collect(other, seed=3, folder=frames)


def test_a_source_that_looks_learns_from_what_it_is_shown(tmp_path: Path) -> None:
    source = SourceConfig(name="a2c", settings={"hidden_width": 4, "hidden_layers": 1})
    rules = CollectConfig(learners_per_task=1, episodes=1, expert_episodes=0, max_episodes=1)
    looking = run(source=source, collect=rules, tasks=TasksConfig(train=2))
    collect(looking, seed=0, folder=tmp_path)
    with pytest.raises(HistoryError, match=r"env_settings\.width = 20; this run has 21"):
        collect(looking.with_(env_settings={**SIZE, "width": 21}), seed=0, folder=tmp_path)


def test_only_images_are_stored_as_frames(tmp_path: Path) -> None:
    config = run("dark-room", store_frames=True, env_settings={})
    with pytest.raises(ConfigError, match=r"collect\.store_frames: dark-room shows MultiDiscrete"):
        collect(config, seed=0, folder=tmp_path)


def test_without_hdf5plugin_storing_frames_is_refused_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(ResourceError, match=r"pip install 'algorithm-distillation-bench\[zstd\]'"):
        collect(run(store_frames=True), seed=0, folder=tmp_path)
    assert not any(tmp_path.iterdir())
    collect(run(), seed=0, folder=tmp_path)  # states need none of it


TELEVISION = """
import gymnasium, numpy as np
from adbench import gym_family

class Television(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 255, SHAPE, np.uint8)
    action_space = gymnasium.spaces.Discrete(3)

    def _look(self):
        return self.np_random.integers(0, 256, SHAPE, np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 4
        return self._look(), {}

    def step(self, action):
        self.left -= 1
        return self._look(), float(action), self.left == 0, False, {}

def television():
    return gym_family(lambda task: Television(), tasks=list(range(12)), max_episode_steps=9)
"""


@pytest.mark.parametrize("shape", [(6, 7, 3), (6, 7)])
def test_images_that_cannot_be_drawn_anew_are_kept_whole_or_compressed(
    shape: tuple[int, ...], publish: Callable[..., None], tmp_path: Path
) -> None:
    text = TELEVISION.replace("SHAPE", str(shape))
    publish("tv", "[adbench.envs]\ntelevision = tv:television\n", tv=text)
    source = SourceConfig(name="a2c", settings={"hidden_width": 4, "hidden_layers": 1})
    rules = CollectConfig(learners_per_task=2, episodes=3, expert_episodes=0, max_episodes=3)
    config = run("television", source=source, collect=rules, env_settings={})
    collect(config, seed=0, folder=tmp_path / "whole")
    packed = config.with_(collect=rules.with_(store_frames=True))
    if len(shape) == 2:
        with pytest.raises(ConfigError, match="three axes"):
            collect(packed, seed=0, folder=tmp_path / "packed")
    else:
        pytest.importorskip("hdf5plugin")
        collect(packed, seed=0, folder=tmp_path / "packed")
    batches = []
    for folder in sorted(path for path in tmp_path.iterdir() if (path / "manifest.jsonl").exists()):
        store = HistoryStore.open(folder)
        assert ("frame" in store.fields) == (folder.name == "packed")
        assert all(line.renderer is None for line in store.manifest)
        sampler = WindowSampler(store, row_steps=12, seed=0, label="ad")
        assert not sampler.holds_states
        batches.append(sampler.batch(5).observation)
    assert len(batches) == len(shape) - 1
    for batch in batches:
        assert isinstance(batch, Tensor) and batch.dtype == torch.uint8
        assert batch.shape == (5, 12, *shape)
        assert torch.equal(batch, batches[0])  # type: ignore[arg-type]


def rows(states: Path) -> tuple[RowFrames, Tokens]:
    store = HistoryStore.open(states)
    sampler = WindowSampler(store, row_steps=9, seed=0, label="ad")
    return RowFrames(plugins.family_of(run()), store.tasks), sampler.batch(2)


def test_rows_of_another_family_are_refused_with_what_they_hold(states: Path) -> None:
    _, tokens = rows(states)
    boxes = plugins.family("four-boxes", SIZE)
    draw = RowFrames(boxes, boxes.tasks("train", 1, seed=0))
    with pytest.raises(HistoryError, match=r"hold \['pose'\]; four-boxes draws \['arrangement', "):
        draw(tokens, CPU)
    plain = plugins.family("dark-room")
    with pytest.raises(HistoryError, match="dark-room does not draw states"):
        RowFrames(plain, plain.tasks("train", 1, seed=0))


def test_a_row_draws_the_same_beside_any_others(states: Path) -> None:
    draw, tokens = rows(states)
    both = draw(tokens, CPU).observation
    assert isinstance(both, Tensor)
    for row in range(2):
        alone = draw(tokens.map(lambda part, r=row: part[r : r + 1]), CPU)  # type: ignore[misc]
        assert isinstance(alone.observation, Tensor)
        assert torch.equal(alone.observation, both[row : row + 1])


# Drift


def repainted(config: RunConfig, levels: int) -> Callable[[Renderer], TaskFamily]:
    """The family as it would look with all colours lighter by so many of 255."""
    family = plugins.family_of(config)
    plain = family.render_state
    family.render_state = lambda state: (  # type: ignore[method-assign]
        plain(state).int().add(levels).clamp(max=255).to(torch.uint8)
    )
    return lambda drawn: family


def test_what_looks_as_it_did_has_not_drifted(states: Path, frames: Path) -> None:
    for folder in (states, frames):
        store = HistoryStore.open(folder)
        assert list(drifts(store, device=CPU, sized=family_of(run()))) == []
        found = list(drifts(store, device=CPU, sized=repainted(run(), 1)))
        assert [drift.file for drift in found] == [line.file for line in store.manifest]
        assert all(0.9 < drift.mean_error <= 1.0 for drift in found)
        assert not any(drift.exceeds(Parity(1.0, 1.0)) for drift in found)


def test_a_changed_world_is_told_with_the_shard_and_by_how_much(states: Path) -> None:
    store = HistoryStore.open(states)
    drift = next(drifts(store, device=CPU, sized=repainted(run(), 40)))
    assert 35 < drift.mean_error <= 40 and drift.share_alike < 0.1
    assert drift.exceeds(CLOSE)
    said = str(drift)
    assert said.startswith(
        "shard-00000.h5 (drawn by raycast, world version 0): mean difference 40.00 of "
    )
    assert "% of pixels within 8" in said


def test_another_device_may_differ_as_two_implementations_do_and_no_more(
    states: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = HistoryStore.open(states)
    for shard in store.shards:
        assert shard.line.renderer is not None
        elsewhere = shard.line.renderer.with_(device="cuda")
        monkeypatch.setattr(shard, "line", shard.line.with_(renderer=elsewhere))
    assert list(drifts(store, device=CPU, sized=repainted(run(), 1))) == []
    assert len(list(drifts(store, device=CPU, sized=repainted(run(), 2)))) == 8


def work_of(folder: Path, config: RunConfig, histories: Path) -> Work:
    run_folder = RunFolder.open(folder, config)
    run_folder.histories(0).parent.mkdir(parents=True)
    run_folder.histories(0).symlink_to(histories)
    return Work(run_folder, plugins.family_of(config))


def test_a_run_warns_of_states_that_look_otherwise_and_refuses_such_frames(
    states: Path, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_states = work_of(tmp_path / "states", run(), states)
    with_frames = work_of(tmp_path / "frames", run(store_frames=True), frames)
    for work in (with_states, with_frames):
        rows = train_stage.sampler(replace(work, compared=set()), 0, "ad")
        assert rows.holds_states == (work is with_states)
    changed = repainted(run(), 40)
    monkeypatch.setattr(plugins, "family", lambda *_: changed(None))  # type: ignore[arg-type]
    with pytest.warns(RuntimeWarning, match=r"shard-00003\.h5 .*: mean difference 40.*drawn anew"):
        train_stage.sampler(with_states, 0, "ad")
    with pytest.raises(HistoryError, match=r"shard-00003\.h5 .*Collect them again"):
        train_stage.sampler(with_frames, 0, "ad")


def test_a_drift_says_no_more_than_it_measured() -> None:
    drawn = Renderer(name="raycast", samples=1, height=2, width=2, world_version=4, device="cpu")
    drift = Drift("shard-00001.h5", drawn, mean_error=0.996, share_alike=0.98)
    assert not drift.exceeds(CLOSE)
    assert replace(drift, mean_error=1.01).exceeds(CLOSE)
    assert replace(drift, share_alike=0.979).exceeds(CLOSE)
    assert "world version 4): mean difference 1.00 of 255, 98.0% of pixels" in str(drift)

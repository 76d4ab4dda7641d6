"""The families as real MiniWorld environments, one a process."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import adbench_envs  # noqa: F401  (registers the ids)
from adbench.errors import UsageError
from adbench_envs.worlds.parity import BOUNDS, difference

pytestmark = pytest.mark.requires("gl")

WORLDS = (
    "Watermaze",
    "WatermazeSmall",
    "WatermazeHard",
    "DarkRoom3D",
    "KeyToDoor3D",
    "RadialArm",
    "FourBoxes",
)

Make = Callable[..., gymnasium.Env[Any, Any]]


@pytest.fixture
def make() -> Iterator[Make]:
    """`gymnasium.make` of a world's MiniWorld id; closed after the test."""
    made: list[gymnasium.Env[Any, Any]] = []

    def one(world: str, **settings: Any) -> gymnasium.Env[Any, Any]:
        made.append(gymnasium.make(f"adbench_envs:adbench/{world}MiniWorld-v0", **settings))
        return made[-1]

    yield one
    for env in made:
        env.close()


@pytest.mark.parametrize("world", WORLDS)
def test_every_world_is_a_miniworld_env_that_passes_gymnasiums_check(
    world: str, make: Make
) -> None:
    env = make(world, render_mode="rgb_array").unwrapped
    from miniworld.miniworld import MiniWorldEnv

    assert isinstance(env, MiniWorldEnv)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Those of rendering and closing make a second one while the first is open.
        check_env(env, skip_render_check=True, skip_close_check=True)
    shown = env.render()
    assert isinstance(shown, np.ndarray) and shown.shape == (256, 256, 3)


@pytest.mark.parametrize("world", ["WatermazeHard", "FourBoxes"])
def test_it_lives_the_life_that_the_ray_caster_draws(world: str, make: Make) -> None:
    drawn = make(world, height=48, width=40)
    cast = gymnasium.make(f"adbench/{world}-v0", height=48, width=40, samples=4)
    seen = [env.reset(seed=11) for env in (drawn, cast)]
    assert np.array_equal(seen[0][1]["task"], seen[1][1]["task"])
    frames = [(seen[0][0], seen[1][0])]
    random = np.random.default_rng(0)
    for _ in range(3):
        over = False
        while not over:
            action = random.integers(8)
            one, other = drawn.step(action), cast.step(action)
            assert one[1:4] == other[1:4]
            frames.append((one[0], other[0]))
            over = one[2] or one[3]
        frames.append((drawn.reset()[0], cast.reset()[0]))
    ours, theirs = (torch.from_numpy(np.stack(each)) for each in zip(*frames, strict=True))
    assert difference(theirs, ours).within(BOUNDS[4])


def test_the_map_is_seen_from_above(make: Make) -> None:
    env = make("RadialArm", render_mode="rgb_array", view="top")
    env.reset(seed=0)
    shown = env.render()
    assert isinstance(shown, np.ndarray)
    # The sky around the arms, and none of it in the middle.
    sky = np.abs(shown.astype(int) - np.array((64, 209, 255))).max(axis=-1) <= 2
    assert sky[:8].all() and not sky[120:136, 120:136].any()


def test_a_second_one_in_the_process_is_refused_until_the_first_is_closed(make: Make) -> None:
    first = make("Watermaze")
    before, _ = first.reset(seed=0)
    with pytest.raises(UsageError, match=r"WatermazeMiniWorld, is open in this process") as error:
        make("RadialArm")
    assert "forkserver" in str(error.value) and "Close the other one first" in str(error.value)
    assert np.array_equal(first.reset(seed=0)[0], before)  # nothing was drawn over
    first.close()
    first.close()
    with pytest.raises(UsageError, match="was closed"):
        first.reset()
    again = make("Watermaze")
    assert np.array_equal(again.reset(seed=0)[0], before)


def test_two_lanes_of_one_process_are_refused_by_make_vec() -> None:
    with pytest.raises(UsageError, match="vectorization_mode='async'"):
        gymnasium.make_vec("adbench/WatermazeMiniWorld-v0", num_envs=2)


def _run(script: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "script.py"
    path.write_text(script)
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True)


def test_miniworlds_own_environments_are_not_drawn_over_nor_drawn_over_by(tmp_path: Path) -> None:
    # In a process of its own: what MiniWorld's open is never closed.
    done = _run(
        "import gymnasium, numpy as np\n"
        "import adbench_envs\n"
        "from adbench.errors import UsageError\n"
        "ours = gymnasium.make('adbench/WatermazeMiniWorld-v0')\n"
        "ours.reset(seed=0)\n"
        "import miniworld\n"
        "theirs = gymnasium.make('MiniWorld-Hallway-v0')\n"
        "for draw in (lambda: ours.step(np.int64(0)),\n"
        "             lambda: gymnasium.make('adbench/RadialArmMiniWorld-v0')):\n"
        "    try:\n"
        "        draw()\n"
        "    except UsageError as error:\n"
        "        print('refused:', error)\n",
        tmp_path,
    )
    refusals = [line for line in done.stdout.splitlines() if line.startswith("refused:")]
    assert len(refusals) == 2, done.stdout + done.stderr
    assert "after WatermazeMiniWorld" in refusals[0] and "already" in refusals[1]


@pytest.mark.parametrize("context", ["forkserver", "fork"])
def test_lanes_in_processes_of_their_own_draw_as_one_alone_does(
    context: str, tmp_path: Path
) -> None:
    if context == "fork" and sys.platform != "linux":
        pytest.skip("only Linux forks by default")
    done = _run(
        "import gymnasium, numpy as np\n"
        "import adbench_envs\n"
        "if __name__ == '__main__':\n"
        "    env = gymnasium.make_vec('adbench/WatermazeMiniWorld-v0', num_envs=2,\n"
        "        vectorization_mode='async', height=16, width=16, task=[1.5, 0.0],\n"
        f"        vector_kwargs={{'context': '{context}'}})\n"
        "    frames, _ = env.reset(seed=[3, 5])\n"
        "    env.close()\n"
        "    one = gymnasium.make('adbench/WatermazeMiniWorld-v0', height=16, width=16,\n"
        "        task=[1.5, 0.0])\n"
        "    print([bool((one.reset(seed=s)[0] == f).all()) for s, f in zip((3, 5), frames)])\n",
        tmp_path,
    )
    assert done.stdout.strip().splitlines()[-1:] == ["[True, True]"], done.stdout + done.stderr


def test_what_is_printed_to_stdout_is_nothing(tmp_path: Path) -> None:
    done = _run(
        "import gymnasium, adbench_envs\n"
        "gymnasium.make('adbench/WatermazeMiniWorld-v0').reset(seed=0)\n",
        tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr

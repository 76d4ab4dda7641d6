"""The context-length study is planned so that only the context length differs."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pytest

from adbench import plugins
from adbench.cli import main
from adbench.config import RunConfig
from adbench.errors import ConfigError, UnknownNameError
from adbench.folder import differences
from adbench.suite import context_plan
from adbench.suite.context_plan import LEAST_TOKENS, Study, from_preset, plan

STUDIES = sorted(context_plan._STUDIES.glob("*.toml"))
LENGTH_ALONE = {
    "train.context", "train.window_steps", "train.sequence_steps", "train.batch_sequences", "seeds",
}  # fmt: skip


def trained(config: RunConfig) -> tuple[int, int]:
    """Updates, and tokens of an update."""
    train = config.train
    return train.updates, train.batch_sequences * train.row_steps


@cache
def shipped(path: Path) -> context_plan.Planned:
    env, _, kind = path.stem.partition(".")
    return plan(env, full=kind == "full", device="cpu")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_in_a_shipped_study_runs_differ_in_the_context_length_alone(path: Path) -> None:
    planned = shipped(path)
    assert planned.origin.endswith(path.name)
    first = planned.cells[0].config
    for cell in planned.cells:
        assert trained(cell.config) == trained(first)
        different = {name for name, *_ in differences(first, cell.config)}
        assert different <= LENGTH_ALONE
        assert cell.config.train.window_steps == cell.context_steps
        assert cell.config.train.context == cell.series
    assert planned.study.trained_tokens == math.prod(trained(first)) >= LEAST_TOKENS
    assert planned.study.seeds == (0, 1, 2)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_run_has_a_folder_of_its_own(path: Path) -> None:
    cells = shipped(path).cells
    folders = [cell.folder(Path("out")) for cell in cells]
    assert len(set(folders)) == len(cells)
    for one in folders:
        assert not any(one != other and one.is_relative_to(other) for other in folders)
    study = shipped(path).study
    assert len(cells) == 3 * (len(study.exact) + len(study.banded))


def test_dark_rooms_lengths_are_those_that_were_asked_for() -> None:
    study = plan("dark-room").study
    assert study.exact == (10, 20, 40, 80, 200) and study.banded == (20, 80, 200)
    full = plan("dark-room", full=True).study
    assert max(full.exact) > 200 and max(full.banded) > 200


def test_key_to_door_has_the_papers_lengths_and_the_hard_maze_goes_to_16384() -> None:
    assert plan("key-to-door").study.exact == (20, 30, 40, 50, 100, 200)
    banded = plan("watermaze-hard").study.banded
    assert (banded[0], banded[-1]) == (100, 16_384)


def test_histories_are_as_long_as_the_longest_rows() -> None:
    for full in (False, True):
        config = max(
            (cell.config for cell in plan("dark-room", full=full).cells),
            key=lambda config: config.train.row_steps,
        )
        kept = config.collect.episodes // config.train.subsample
        assert config.train.row_steps <= kept * (20 + 1)


def test_banded_rows_are_the_shortest_of_two_windows_or_more_that_fill_an_update() -> None:
    study = Study(banded=(100, 256), tokens_per_update=32_768, updates=1)
    assert study.row_steps("banded", 100) == 256 and study.row_steps("banded", 256) == 512


@pytest.mark.parametrize("env", ["bandit", "dark-room-hard", "radial-arm"])
def test_a_world_without_a_study_gets_one_from_its_preset(env: str) -> None:
    planned = plan(env, device="cpu")
    assert planned.study.trained_tokens >= LEAST_TOKENS and "preset 'quick'" in planned.origin
    assert len({trained(cell.config) for cell in planned.cells}) == 1
    half = min(planned.study.exact)
    episode = plugins.family(env).max_episode_steps + 1
    assert half == max(2, (episode + 1) // 2)
    assert max(plan(env, full=True).study.banded) > max(planned.study.banded)


def test_a_smoke_study_is_of_the_smoke_presets_size() -> None:
    config = plugins.preset("dark-room", "smoke")
    study = from_preset(config)
    assert study.updates == config.train.updates
    assert study.trained_tokens < 10**5 and len(study.exact) + len(study.banded) == 3


def test_flags_replace_seeds_and_a_file_replaces_the_study(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        "preset = 'smoke'\nexact = [4, 8]\ntokens_per_update = 16\nupdates = 3\nseeds = [5]\n"
        "[settings.model]\nwidth = 16\n"
    )
    (first, second) = plan("bandit", file=file).cells
    assert (first.context_steps, second.context_steps) == (8, 4)
    assert first.seed == 5 and first.config.model.width == 16
    assert [cell.seed for cell in plan("bandit", file=file, seeds=(7, 8)).cells] == [7, 7, 8, 8]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exact = [7]\ntokens_per_update = 16\nupdates = 1", "rows of 7 do not fill"),
        ("banded = [16]\ntokens_per_update = 16\nupdates = 1", "rows of 32 or more"),
        ("tokens_per_update = 16\nupdates = 1", "at least one length"),
        ("exact = [4, 4]\ntokens_per_update = 16\nupdates = 1", "a length twice"),
        ("exact = [4]\nupdates = 1", "tokens_per_update"),
        ("exakt = [4]\ntokens_per_update = 16\nupdates = 1", "Did you mean 'exact'"),
        (
            "exact = [4]\ntokens_per_update = 16\nupdates = 1\n[settings.model]\nwidth = 7",
            "the context study of bandit, exact 4: .*multiple of 2",
        ),
    ],
)
def test_a_study_that_cannot_be_is_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        plan("bandit", file=file)


def test_an_unknown_world_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UnknownNameError, match="'dark-room'"):
        plan("dark-rom")
    assert main(["suite", "run", "context", "--env", "dark-rom"]) == 2
    assert "Did you mean 'dark-room'" in capsys.readouterr().err

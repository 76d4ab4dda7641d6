"""A run on a world of pixels: from poses to figures, and the same however often it is killed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
import torch

from adbench import pipeline, plugins, presets
from adbench.config import RunConfig
from adbench.errors import ResourceError, Stopped
from adbench.flags import resolve
from adbench.folder import RunFolder
from adbench.history.frames import RowFrames
from adbench.progress import Reporter
from adbench.results_file import read_results
from adbench.stages import evaluate, train
from adbench.stages.work import STAGES, Work
from adbench.tokens import Tokens

TINY: dict[str, Any] = {
    "device": "cpu",
    "env_settings": {"height": 8, "width": 12},
    "tasks": {"train": 8, "validation": 2, "test": 2},
    "collect": {"learners_per_task": 1, "episodes": 4, "expert_episodes": 1, "max_episodes": 6},
    "train": {"updates": 4, "checkpoint_updates": 2, "batch_sequences": 2, "window_steps": 30},
    "evaluate": {"episodes": 2, "lanes_per_task": 1, "source_episodes": 2},
    "methods": ("ad", "ed", "ad-shuffled", "ad-no-reward", "source", "random", "optimal"),
}
ALL_OF_IT: dict[str, Any] = {
    "model": {"encoder": "paper", "dropout": 0.1},
    "train": {**TINY["train"], "auxiliary": "inverse-dynamics"},
}


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


def tiny(env: str = "watermaze-small", **changes: Any) -> RunConfig:
    return resolve(env, "smoke", None, TINY | changes)


def carry_out(config: RunConfig, path: Path, **how: Any) -> Path:
    folder = RunFolder.open(path, config)
    with folder.locked():
        folder.settle()
        pipeline.carry_out(folder, STAGES, reporter=Reporter(io.StringIO()), **how)
    return path


def outcome(path: Path) -> dict[str, Any]:
    """Everything that must be equal: digests of files, and results without times."""
    found: dict[str, Any] = {
        str(file.relative_to(path)): blake2b(file.read_bytes()).hexdigest()
        for pattern in ("histories/*/*.h5", "checkpoints/*/*/*004/*.safetensors")
        for file in path.glob(pattern)
    }
    files = [file for file in path.glob("evaluations/*/*/*") if file.is_file()]
    found |= {str(f.relative_to(path)): blake2b(f.read_bytes()).hexdigest() for f in files}
    results = read_results(path)
    apart = ("stage_seconds", "throughput", "commit", "command")
    return found | {name: value for name, value in results.items() if name not in apart}


@pytest.fixture(scope="module", params=["patch", "paper"])
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunConfig, Path]:
    config = tiny(**(ALL_OF_IT if request.param == "paper" else {}))
    return config, carry_out(config, tmp_path_factory.mktemp("runs") / "whole")


def test_a_run_on_pixels_leaves_states_all_its_rows_and_says_what_was_seen(
    whole: tuple[RunConfig, Path],
) -> None:
    config, path = whole
    results = read_results(path)
    assert set(results["scores"]) == set(config.methods)
    assert set(results["test_sets"]) == {"test", "region"}
    lines = (path / "histories/seed-0/manifest.jsonl").read_text().splitlines()
    fields = [json.loads(line)["fields"] for line in lines]
    assert len(fields) == 8 and all("state/pose" in each for each in fields)
    assert not any("frame" in each or "observation" in each for each in fields)
    page = (path / "report.html").read_text()
    assert "8 x 12 pixels, 1 sample a pixel" in page
    told = "auxiliary_loss" in (path / "metrics.jsonl").read_text()
    assert told == ("which also learnt inverse-dynamics" in page)
    assert told == (config.model.encoder == "paper")


def stopped_at(questions: Iterator[bool]) -> Callable[[], bool]:
    return lambda: next(questions, False)


def test_a_run_in_pieces_and_killed_while_it_draws_is_the_same_run(
    whole: tuple[RunConfig, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, straight = whole
    path = tmp_path / "broken"
    draws: list[int] = []
    draw = RowFrames.__call__

    def die(self: RowFrames, tokens: Tokens, device: torch.device) -> Tokens:
        draws.append(1)
        if len(draws) in (3, 9):  # within the training of ad, and of another row
            raise Killed
        return draw(self, tokens, device)

    monkeypatch.setattr(RowFrames, "__call__", die)
    with pytest.raises(Stopped):
        asked = iter([False, False, True])
        carry_out(config, path, stop=stopped_at(asked))
    for _ in range(2):
        with pytest.raises(Killed):
            carry_out(config, path)
    carry_out(config, path)
    assert len(draws) > 12
    assert outcome(path) == outcome(straight)
    assert not list(path.rglob("*.tmp"))


def work(config: RunConfig, path: Path) -> Work:
    return Work(RunFolder.open(path, config), plugins.family_of(config))


def test_more_frames_than_fit_the_memory_are_refused_with_both_numbers(tmp_path: Path) -> None:
    size = {"height": 4096, "width": 4096}
    lot = {"batch_sequences": 256, "window_steps": 400, "updates": 4}
    for number, encoder in enumerate(("patch", "paper")):
        large = tiny(env_settings=size, train=lot, model={"encoder": encoder})
        with pytest.raises(ResourceError, match=r"train ad, seed 0: needs about .* TB of memory"):
            train.require(work(large, tmp_path / str(number)), 0, "ad")
    many: dict[str, Any] = {
        "tasks": {**TINY["tasks"], "test": 100},
        "evaluate": {"lanes_per_task": 5},
    }
    with pytest.raises(ResourceError, match=r"evaluate ad, seed 0: needs about .*B of memory"):
        evaluate.require(work(tiny(env_settings=size, **many), tmp_path / "2"), 0, "ad", "test")
    train.require(work(tiny(), tmp_path / "3"), 0, "ad")


@pytest.mark.parametrize(
    "env",
    ["watermaze", "watermaze-hard", "dark-room-3d", "key-to-door-3d", "radial-arm", "four-boxes"],
)
def test_every_world_of_pixels_has_a_smoke_preset_with_small_frames(env: str) -> None:
    config = resolve(env, "smoke", None, {})
    assert (config.env_settings["height"], config.env_settings["width"]) == (32, 32)
    assert config.source.name == "q-lambda"
    trained = config.train.updates * config.train.batch_sequences * config.train.row_steps
    assert trained <= 40_000
    family = plugins.family_of(config)
    assert presets.generic(family, "smoke").env_settings == {"height": 32, "width": 32}

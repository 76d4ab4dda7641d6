"""What docs/sources.md shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from adbench import plugins
from adbench.collect import learn_online
from adbench.config import SourceConfig
from documented.pages import ROOT, programs_by_heading

PAGE = "docs/sources.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")


def test_the_program_that_collects_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(programs_by_heading(PAGE)["Collecting"], "page", "exec", dont_inherit=True), {})
    assert (tmp_path / "histories" / "manifest.jsonl").exists()
    assert "(3, 2" in capsys.readouterr().out


def test_the_source_on_the_page_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    program = programs_by_heading(PAGE)["Writing one"]
    exec(compile(program, "page", "exec", dont_inherit=True), names)
    monkeypatch.setattr(plugins, "source", lambda name: names["Wander"])
    family = plugins.family("dark-room")
    learning = learn_online(
        family, family.tasks("train", 4, seed=0),
        SourceConfig(name="wander", settings={"stay": 0.9}), seed=0, stage="test",
        learner_ids=range(4), episodes=50,
    )  # fmt: skip
    actions = torch.from_numpy(learning.steps["action"]).long()
    again = (actions[:, 1:] == actions[:, :-1]).float().mean()
    # 0.9 and a fifth of the rest; 4,000 steps.
    assert abs(float(again) - 0.92) < 0.03


@pytest.mark.parametrize("name", ["q-lambda", "ucb", "a2c"])
def test_the_page_names_every_setting(name: str) -> None:
    section = TEXT[TEXT.index(f"## {name}") :].split("\n## ")[0]
    settings = plugins.source(name).Settings.model_fields
    assert [field for field in settings if f"`{field}`" not in section] == []


def test_the_defaults_on_the_page_are_the_defaults() -> None:
    settings = plugins.source("q-lambda").Settings.parse({}).model_dump()
    for name in ("learning_rate", "discount", "trace", "initial_value", "persistence"):
        assert re.search(rf"\| `{name}` \| {settings[name]} \|", TEXT), name

"""What docs/model.md shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from documented.pages import programs

PAGE = "docs/model.md"


def test_every_program_on_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    found = programs(PAGE)
    assert len(found) == 4
    for number, program in enumerate(found):
        exec(compile(program, f"program {number}", "exec"), names)
    printed = capsys.readouterr().out
    assert "weights" in printed
    assert "torch.Size([3, 5])" in printed
    assert "after 9,600 tokens" in printed
    assert float(re.findall(r"loss (\d\.\d\d)", printed)[0]) < 1.0
    assert "30 ['blocks.0.attention_norm.bias'" in printed
    assert (tmp_path / "checkpoints" / "update-00000030" / "state.json").is_file()

"""What docs/histories.md shows is what happens."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from documented.pages import ROOT, programs_by_heading

PAGE = "docs/histories.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")


def test_every_program_on_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = programs_by_heading(PAGE)
    names: dict[str, Any] = {}
    for title in ("Bringing your own", "Reading them", "How training reads them", "Pixels"):
        exec(compile(code.pop(title), title, "exec"), names)
    assert code == {}, "a program that this test does not know"
    printed = capsys.readouterr().out
    assert "2 histories of tasks [[1, 2], [8, 0]]" in printed
    assert "(32, 6)" in printed
    assert "torch.Size([2, 50, 32, 32, 3])" in printed


def test_the_page_names_every_field_of_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(programs_by_heading(PAGE)["Bringing your own"], "page", "exec"), {})
    line = json.loads(Path("histories/manifest.jsonl").read_text())
    shown = re.findall(r'"(\w+)":', TEXT[TEXT.index('{"schema": 1') : TEXT.index("`blake2b` is")])
    assert [name for name in shown if name in line] == list(line)
    for field in line["fields"]:
        assert f"`{field}`" in TEXT

"""What docs/histories.md shows is what happens."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "histories.md"


def blocks() -> dict[str, str]:
    """The page's Python, by the heading it stands under."""
    found: dict[str, str] = {}
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title = section.splitlines()[0]
        code = "\n".join(re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL))
        if code:
            found[title] = code
    return found


def test_every_program_on_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = blocks()
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
    exec(compile(blocks()["Bringing your own"], "page", "exec"), {})
    line = json.loads(Path("histories/manifest.jsonl").read_text())
    page = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r'"(\w+)":', page[page.index('{"schema": 1') : page.index("`blake2b` is")])
    assert [name for name in shown if name in line] == list(line)
    for field in line["fields"]:
        assert f"`{field}`" in page

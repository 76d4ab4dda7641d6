"""docs/statistics.md: its program runs, its fields exist, its figures are those of the data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adbench.paper_curves import WORLDS, paper_curves
from adbench.results import write_results
from adbench.results_file import schema
from documented.pages import ROOT, programs

PAGE = "docs/statistics.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")


def test_the_program_on_the_page_runs(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = tmp_path / "runs" / "dark-room-quick"
    folder.mkdir(parents=True)
    write_results(folder / "results.json", small)
    monkeypatch.chdir(tmp_path)
    (program,) = programs(PAGE)
    exec(program, {})
    assert str(small["scores"]["ad"]["final_mean"]) in capsys.readouterr().out


def test_the_page_names_every_field_and_no_other() -> None:
    start = TEXT.index("Top-level fields")
    listed = TEXT[start : TEXT.index("`updates` and", start)]
    named = {
        word
        for part in re.findall(r"`([a-z_, \n]+)`", listed)
        for word in re.findall(r"[a-z_]+", part)
    }
    assert named == set(schema()["required"])


@pytest.mark.parametrize("record", ["score", "data_efficiency"])
def test_tables_on_the_page_name_fields_that_exist(record: str) -> None:
    start = TEXT.index("| field |" if record == "score" else "| field of `data_efficiency`")
    table = TEXT[start : TEXT.index("\n\n", start)]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]
    names = {name for cell in first for name in re.findall(r"`(\w+)`", cell)}
    known = set(schema()["$defs"][record]["required"]) | {"copying_ratio"}
    assert names
    assert names <= known


def test_what_the_page_says_of_the_papers_ratio_follows_from_its_curves() -> None:
    def episodes_to_10(series: str) -> float:
        curve = next(each for each in paper_curves("dark-room") if each.series == series)
        after = int(np.argmax(curve.mean >= 10.0))
        between = slice(after - 1, after + 1)
        return float(np.interp(10.0, curve.mean[between], curve.episode[between])) - 1

    alone = episodes_to_10("source") / episodes_to_10("ad")
    assert alone == pytest.approx(1 / 4, rel=0.1)
    assert WORLDS["dark-room"].actors * alone == pytest.approx(25, rel=0.05)

"""The report: what is on the page, that nothing can run on it, and that it needs no network."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adbench.cli import main
from adbench.perf.figures import figure
from adbench.perf.measured import read
from adbench.perf.panels import panels
from adbench.perf.report import markdown, page, section, write_report

Make = Callable[..., Any]


@pytest.fixture
def folder(put: Make, contest: tuple[Any, ...], lost: Make, tmp_path: Path) -> Path:
    gone = lost("theirs[1024]", "out of memory", "it needs 3 TB", by="theirs", size=1024)
    absent = lost("third", "skipped", "pip install third")
    out = tmp_path / "out"
    write_report([read(put(*contest, untimed=(gone, absent)))], out)
    return out


def test_the_page_needs_no_network_and_runs_nothing(folder: Path) -> None:
    text = (folder / "perf.html").read_text()
    assert "default-src 'none'" in text and "<script" not in text
    addresses = set(re.findall(r"https?://[^\"' <]+", text))
    assert all(a.startswith(("http://www.w3.org/", "http://purl.org/", "http://creativecommons."))
               for a in addresses), addresses  # fmt: skip
    assert text.count("<svg") == 1  # a figure a case; ceilings have none


def test_the_markdown_says_what_the_page_says(folder: Path) -> None:
    text = (folder / "perf.md").read_text()
    assert "### training: an update" in text
    assert "| 512 | adbench | 4.0x [" in text
    assert "| 1,024 | theirs | out of memory |" in text
    assert "| 128 to 1,024 | 1.00 [1.00, 1.00] | 1.00 | 0 % |" in text
    assert "| 128 to 512 | 2.00 [2.00, 2.00] |" in text
    assert "| matmul | 2 threads, float32 | 10.0 GFLOP/s |" in text
    assert "| benchmarks/bench\\_x.py::third | skipped | pip install third |" in text
    (drawn,) = re.findall(r"\(figures/(perf-.*\.svg)\)", text)
    assert (folder / "figures" / drawn).read_text().startswith("<?xml")
    html = (folder / "perf.html").read_text()
    for said in ("4.0x [", "out of memory", "2.00 [2.00, 2.00]", "10.0 GFLOP/s", "Abacus 9"):
        assert said in html


def test_figures_of_an_earlier_report_go_and_others_stay(folder: Path, put: Make,
                                                         bench: Make) -> None:  # fmt: skip
    other = folder / "figures" / "mine.svg"
    other.write_text("<svg/>")
    write_report([read(put(bench("t", 1.0)))], folder)
    assert sorted(path.name for path in (folder / "figures").iterdir()) == ["mine.svg"]


def test_what_files_say_is_text_on_the_page(put: Make, bench: Make) -> None:
    evil = "<script>alert(1)</script> | [x](y)"
    found = section(read(put(bench("t", 1.0, case=evil), processor=evil)))
    assert "<script>" not in page([found])
    assert r"\<script\>alert(1)\</script\> \| [x\](y)" in markdown([found])


def test_equal_measurements_are_drawn_equal(put: Make, contest: tuple[Any, ...]) -> None:
    (panel,) = panels(read(put(*contest)))
    assert figure(panel) == figure(panel)


def test_one_size_is_a_table_and_no_figure(put: Make, bench: Make) -> None:
    found = section(read(put(bench("t", 1.0), bench("u", 2.0, by="theirs"))))
    (part,) = found.parts
    assert part.drawing is None
    assert part.ratios is not None and part.ratios.rows == [["128", "adbench", "2.0x [2.0x, 2.0x]"]]


def test_a_busy_machine_and_missing_ceilings_are_said_at_the_top(put: Make, bench: Make) -> None:
    found = section(read(put(bench("t", 1.0), load_average_before=2.5)))
    busy, without = found.warnings
    assert "load average 2.5" in busy and "bench_ceilings.py" in without


def test_files_side_by_side_keep_their_figures_apart(
    put: Make, contest: tuple[Any, ...], tmp_path: Path
) -> None:
    both = [read(put(*contest, name=name)) for name in ("a.json", "b.json")]
    write_report(both, tmp_path / "out")
    assert len(list((tmp_path / "out" / "figures").iterdir())) == 2


def test_the_verb_says_where_the_page_is(
    put: Make, contest: tuple[Any, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["perf", "report", str(put(*contest)), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'perf.html'}\n"

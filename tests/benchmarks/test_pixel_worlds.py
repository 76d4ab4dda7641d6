"""The table of what quick runs learn says what the committed results say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import pixel_worlds

Found = dict[str, Any]


def test_the_table_of_the_page_is_that_of_the_committed_results() -> None:
    assert pixel_worlds.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: None, "| passes |"),
        (lambda found: _flat(found, "ad"), "AD does not surely improve"),
        (lambda found: _swap(found, "ad", "ed"), "AD is below ED"),
        (lambda found: found["scores"]["source"].update(final_mean=0.79), "source does not learn"),
    ],
)
def test_a_world_passes_only_if_every_line_holds(
    tmp_path: Path, change: Callable[[Found], None], said: str
) -> None:
    name = "watermaze-small"
    found = json.loads((pixel_worlds.RESULTS / name / "seed-0" / "results.json").read_text())
    change(found)
    folder = tmp_path / name / "seed-0"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(found))
    assert said in pixel_worlds.line(name, tmp_path)


def test_a_world_that_was_not_run_says_so(tmp_path: Path) -> None:
    assert pixel_worlds.line("watermaze", tmp_path).endswith("| not run yet |")


def _flat(found: Found, method: str) -> None:
    returns = np.asarray(found["per_task"][method])
    found["per_task"][method] = np.broadcast_to(returns[..., :1], returns.shape).tolist()


def _swap(found: Found, one: str, other: str) -> None:
    per_task = found["per_task"]
    per_task[one], per_task[other] = per_task[other], per_task[one]

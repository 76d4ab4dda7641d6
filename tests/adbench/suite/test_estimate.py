"""How a machine is divided, how long the rest takes, and what is said meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adbench.suite.cells import Cell
from adbench.suite.estimate import expected_seconds, longest_first, seconds_left, trained_tokens
from adbench.suite.machine import RUN_BYTES, share
from adbench.suite.runner import Progress
from adbench.suite.watch import Lines

PLENTY = 1000 * RUN_BYTES


@pytest.mark.parametrize(
    ("how", "jobs", "threads"),
    [
        ({"runs": 7, "cores": 2}, 2, 1),
        ({"runs": 7, "cores": 16}, 7, 2),
        ({"runs": 1, "cores": 16}, 1, 16),
        ({"runs": 7, "cores": 16, "free_bytes": 3 * RUN_BYTES + 1}, 3, 5),
        ({"runs": 7, "cores": 16, "free_bytes": 0}, 1, 16),
        ({"runs": 7, "cores": 16, "jobs": 4}, 4, 4),
        ({"runs": 7, "cores": 2, "jobs": 4}, 4, 1),
        ({"runs": 7, "cores": 16, "told": {"OMP_NUM_THREADS": "8"}}, 2, 8),
        ({"runs": 7, "cores": 16, "told": {"OMP_NUM_THREADS": "many"}}, 7, 2),
        ({"runs": 7, "cores": 16, "device": "cuda"}, 1, 16),
        ({"runs": 7, "cores": 16, "device": "cuda", "jobs": 2}, 2, 8),
    ],
)
def test_a_machine_is_divided(how: dict[str, object], jobs: int, threads: int) -> None:
    given = {"device": "cpu", "free_bytes": PLENTY, "told": {}, **how}
    found = share(**given)  # type: ignore[arg-type]
    assert (found.jobs, found.threads) == (jobs, threads)


def test_every_process_is_told_its_threads() -> None:
    told = share("cpu", 4, cores=8, free_bytes=PLENTY, told={}).environment()
    assert told["OMP_NUM_THREADS"] == told["NUMBA_NUM_THREADS"] == "2" and "PATH" in told


def test_a_run_takes_as_long_as_others_of_its_world(four: tuple[Cell, ...]) -> None:
    found = expected_seconds(four, {four[0]: 10.0})
    assert found[four[0]] == found[four[1]] == 10.0
    pace = 10.0 / trained_tokens(four[0].config)
    assert found[four[2]] == pytest.approx(pace * trained_tokens(four[2].config))


def test_nothing_is_known_before_a_run_has_finished(four: tuple[Cell, ...]) -> None:
    assert set(expected_seconds(four, {}).values()) == {None}
    assert seconds_left([None, 3.0], 2) is None
    order = longest_first(four, expected_seconds(four, {}))
    tokens = [trained_tokens(cell.config) for cell in order]
    assert tokens == sorted(tokens, reverse=True)


@pytest.mark.parametrize(
    ("left", "jobs", "seconds"),
    [([], 2, 0.0), ([5.0], 2, 5.0), ([3.0, 3.0, 2.0], 2, 5.0), ([4.0, 1.0, 1.0, 1.0], 2, 4.0)],
)
def test_the_last_run_to_end_counts(left: list[float], jobs: int, seconds: float) -> None:
    assert seconds_left(left, jobs) == seconds


def test_what_changes_is_said_and_now_and_then_how_much_is_left(
    four: tuple[Cell, ...], tmp_path: Path
) -> None:
    said: list[str] = []
    now = [0.0]
    lines = Lines(said.append, four, {four[0]: 100.0}, tmp_path, jobs=1, clock=lambda: now[0])
    rest = four[1:]

    def table(*phases: str, seconds: float = 0.0) -> list[Progress]:
        # phases are those of `Phase`
        return [
            Progress(cell, phase, seconds * (phase != "waiting"), "said")  # type: ignore[arg-type]
            for cell, phase in zip(rest, phases, strict=True)
        ]

    lines(table("running", "waiting", "waiting"))
    assert said == [f"{rest[0].name} ..."]
    now[0] = 61.0
    lines(table("running", "waiting", "waiting", seconds=60.0))
    other = 100.0 * trained_tokens(rest[1].config) / trained_tokens(four[0].config)
    assert lines.seconds_left(table("running", "waiting", "waiting", seconds=60.0)) == (
        pytest.approx(40.0 + 2 * other)
    )
    assert "1 of 4 runs done, 1 under way, about" in said[1] and "bandit, seed 1: said" in said[2]
    folder = rest[0].folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "seconds.json").write_text(json.dumps({"collect/": 20.0, "train/ad": 60.0}))
    lines(table("finished", "failed", "stopped", seconds=70.0))
    assert "done in 1 min 10 s" in said[3] and "FAILED after" in said[4] and "kept" in said[5]
    assert lines.seconds_left(table("finished", "failed", "stopped")) == 0.0


def test_a_run_that_takes_longer_than_thought_is_never_said_to_be_over(
    four: tuple[Cell, ...], tmp_path: Path
) -> None:
    lines = Lines(lambda _: None, four[:2], {four[0]: 100.0}, tmp_path, jobs=1)
    left = lines.seconds_left([Progress(four[1], "running", 500.0)])
    assert left is not None and left > 0.0

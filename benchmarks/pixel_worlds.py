"""What quick runs learn on the first-person worlds: the table of docs/worlds.md, never typed.

    python -m benchmarks.pixel_worlds            rewrite the block
    python -m benchmarks.pixel_worlds --check    say whether it is up to date; exit code 1 if not

A world passes if its source reaches a normalised score of 0.8 on test tasks, and AD's last five
episodes are above its first five and above ED's last five, 95 % intervals apart. Intervals resample
tasks. What is not run yet says so.

S seeds, T tasks, E episodes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adbench.results_file import read_results
from adbench.stats import Floats, draw_resamples, mean, score_interval

ROOT = Path(__file__).resolve().parent.parent
PAGE, RESULTS = ROOT / "docs" / "worlds.md", ROOT / "benchmarks" / "results" / "learning"
BEGIN = "<!-- learnt: drawn by `python -m benchmarks.pixel_worlds`, never typed -->"
END = "<!-- end of learnt -->"

WORLDS = (
    "watermaze", "watermaze-small", "watermaze-hard", "dark-room-3d", "key-to-door-3d",
    "radial-arm", "four-boxes",
)  # fmt: skip
SOURCE_SCORE, EPISODES = 0.8, 5
_HEAD = (
    "| family | source's score | AD, first 5 | AD, last 5 | ED, last 5 | blind, last 5 | |",
    "|---|---|---|---|---|---|---|",
)

Span = tuple[float, float, float]
"""Mean, and the ends of its interval."""


def line(world: str, results: Path = RESULTS) -> str:
    """A world's row of the table.

    Args:
        world: its name.
        results: the folder that holds WORLD/seed-N/results.json.
    """
    files = sorted((results / world).glob("seed-*/results.json"))
    if not files:
        return f"| `{world}` | | | | | | not run yet |"
    (found,) = [read_results(file) for file in files]
    spans = {
        (method, when): _span(found, method, when)
        for method, when in (("ad", "first"), ("ad", "last"), ("ed", "last"), ("ad-blind", "last"))
    }
    source = found["scores"]["source"]["final_mean"]
    early, late, expert = spans["ad", "first"], spans["ad", "last"], spans["ed", "last"]
    short = []
    if source < SOURCE_SCORE:
        short.append("its source does not learn")
    if late[1] <= early[2]:
        short.append("AD does not surely improve")
    if late[1] <= expert[2]:
        below = late[2] < expert[1]
        short.append("AD is below ED" if below else "AD is not surely above ED")
    verdict = "passes" if not short else f"**fails**: {', '.join(short)}"
    cells = [f"{middle:.2f} [{low:.2f}, {high:.2f}]" for middle, low, high in spans.values()]
    return f"| `{world}` | {source:.2f} | {' | '.join(cells)} | {verdict} |"


def _span(found: dict[str, Any], method: str, when: str) -> Span:
    """Return of a method's first or last episodes on test tasks, and its interval."""
    returns_STE: Floats = np.asarray(found["per_task"][method], float)
    some = returns_STE[..., :EPISODES] if when == "first" else returns_STE[..., -EPISODES:]
    means_ST = some.mean(axis=-1)
    seeds, tasks = means_ST.shape
    draws = draw_resamples(seeds, tasks, np.random.default_rng(0))
    ends = score_interval(means_ST, mean, draws)
    assert ends is not None, "a set of many tasks"
    return float(mean(means_ST)), *ends


def block() -> str:
    """The table between its comments."""
    return "\n".join((BEGIN, *_HEAD, *(line(world) for world in WORLDS), END))


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.pixel_worlds", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    asked = parser.parse_args(arguments)
    page = PAGE.read_text("utf-8")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    wanted = before + block() + after
    if asked.check:
        print("up to date" if page == wanted else f"{PAGE}: out of date", file=sys.stderr)
        return int(page != wanted)
    PAGE.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

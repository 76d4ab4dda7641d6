"""The published curves of Algorithm Distillation, drawn in grey behind ours.

Digitised from the vector figures of Laskin et al. 2022 (arXiv 2210.14215): figure 4 (AD, ED,
source, RL2), figure 9 (the source in full length) and, read off the raster, figure 3 (bandit
scores). The error is about 0.5 % of an axis (figure 3: 0.01); figure 9 is thinned to 0.8 %. Bands
are plus or minus one standard deviation over the paper's 100 evaluation seeds.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from adbench.stats import Floats

SOURCE = "Laskin et al. 2022"


@dataclass(frozen=True)
class PaperWorld:
    """How the paper runs one of its worlds.

    Attributes:
        episode_steps: environment steps of an episode; its horizontal axes count steps.
        actors: streams that the source's horizontal axis adds up.
        at_returns: returns at which its data efficiency can be read off.
    """

    episode_steps: int
    actors: int
    at_returns: tuple[float, ...]


WORLDS = {
    "dark-room": PaperWorld(20, 100, (5.0, 10.0, 13.0, 14.0)),
    "dark-room-hard": PaperWorld(20, 100, (0.2, 0.4, 0.6)),
    "key-to-door": PaperWorld(50, 100, (1.0, 1.5, 1.7, 1.8)),
    "watermaze": PaperWorld(50, 16, (0.3, 0.5, 0.7, 0.8)),
}


@dataclass(frozen=True)
class PaperCurve:
    """One published curve.

    Attributes:
        series: "ad", "ed", "rl2" or "source".
        label: what to call it in a figure, with where it is from.
        episode: episode number of one stream, counted from 1, [N].
        mean: return, [N].
    """

    series: str
    label: str
    episode: Floats
    mean: Floats


@cache
def paper_curves(env: str) -> tuple[PaperCurve, ...]:
    """The paper's curves of a world over the episodes of one stream; none for other worlds.

    The source comes from figure 9, whose axis adds up all actors; here it is divided by their
    number, because our source's axis, too, is that of one stream.
    """
    world = WORLDS.get(env)
    if world is None:
        return ()
    points: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in _rows():
        if row["env"] == env:
            key = row["figure"], row["series"]
            points.setdefault(key, []).append((float(row["x"]), float(row["mean"])))
    curves = []
    for (figure, series), values in points.items():
        if (figure, series) == ("4", "source"):
            continue  # the start of figure 9's
        steps, returns = np.array(values).T
        streams = world.actors if series == "source" else 1
        shown = f"source, one of {world.actors} actors" if series == "source" else series.upper()
        # Step 0 is where the first episode starts, and our episodes count from 1.
        episode = 1 + steps / (streams * world.episode_steps)
        curves.append(PaperCurve(series, f"paper's {shown} (fig. {figure})", episode, returns))
    return tuple(curves)


@cache
def paper_bandit_score(env: str, test_set: str, method: str) -> float | None:
    """The paper's score (r - random) / (UCB - random) over 100 pulls (figure 3), or none."""
    for row in _rows():
        if row["figure"] == "3" and (row["env"], row["series"]) == (f"{env}/{test_set}", method):
            return float(row["mean"])
    return None


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = (files("adbench") / "data" / "paper_curves.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))

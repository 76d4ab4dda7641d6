"""The paper's returns at several context lengths: figure 7 of Laskin et al. 2022, on Key-to-Door.

Digitised from the vector figure: the last points of its curves, after 1,000 episodes. The error is
about 0.5 % of an axis; bands are as in the figure. The text beside it calls the world Dark Room;
the figure itself, and its returns, say Dark Key-to-Door.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

WORLD = "key-to-door"
"""Whose returns they are."""
EPISODE_STEPS = 50
RANDOM_RETURN, OPTIMAL_RETURN = 0.249, 2.0
"""Of that world in the paper's form, where an episode starts anywhere: random actions (200,000
simulated episodes) and the best policy."""


@dataclass(frozen=True)
class PaperLength:
    """One curve's end.

    Attributes:
        context_steps: transitions in the context.
        final_return: return after 1,000 episodes.
        band: low and high end of the figure's band.
    """

    context_steps: int
    final_return: float
    band: tuple[float, float]

    @property
    def episodes(self) -> float:
        """The context in episodes."""
        return self.context_steps / EPISODE_STEPS

    @property
    def score(self) -> float:
        """Random 0, optimal 1."""
        return (self.final_return - RANDOM_RETURN) / (OPTIMAL_RETURN - RANDOM_RETURN)


@cache
def paper_lengths() -> tuple[PaperLength, ...]:
    """All of them, the shortest first."""
    text = (files("adbench") / "data" / "paper_context.csv").read_text(encoding="utf-8")
    return tuple(
        PaperLength(
            int(row["context_steps"]),
            float(row["mean"]),
            (float(row["band_low"]), float(row["band_high"])),
        )
        for row in csv.DictReader(text.splitlines())
    )

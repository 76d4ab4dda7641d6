"""How figures look: colours, dashes, fonts, and where labels go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

GREY = "#777777"
LIGHT = "#b0b0b0"
INK = "#222222"


@dataclass(frozen=True)
class Look:
    """How a row's line looks: a colour of Okabe and Ito's (for all eyes) and a dash."""

    colour: str
    dash: Any = "-"
    width: float = 1.6


LOOKS = {
    "ad": Look("#0072B2", width=2.6),
    "ed": Look("#CC79A7"),
    "ad-shuffled": Look("#009E73"),
    "ad-no-reward": Look("#56B4E9", (0, (5, 1.5))),
    "ad-blind": Look("#8C6BB1", (0, (5, 1.5))),
    "sweep": Look("#6B6B00", (0, (5, 1.5))),
    "source": Look("#D55E00"),
    "source-best": Look("#E69F00"),
    "random": Look(INK, ":", 1.2),
    "optimal": Look(INK, "--", 1.2),
}

PAPER_DASHES = {"ad": "-", "ed": "--", "source": "-.", "rl2": ":"}

_RC: dict[str, Any] = {
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so a figure is the same on every machine
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "adbench",  # or ids inside the file differ from one drawing to the next
    "path.simplify_threshold": 0.2,
    "text.parse_math": False,  # a task called "$x" is a name, not a formula
}


@contextmanager
def drawing() -> Iterator[None]:
    """Our look, and nothing of the user's matplotlibrc."""
    with mpl.rc_context():
        mpl.rcdefaults()
        settings: Any = mpl.rcParams
        settings.update(_RC)
        yield


def look(method: str) -> Look:
    """How a row looks; one unknown here is grey."""
    return LOOKS.get(method, Look(GREY))


def svg(figure: Figure) -> str:
    """A figure as an SVG document that is equal for equal content."""
    from io import StringIO

    from matplotlib.backends.backend_svg import FigureCanvasSVG

    text = StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(text, metadata={"Date": None, "Creator": None})
    return text.getvalue()


def spread(wanted: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Positions as near as may be to those wanted, at least `gap` apart and between two ends.

    Labels keep their order. Where there is no room, they are spaced evenly.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    if not order:
        return []
    gap = min(gap, (high - low) / max(1, len(order) - 1))
    # Runs of touching labels, each moved as one to where its members would like to be on average.
    runs: list[tuple[float, int]] = []
    for i in order:
        centre, size = min(max(wanted[i], low), high), 1
        while runs:
            before, count = runs[-1]
            if centre - before >= gap * (count + size) / 2 - 1e-12:
                break
            runs.pop()
            centre = (before * count + centre * size) / (count + size)
            size += count
            half = gap * (size - 1) / 2
            centre = min(max(centre, low + half), high - half)
        runs.append((centre, size))
    places = [centre + gap * (j - (size - 1) / 2) for centre, size in runs for j in range(size)]
    found = [0.0] * len(wanted)
    for i, place in zip(order, places, strict=True):
        found[i] = place
    return found

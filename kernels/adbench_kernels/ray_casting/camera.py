"""The camera that all implementations share: MiniWorld's.

It looks level along its yaw. A ray through a point of the frame, y pixels from its top and x from
its left, is forward + s right + e up, where s = (x - width / 2) p, e = (height / 2 - y) p and p is
the slope of one pixel. Its length along forward is 1, so a ray's t is depth.
"""

from __future__ import annotations

import math

FIELD_OF_VIEW = math.radians(60.0)
"""Of the frame's height."""

NEAR = 0.04
"""Metres; nothing nearer is drawn."""

SAMPLES: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.5, 0.5),),
    4: ((0.375, 0.875), (0.875, 0.625), (0.125, 0.375), (0.625, 0.125)),
}
"""Where in a pixel (from its left, from its top) it is looked at. Four: as Mesa's llvmpipe."""


def pixel_slope(height: int) -> float:
    """p of a frame with that many rows."""
    return 2.0 * math.tan(FIELD_OF_VIEW / 2.0) / height

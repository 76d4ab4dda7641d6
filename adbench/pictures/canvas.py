"""Frames side by side, enlarged, framed and labelled.

An image is uint8 [Y, X, 3], red, green, blue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
INK: Colour = (34, 34, 34)
FOUND: Colour = (0, 158, 115)
"""The green of a goal that was reached."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
LINE_PIXELS = 20
"""Height of a line of text."""


def enlarged(image: Image, height: int) -> Image:
    """An image at least `height` rows high, by a whole factor: a pixel stays one colour."""
    factor = max(1, -(-height // image.shape[0]))
    return _array(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST))


def bordered(image: Image, colour: Colour, pixels: int = 2) -> Image:
    """The image with its outermost pixels in one colour."""
    framed = image.copy()
    framed[:pixels], framed[-pixels:] = colour, colour
    framed[:, :pixels], framed[:, -pixels:] = colour, colour
    return framed


def labelled(image: Image, *lines: str) -> Image:
    """An image below lines of text; what does not fit its width is cut off."""
    strip = np.full((LINE_PIXELS * len(lines), image.shape[1], 3), 255, np.uint8)
    for number, line in enumerate(lines):
        write(strip, line, (3, LINE_PIXELS * number + 14))
    return np.concatenate([strip, image])


def write(image: Image, text: str, at: tuple[int, int], colour: Colour = INK) -> None:
    """Write into an image; `at` is the left end of the text's baseline, (column, row)."""
    cv2.putText(image, text, at, _FONT, 0.42, colour, 1, cv2.LINE_AA)


def beside(images: Sequence[Image], gap: int = 6) -> Image:
    """Images in a row on white, their tops level."""
    height = max(image.shape[0] for image in images)
    row = [_padded(image, height, image.shape[1]) for image in images]
    between = np.full((height, gap, 3), 255, np.uint8)
    return np.concatenate([part for image in row for part in (image, between)][:-1], axis=1)


def below(images: Sequence[Image], gap: int = 6) -> Image:
    """Images in a column on white, their left ends level."""
    width = max(image.shape[1] for image in images)
    column = [_padded(image, image.shape[0], width) for image in images]
    between = np.full((gap, width, 3), 255, np.uint8)
    return np.concatenate([part for image in column for part in (image, between)][:-1])


def margined(image: Image, pixels: int = 8) -> Image:
    """An image with white around it."""
    return np.pad(image, ((pixels, pixels), (pixels, pixels), (0, 0)), constant_values=255)


def _padded(image: Image, height: int, width: int) -> Image:
    down, right = height - image.shape[0], width - image.shape[1]
    return np.pad(image, ((0, down), (0, right), (0, 0)), constant_values=255)


def _array(image: Any) -> Image:
    return np.asarray(image, np.uint8)

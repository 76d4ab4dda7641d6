"""Pictures to files: PNG, GIF and MP4, whole or not at all.

T frames, each uint8 [Y, X, 3]. OpenCV writes PNG and MP4. GIF is Pillow's: OpenCV 5.0's own writer
has a fixed palette and shows these frames 16 of 255 off on average, Pillow with one palette for all
frames 1.7.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from adbench.errors import AdbenchError, UsageError
from adbench.pictures.canvas import Image

SUFFIXES = (".gif", ".mp4", ".png")
_PALETTE_FRAMES = 12
"""Frames that the palette is chosen by, evenly spaced."""


class PictureError(AdbenchError):
    """A picture cannot be written here."""


def check_target(path: Path, suffixes: Sequence[str], *, overwrite: bool) -> None:
    """Refuse a file that could not be written in the end, before anything is drawn.

    Args:
        path: where to.
        suffixes: that can be written.
        overwrite: whether a file that is there may go.

    Raises:
        UsageError: another suffix, a folder in its place, no folder to lie in, or a file is there.
    """
    if path.suffix.lower() not in suffixes:
        raise UsageError(
            f"{path}: a picture's name ends in {' or '.join(suffixes)}; "
            f"got {path.suffix or 'no ending'!r}."
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Name a file in it.")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} does not exist. Make the folder first.")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already. Name another file, or add --overwrite.")


def save_image(path: Path, image: Image) -> None:
    """Write a PNG.

    Raises:
        PictureError: it cannot be written.
    """
    smallest = (cv2.IMWRITE_PNG_COMPRESSION, 9)
    ok, raw = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), smallest)
    assert ok
    _put(path, raw.tobytes())


def save_clip(path: Path, frames: Sequence[Image], *, frames_per_second: float) -> None:
    """Write a GIF or an MP4, by the name's ending; all frames must be of one size.

    Raises:
        PictureError: it cannot be written.
    """
    if path.suffix.lower() == ".gif":
        _put(path, gif_bytes(frames, frames_per_second=frames_per_second))
    else:
        _save_mp4(path, frames, frames_per_second)


def gif_bytes(frames: Sequence[Image], *, frames_per_second: float, colours: int = 256) -> bytes:
    """A GIF that plays for ever, with one palette for all frames; equal frames, equal bytes.

    Args:
        frames: T of them, of one size.
        frames_per_second: GIF counts in hundredths of a second.
        colours: size of the palette.
    """
    every = max(1, len(frames) // _PALETTE_FRAMES)
    seen = Pillow.fromarray(np.concatenate(frames[::every]))
    palette = seen.quantize(colours, method=Pillow.Quantize.MEDIANCUT)
    drawn = [
        Pillow.fromarray(frame).quantize(palette=palette, dither=Pillow.Dither.NONE)
        for frame in frames
    ]
    raw = io.BytesIO()
    drawn[0].save(
        raw,
        "GIF",
        save_all=True,
        append_images=drawn[1:],
        duration=10 * max(1, round(100 / frames_per_second)),
        loop=0,
    )
    return raw.getvalue()


def _save_mp4(path: Path, frames: Sequence[Image], frames_per_second: float) -> None:
    # The codec wants even sizes.
    rows, columns = (size + size % 2 for size in frames[0].shape[:2])
    beside = path.with_name(f".{path.stem}.tmp{path.suffix}")
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(beside), codec, frames_per_second, (columns, rows))
    if not writer.isOpened():
        beside.unlink(missing_ok=True)
        raise PictureError(
            f"{path} cannot be written: OpenCV finds no MP4 encoder here, or no such place. "
            "Name a file that ends in .gif."
        )
    for frame in frames:
        down, right = rows - frame.shape[0], columns - frame.shape[1]
        even = np.pad(frame, ((0, down), (0, right), (0, 0)), constant_values=255)
        writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
    writer.release()
    _move(beside, path)


def _put(path: Path, raw: bytes) -> None:
    beside = path.with_name(f".{path.name}.tmp")
    try:
        beside.write_bytes(raw)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise PictureError(f"{path} cannot be written: {error.strerror or error}.") from None
    _move(beside, path)


def _move(beside: Path, path: Path) -> None:
    try:
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise PictureError(f"{path} cannot be written: {error.strerror or error}.") from None

"""What has to be reached on an H200, worked out from what was measured.

Best of torch is the fastest of SDPA's back ends and compiled FlexAttention in the same file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.on_gpu import growth

Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]
Line = tuple[str, str, str, str]

NARROW, SHORT_T, LONG_T = (16, 32), (64, 256), (16_384, 65_536)
SDPA = ("sdpa-flash", "sdpa-cudnn", "sdpa-efficient")
OURS = "triton"
SUITE = "adbench"
"""As the sections on whole updates call the suite's own model."""
COST_EXPONENT = 1.05
FRAMES_PER_S = {1: 3.0, 4: 1.0}
"""Millions of frames of 64 x 64 a second, by samples a pixel."""


def judge(fresh: Rows, copy_bytes_per_s: float | None) -> list[Line]:
    """A line a target: what, at least, measured (the worst case of it), reached.

    Args:
        fresh: rows by section.
        copy_bytes_per_s: the measured copy bandwidth.
    """
    attention = [r for r in _ok(fresh.get("attention", ())) if r["case"]["op"] == "attention"]
    lines = [
        _ratios("D 16 and 32, causal, T 1k to 16k, forward and backward: best of torch / ours", 1.3,
                _against_torch(attention, NARROW, (1024, 4096, 16_384))),
        _ratios("window 1k, T 16k and up, D 32 and 64: compiled Flex / ours", 2.0,
                _window(attention, "flex", "window", (32, 64))),
        _ratios("window 1k, T 16k and up, D 16 to 64: dense causal, best of torch / ours", 6.0,
                _window(attention, None, "causal", (16, 32, 64))),
        _ratios("T 64 and 256, forward and backward: best of torch / ours", 1.5,
                _against_torch(attention, (16, 32, 64, 128), SHORT_T)),
        _ratios("D 64 and 128, dense causal, every length: best of torch / auto", 0.97,
                _against_torch(attention, (64, 128), None, ours="auto")),
        _shares("ring decode, 1,024 lanes, window 1,024: of copy bandwidth", 0.6,
                _bandwidth(_ok(fresh.get("ring", ())), copy_bytes_per_s,
                           mode="attend", lanes=1024, window=1024, new=1)),
        _ratios("patch embedding, both directions: eager bfloat16 / ours", 2.5,
                _patches(_ok(fresh.get("patch_embed", ())))),
        _shares("patch embedding, forward: of copy bandwidth", 0.6,
                _bandwidth(_ok(fresh.get("patch_embed", ())), copy_bytes_per_s, mode="forward")),
        *(_frames(_ok(fresh.get("render", ())), samples, millions)
          for samples, millions in FRAMES_PER_S.items()),
    ]  # fmt: skip
    return [*lines, _cost(fresh.get("train", ())), _error(fresh)]


def _ok(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["status"] == "ok"]


def _find(rows: Iterable[Row], **wanted: Any) -> float | None:
    """Median of the case, ms."""
    for row in rows:
        if all(row["case"].get(name) == value for name, value in wanted.items()):
            return float(row["median_ms"])
    return None


def _best_of_torch(rows: Sequence[Row], **wanted: Any) -> float | None:
    found = [_find(rows, implementation=name, **wanted) for name in (*SDPA, "flex")]
    return min((ms for ms in found if ms is not None), default=None)


def _against_torch(
    rows: Sequence[Row],
    widths: Sequence[int],
    lengths: Sequence[int] | None,
    *,
    ours: str = OURS,
) -> list[float]:
    every = sorted({row["case"]["T"] for row in rows})
    found = []
    for head_dim in widths:
        for length in every if lengths is None else lengths:
            case = {"mode": "both", "mask": "causal", "D": head_dim, "T": length}
            mine, best = _find(rows, implementation=ours, **case), _best_of_torch(rows, **case)
            if mine and best:
                found.append(best / mine)
    return found


def _window(
    rows: Sequence[Row], other: str | None, other_mask: str, widths: Sequence[int]
) -> list[float]:
    found = []
    for head_dim in widths:
        for length in LONG_T:
            case = {"mode": "both", "D": head_dim, "T": length}
            mine = _find(rows, implementation=OURS, mask="window", **case)
            if other:
                theirs = _find(rows, implementation=other, mask=other_mask, **case)
            else:
                theirs = _best_of_torch(rows, mask=other_mask, **case)
            if mine and theirs:
                found.append(theirs / mine)
    return found


def _bandwidth(rows: Sequence[Row], copy: float | None, **wanted: Any) -> list[float]:
    if not copy:
        return []
    return [
        1e9 * row["gb_per_s"] / copy
        for row in rows
        if row["case"]["implementation"] == OURS
        and all(row["case"].get(name) == value for name, value in wanted.items())
    ]


def _patches(rows: Sequence[Row]) -> list[float]:
    found = []
    for frame in {row["case"]["frame"] for row in rows}:
        case = {"mode": "both", "frame": frame}
        mine = _find(rows, implementation=OURS, **case)
        eager = _find(rows, implementation="reference", **case)
        if mine and eager:
            found.append(eager / mine)
    return found


def _frames(rows: Sequence[Row], samples: int, millions: float) -> Line:
    wanted = {"frame": "64x64", "samples": samples, "implementation": OURS}
    rates = [row["frames_per_s"] for row in rows if wanted.items() <= row["case"].items()]
    found = [max(rates) / 1e6] if rates else []
    what = f"frames of 64 x 64, {samples} sample{'s' * (samples > 1)} a pixel, best batch"
    return _line(what, f"{millions:g} million/s", found, millions, "{:.2f} million/s")


def _ratios(what: str, least: float, found: Sequence[float]) -> Line:
    return _line(what, f"{least:g}x", found, least, "{:.2f}x")


def _shares(what: str, least: float, found: Sequence[float]) -> Line:
    return _line(what, f"{100 * least:.0f} %", found, least, "{:.0%}")


def _line(what: str, shown: str, found: Sequence[float], least: float, form: str) -> Line:
    if not found:
        return what, shown, "not measured", ""
    span = form.format(min(found))
    if len(found) > 1:
        span += f" to {form.format(max(found))} ({len(found)} cases)"
    return what, shown, span, "yes" if min(found) >= least else "no"


def _cost(rows: Sequence[Row]) -> Line:
    what = "training, window fixed: exponent of a row's cost over its length"
    found = [
        line.growth.exponent
        for line in growth.exponents("train", rows)
        if line.case["implementation"] == SUITE and line.case["window"] != "context"
    ]
    shown = f"at most {COST_EXPONENT:g}"
    if not found:
        return what, shown, "not measured", ""
    reached = "yes" if max(found) <= COST_EXPONENT else "no"
    return what, shown, f"{max(found):.3f} at worst ({len(found)} lines)", reached


def _error(fresh: Rows) -> Line:
    what = "error of every timed case of ours, over that of plain bfloat16"
    found = [
        row["error"] / row["error_of_plain"]
        for rows in fresh.values()
        for row in _ok(rows)
        if row["case"].get("implementation") in (OURS, SUITE) and row.get("error_of_plain")
    ]
    if not found:
        return what, "at most 2x", "not measured", ""
    return what, "at most 2x", f"{max(found):.2f}x at worst", "yes" if max(found) <= 2 else "no"

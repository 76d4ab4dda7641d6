"""Which tiles to try for which kernel, as cases like any other: checked first, then timed.

A tile that spills registers is passed over: what it gains on one version of Triton it loses on the
next. One kernel is tuned at a time, through the public operation that launches it, with the table's
tiles for the others.

D head width, T keys a row.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from adbench_kernels.configs import HEAD_DIMS, KERNELS, Tile, length_bucket, override
from benchmarks.on_gpu import attention, patch_embed, render, ring
from benchmarks.on_gpu.card import Card, is_lost, is_out_of_memory
from benchmarks.on_gpu.cases import Case, UnsupportedError, Work, WrongResultError

LENGTHS = (1024, 8192, 128, 256)
"""One for each bucket of lengths, in the order in which they matter."""
SHORT, SHORT_WIDTH = 128, 64
"""Length and head width up to which the backward pass is one kernel; as its launcher has them."""
RING_LANES, RING_NEW, RING_WINDOWS = 1024, 1, (1024, 4096)

_SIDES = (32, 64, 128)
_GRIDS: Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]] = {
    # block_m, block_n, warps, stages. Below 64 rows Hopper's wide matrix instruction is lost.
    "attention_forward": ((64, 128), _SIDES, (4, 8), (2, 3)),
    "attention_dkdv": (_SIDES, (64, 128), (4, 8), (1, 2)),
    "attention_dq": ((64, 128), _SIDES, (4, 8), (1, 2)),
    "attention_short_backward": ((16, 32, 64, 128), (SHORT,), (4, 8), (1, 2)),
    "ring_decode": ((16,), (32, 64, 128), (2, 4), (2, 3)),
    "patch_forward": ((64, 128), (64, 128, 256), (4, 8), (2, 3)),
    "patch_wgrad": ((64, 128), (64, 128), (4, 8), (2, 3)),
    "raycast": ((16, 32, 64), (16, 32, 64), (2, 4, 8), (1,)),
    "raycast_multisampled": ((8, 16, 32), (16, 32), (2, 4, 8), (1,)),
}
_BLOCK_K = {"patch_forward": (32, 64), "patch_wgrad": (32, 64), "ring_decode": (0, 512)}
"""Of the inner sum; in `ring_decode`, about how many tokens a part of a window has; 0: all."""
_SCORES_A_THREAD = (24, 64)
"""Of a tile whose sums stay in registers: fewer leave the matrix unit idle, more spill."""
_SAMPLES = {"raycast": 1, "raycast_multisampled": 4}
_SAMPLES_A_THREAD = (4, 16)
"""Of a tile of a frame."""


@dataclass(frozen=True)
class Problem:
    """What a kernel is tuned at.

    Attributes:
        kernel: one of `adbench_kernels.configs.KERNELS`.
        head_dim: D, 0 for a kernel without heads.
        length: keys a row, or frames.
        prepare: the work that launches it, on a card.
    """

    kernel: str
    head_dim: int
    length: int
    prepare: Callable[[Card], Work]

    @property
    def key(self) -> dict[str, str | int]:
        """Its columns."""
        return {"kernel": self.kernel, "D": self.head_dim, "T": self.length,
                "bucket": length_bucket(self.length)}  # fmt: skip


def problems(*, smoke: bool, on_gpu: bool) -> list[Problem]:
    """Every kernel that has a grid, at every width and bucket of lengths that it serves.

    Args:
        smoke: one width and length.
        on_gpu: ours is "triton" there, what a CPU has otherwise.
    """
    found = []
    name = "triton" if on_gpu else "blocked"
    for length in (48,) if smoke else LENGTHS:
        for head_dim in (16,) if smoke else HEAD_DIMS:
            for kernel in _GRIDS:
                if not kernel.startswith("attention") or not _serves(kernel, length, head_dim):
                    continue
                mode = "forward" if kernel == "attention_forward" else "backward"
                prepare = partial(
                    attention.prepare, mode=mode, mask_name="causal", length=length,
                    head_dim=head_dim, name=name,
                )  # fmt: skip
                found.append(Problem(kernel, head_dim, length, prepare))
    for head_dim in (16,) if smoke else HEAD_DIMS:
        for window in (20,) if smoke else RING_WINDOWS:
            size = (3 if smoke else RING_LANES, window, RING_NEW, head_dim)
            of = "triton" if on_gpu else "reference"
            ready = partial(ring.prepare, mode="attend", size=size, name=of)
            found.append(Problem("ring_decode", head_dim, window, ready))
    for kernel, mode in (("patch_forward", "forward"), ("patch_wgrad", "backward")):
        frame = (16, 24, 3) if smoke else patch_embed.SIZES[0]
        of = "triton" if on_gpu else "auto"
        ready = partial(patch_embed.prepare, mode=mode, size=frame, name=of)
        found.append(Problem(kernel, 0, patch_embed.FRAMES, ready))
    for kernel, samples in _SAMPLES.items():
        for batch in (3,) if smoke else render.BATCHES:
            pixels = (12, 16) if smoke else render.SIZES[0]
            of = "triton" if on_gpu else "auto"
            drawn = partial(render.prepare, size=pixels, samples=samples, batch=batch, name=of)
            found.append(Problem(kernel, 0, batch, drawn))
    return found


def _serves(kernel: str, length: int, head_dim: int) -> bool:
    if kernel == "attention_forward":
        return True
    short = length <= SHORT and head_dim <= SHORT_WIDTH
    return (kernel == "attention_short_backward") == short


def candidates(kernel: str) -> Iterator[Tile]:
    """Tiles worth trying, from the grid of the kernel."""
    rows, columns, warps, stages = _GRIDS[kernel]
    least, most = _SAMPLES_A_THREAD if kernel in _SAMPLES else _SCORES_A_THREAD
    any_size = kernel in ("ring_decode", "attention_short_backward")
    for m, n, w, s, k in itertools.product(
        rows, columns, warps, stages, _BLOCK_K.get(kernel, (0,))
    ):
        if any_size or least <= _SAMPLES.get(kernel, 1) * m * n / (32 * w) <= most:
            yield Tile(m, n, w, s, k)


def cases(found: Sequence[Problem], *, fewest: bool = False) -> list[Case]:
    """A case for each problem and tile.

    Args:
        found: the problems.
        fewest: two tiles for each, to try the program out.
    """
    return [
        Case({**problem.key, **tile._asdict()}, partial(_prepare, problem=problem, tile=tile), "")
        for problem in found
        for tile in itertools.islice(candidates(problem.kernel), 2 if fewest else None)
    ]


def _prepare(card: Card, problem: Problem, tile: Tile) -> Work:
    if problem.kernel not in KERNELS:
        raise UnsupportedError(f"no kernel named {problem.kernel!r}")
    work = problem.prepare(card)
    # A tile that was tried at another length may be loaded already, and is not loaded again.
    spilled = _SPILLED.setdefault((problem.kernel, problem.head_dim, tile), [])

    def check() -> Mapping[str, float]:
        try:
            with _loaded(spilled), override(problem.kernel, tile):
                found = work.check()
        except (WrongResultError, UnsupportedError):
            raise
        except Exception as error:
            if is_lost(error) or is_out_of_memory(error):
                raise
            raise UnsupportedError(f"{type(error).__name__}: {error}") from error
        if any(spilled):
            raise UnsupportedError(f"spills {max(spilled)} registers")
        return found

    return Work(
        [partial(_under, problem.kernel, tile, call) for call in work.calls],
        check, work.flops, work.bytes, work.elements,
    )  # fmt: skip


def _under(kernel: str, tile: Tile, call: Callable[[], object]) -> object:
    with override(kernel, tile):
        return call()


_SPILLED: dict[tuple[str, int, Tile], list[int]] = {}


@contextmanager
def _loaded(spilled: list[int]) -> Iterator[None]:
    """Note how many registers each kernel spills that is loaded within.

    Triton fills `n_spills` in when it loads a kernel; it has no public way to ask.
    """
    try:
        from triton.compiler.compiler import CompiledKernel
    except ImportError:
        yield
        return
    load: Any = CompiledKernel._init_handles

    def noted(self: Any) -> Any:
        first = self.module is None
        outcome = load(self)
        if first and self.n_spills is not None:
            spilled.append(int(self.n_spills))
        return outcome

    CompiledKernel._init_handles = noted
    try:
        yield
    finally:
        CompiledKernel._init_handles = load

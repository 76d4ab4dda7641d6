"""The evaluate section: the frozen model's steps through its ring cache, over lanes and windows.

A step takes in what every lane saw and samples its action; the environment is not in it. Rings are
full and have wrapped, each lane elsewhere. "eager" is the model block by block, "graph" the same
from observation to action as one CUDA graph, which is how the suite evaluates on a GPU; "recompute"
puts the whole window through the model at every step, as every other public code does. float32 is
what the suite evaluates in.

N lanes, W window, A actions.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from benchmarks.on_gpu import models, plain
from benchmarks.on_gpu.card import Card
from benchmarks.on_gpu.cases import Case, Work, WrongResultError
from benchmarks.on_gpu.exact import errors

if TYPE_CHECKING:
    from adbench.model import DistillationModel
    from adbench.model.cache import ModelCache
    from adbench.tokens import Tokens

ABOUT = "steps of the frozen model: ring cache, one CUDA graph, recomputed window"

LANES, WINDOWS = (1024, 64, 256), (1024, 256, 4096, 16_384)
SMOKE_LANES, SMOKE_WINDOW = 3, 20
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CHECKED, CHECKED_ROWS = 32, 2
"""Lanes that are held against the definition: of a step, and of whole windows."""
LEAST_DECIDED = 0.5
"""Share of the checked lanes whose action rounding cannot change."""


def cases(*, smoke: bool, on_gpu: bool) -> list[Case]:
    """Lanes by windows, three ways; and the graph in bfloat16 at the most lanes.

    Args:
        smoke: tiny ones.
        on_gpu: unused; where there is no GPU "graph" is the same buffers without a graph.
    """
    if smoke:
        return [_case(SMOKE_LANES, SMOKE_WINDOW, "float32", way) for way in _WAYS]
    found = [
        _case(lanes, window, "float32", way)
        for lanes in LANES for window in WINDOWS for way in _WAYS
    ]  # fmt: skip
    return [*found, *(_case(LANES[0], window, "bfloat16", "graph") for window in WINDOWS)]


def _case(lanes: int, window: int, dtype: str, way: str) -> Case:
    key: dict[str, str | int] = {
        "op": "evaluate", "model": "quick", "lanes": lanes, "window": window, "dtype": dtype,
        "implementation": way,
    }  # fmt: skip
    return Case(key, partial(prepare, lanes=lanes, window=window, dtype=dtype, way=way), "model")


class Scene(NamedTuple):
    """A frozen model, and what its lanes see next.

    Attributes:
        model: in evaluation mode.
        tokens: one new token a lane, [N, 1].
        new: how many of them are real, int32 [N]; all ones.
        noise: standard Gumbel noise, float32 [N, A].
    """

    model: DistillationModel
    tokens: Tokens
    new: Tensor
    noise: Tensor


def prepare(card: Card, lanes: int, window: int, dtype: str, way: str) -> Work:
    """A step, ready to be taken.

    Args:
        card: on which.
        lanes: N.
        window: W.
        dtype: of the weights and of what is remembered.
        way: "eager", "graph" or "recompute".

    Raises:
        UnsupportedError: a package is missing.
    """
    models.require()
    from adbench.config import TrainConfig

    config = models.config((models.SMOKE if card.smoke else models.SIZES)["quick"])
    model = models.build(card, config, TrainConfig(window_steps=window))
    scene = Scene(
        model.to(DTYPES[dtype]).eval(),
        models.tokens(card, lanes, 2, seed=1).map(lambda x: x[:, 1:]),
        torch.ones(lanes, dtype=torch.int32, device=card.device),
        -torch.log(torch.empty(lanes, models.ACTIONS, device=card.device).exponential_(
            generator=card.generator(2))),
    )  # fmt: skip
    return _WAYS[way](card, scene, window)


def _eager(card: Card, scene: Scene, window: int) -> Work:
    cache = scene.model.new_cache(len(scene.new))
    _fill(card, cache)

    def logits() -> Tensor:
        return scene.model.step(scene.tokens, count=scene.new, cache=cache)

    @torch.no_grad()
    def call() -> Tensor:
        return (logits() + scene.noise).argmax(dim=-1)

    @torch.no_grad()
    def check() -> Mapping[str, float]:
        some = _some(card, len(scene.new), CHECKED)
        exact, twin = _definitions(scene, cache, some)
        found = errors([logits()[some]], [exact], [twin], ("logits",))
        return {**found, "cache_bytes": float(cache.num_bytes)}

    return _work(scene, call, check, memory=call, moved=_read(scene, window))


def _graph(card: Card, scene: Scene, window: int) -> Work:
    from adbench.model.static import static_step

    step = static_step(scene.model, scene.tokens)
    _fill(card, step.cache)

    @torch.no_grad()
    def call() -> Tensor:
        return step(scene.tokens, scene.new, scene.noise)

    @torch.no_grad()
    def check() -> Mapping[str, float]:
        some = _some(card, len(scene.new), CHECKED)
        exact, twin = _definitions(scene, step.cache, some)
        share = _same_actions(call()[some], exact, twin, scene.noise[some])
        return {"decided": share, "cache_bytes": float(step.cache.num_bytes)}

    # Memory inside a recorded graph is not counted when it is replayed: the same step is.
    return _work(scene, call, check, memory=step.compute, moved=_read(scene, window))


def _recompute(card: Card, scene: Scene, window: int) -> Work:
    from adbench.config import TrainConfig
    from adbench.model.flops import forward_flops
    from adbench.noise import Lanes
    from adbench.policy import RecomputePolicy, StepView

    lanes = len(scene.new)
    policy = RecomputePolicy(scene.model)
    policy.start(Lanes(0, "bench", torch.zeros(lanes, 1), tuple(range(lanes))), card.device)
    before = models.tokens(card, lanes, window - 1, seed=3)
    some = _some(card, lanes, CHECKED_ROWS)
    rows = _joined(before, scene.tokens, some)
    with torch.no_grad():
        policy.remember(before, torch.full_like(scene.new, window - 1))
    del before
    view = StepView(scene.tokens, scene.new)

    @torch.no_grad()
    def call() -> Tensor:
        return policy.act(view, scene.noise)

    @torch.no_grad()
    def check() -> Mapping[str, float]:
        exact = plain.forward(copy.deepcopy(scene.model).double(), rows)[:, -1]
        twin = plain.forward(scene.model, rows)[:, -1]
        found = policy.logits(scene.tokens, scene.new)[some]
        return errors([found], [exact], [twin], ("logits",))

    asked = TrainConfig(context="exact", window_steps=window)
    flops = forward_flops(scene.model.config, asked, models.ACTIONS) * window * lanes
    return _work(scene, call, check, memory=call, flops=flops)


_WAYS: dict[str, Callable[[Card, Scene, int], Work]] = {
    "graph": _graph,
    "eager": _eager,
    "recompute": _recompute,
}


def _work(
    scene: Scene, call: Callable[[], Tensor], check: Callable[[], Mapping[str, float]], *,
    memory: Callable[[], object], flops: float = 0.0, moved: float = 0.0,
) -> Work:  # fmt: skip
    steps = float(len(scene.new))
    # A graph inside a graph is refused, and an eager step in one would be another's time.
    return Work([call], check, flops=flops, bytes=moved, steps=steps, memory=memory, capture=False)


def _read(scene: Scene, window: int) -> float:
    """Bytes that a step reads at least: every lane's window, all layers, and the weights."""
    sizes, weight = scene.model.config, scene.model.head.weight
    kept = 2.0 * sizes.layers * window * sizes.width * len(scene.new)
    return weight.element_size() * (kept + scene.model.num_parameters)


def _fill(card: Card, cache: ModelCache) -> None:
    """Let every lane have seen more than its ring holds, each another number of tokens."""
    for layer, ring in enumerate(cache.rings):
        for kept, salt in ((ring.keys, 0), (ring.values, 1)):
            kept.normal_(generator=card.generator(100 + 2 * layer + salt))
    lane = torch.arange(cache.lanes, device=card.device)
    capacity = cache.state.capacity
    cache.state.length.copy_(capacity + 7 * lane % capacity)


def _some(card: Card, lanes: int, count: int) -> Tensor:
    """The first and the last lanes, int64 [count] or all of them."""
    every = torch.arange(lanes, device=card.device)
    half = count // 2
    return every if lanes <= count else torch.cat((every[:half], every[-half:]))


def _definitions(scene: Scene, cache: ModelCache, some: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of some lanes' next step, [n, A]: in float64, and by plain arithmetic."""
    rings = [tuple(x[some].clone() for x in ring.by_slot()) for ring in cache.rings]
    before = cache.state.length[some].clone()
    tokens = scene.tokens.map(lambda x: x[some])
    wide = copy.deepcopy(scene.model).double()
    exact, twin = (plain.step(m, tokens, before, [(k, v) for k, v in rings])
                   for m in (wide, scene.model))  # fmt: skip
    return exact, twin


def _same_actions(action: Tensor, exact: Tensor, twin: Tensor, noise: Tensor) -> float:
    """The share of lanes whose action rounding cannot change; there it must be the definition's.

    Args:
        action: chosen, int64 [n].
        exact: logits, [n, A].
        twin: the same by plain arithmetic.
        noise: what sampled them, [n, A].

    Raises:
        WrongResultError: another action was chosen, or hardly any is certain.
    """
    best = (exact + noise.double()).topk(2, dim=-1)
    rounding = float((twin.double() - exact).abs().max())
    certain = best.values[:, 0] - best.values[:, 1] > 4 * rounding + 1e-6
    wrong = int((certain & (action != best.indices[:, 0])).sum())
    share = float(certain.float().mean())
    if wrong or share < LEAST_DECIDED or not math.isfinite(rounding):
        raise WrongResultError(
            f"{wrong} of {len(action)} lanes take another action than the definition; rounding "
            f"leaves {share:.0%} certain, and {LEAST_DECIDED:.0%} must be"
        )
    return share


def _joined(before: Tokens, new: Tokens, some: Tensor) -> Tokens:
    """Whole windows of some lanes."""
    from adbench.tokens import Tokens

    left, right = (x.map(lambda part: part[some]) for x in (before, new))
    assert isinstance(left.observation, Tensor) and isinstance(right.observation, Tensor)
    return Tokens(
        torch.cat((left.observation, right.observation), 1),
        *(torch.cat((getattr(left, name), getattr(right, name)), 1)
          for name in ("previous_action", "previous_reward", "ending", "action", "valid")),
    )  # fmt: skip

"""Training, acting and pixels on a card: what is held against the definition before it is timed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import adbench_kernels
from adbench.config import TrainConfig
from adbench.model import DistillationModel, transformer
from adbench.policy import RecomputePolicy
from adbench.tokens import Tokens
from adbench.train import optimise
from benchmarks.on_gpu import evaluate, gradients, models, pixels, plain, train
from benchmarks.on_gpu.card import Card, cpu, machine
from benchmarks.on_gpu.cases import Case, UnsupportedError, WrongResultError
from benchmarks.on_gpu.runner import measure
from benchmarks.on_gpu.store import Store
from benchmarks.on_gpu.timing import Samples

Wrong = Callable[[pytest.MonkeyPatch], None]


class Once:
    """A timer that runs every call once."""

    def __init__(self) -> None:
        self.captures: list[bool] = []

    def samples(self, calls: Any, *, capture: bool = True) -> Samples:
        self.captures.append(capture)
        for call in calls:
            call()
        return Samples((1.0,), "told")


def outcomes(cases: list[Case], folder: Path) -> list[dict[str, Any]]:
    """Rows of some cases of a trial on a CPU."""
    with cpu() as there:
        card = Card(there.device, Once(), smoke=True)
        store = Store(folder / "section.json", "section", machine(card))
        measure(cases, card, store, source=lambda d: d, until=1e9, clock=lambda: 0.0,
                say=lambda line: None)  # fmt: skip
    return store.rows


def chosen(cases: list[Case], **wanted: str) -> list[Case]:
    return [case for case in cases if wanted.items() <= case.key.items()]


@pytest.fixture
def card() -> Card:
    return Card(torch.device("cpu"), Once(), smoke=True)


def model_of(card: Card, training: TrainConfig) -> DistillationModel:
    return models.build(card, models.config(models.SMOKE["quick"]), training)


@pytest.mark.parametrize("context", ["banded", "exact"])
def test_the_plain_model_is_the_model(card: Card, context: str) -> None:
    training = (TrainConfig(window_steps=6) if context == "banded"
                else TrainConfig(context="exact", window_steps=30))  # fmt: skip
    model = model_of(card, training).double()
    tokens = models.tokens(card, 2, 30, seed=0)
    assert torch.allclose(plain.forward(model, tokens), model(tokens), atol=1e-12)


def test_the_plain_step_is_the_models_past_the_wrap(card: Card) -> None:
    model = model_of(card, TrainConfig(window_steps=5)).double().eval()
    tokens = models.tokens(card, 3, 60, seed=0)
    cache, one = model.new_cache(3), torch.ones(3, dtype=torch.int32)
    with torch.no_grad():
        for at in range(60):
            new = tokens.map(lambda x, at=at: x[:, at : at + 1])  # type: ignore[misc]
            rings = [ring.by_slot() for ring in cache.rings]
            before = cache.state.length.clone()
            expected = plain.step(model, new, before, [(k.clone(), v.clone()) for k, v in rings])
            assert torch.allclose(model.step(new, count=one, cache=cache), expected, atol=1e-12)
    assert int(cache.state.length.min()) > 2 * cache.state.capacity


@pytest.mark.parametrize("reach", [9, None])
def test_what_few_tokens_ask_depends_on_their_stretch_alone(card: Card, reach: int | None) -> None:
    training = (TrainConfig(window_steps=5) if reach
                else TrainConfig(context="exact", window_steps=40))  # fmt: skip
    model = model_of(card, training).double()
    tokens = models.tokens(card, 3, 40, seed=0)
    tokens.valid[2, 30:] = False
    asked = gradients.question(tokens, reach=reach, asked=4)
    rows, places = asked.tokens.asks.nonzero(as_tuple=True)
    assert rows.tolist() == [1] * len(rows) and len(rows) in (3, 4)  # one may be a final one
    assert asked.stretch.shape == ((1, 12) if reach else (1, 4))
    assert (int(places.max()) == 39) if reach else (int(places.min()) == 0)
    whole = model(asked.tokens)[1][asked.tokens.asks[1]]
    stretch = model(asked.stretch)[0][asked.stretch.asks[0]]
    assert torch.allclose(whole, stretch, atol=1e-12)


def attention_sees_one_token_more(monkeypatch: pytest.MonkeyPatch) -> None:
    real = adbench_kernels.rotary_attention

    def wider(qkv: Tensor, turns: Tensor, *, window: int | None, dropout: float) -> Tensor:
        return real(qkv, turns, window=window and window + 1, dropout=dropout)

    monkeypatch.setattr(transformer, "rotary_attention", wider)


def a_block_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = DistillationModel._read

    def short(self: DistillationModel, vectors: Any) -> Tensor:
        kept, self.blocks = self.blocks, self.blocks[:-1]
        try:
            return real(self, vectors)
        finally:
            self.blocks = kept

    monkeypatch.setattr(DistillationModel, "_read", short)


@pytest.mark.parametrize("wrong", [attention_sees_one_token_more, a_block_is_left_out])
def test_a_wrong_update_is_found_before_it_is_timed(
    wrong: Wrong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong(monkeypatch)
    cases = chosen(train.cases(smoke=True, on_gpu=False), model="quick", implementation="adbench")
    (row,) = outcomes([case for case in cases if case.key["window"] != "context"], tmp_path)
    assert row["status"] == "wrong" and "gradient of" in row["reason"] and "median_ms" not in row


def test_an_update_that_does_not_descend_is_found_before_it_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = optimise.apply_gradients
    monkeypatch.setattr(
        optimise, "apply_gradients", lambda o, *, rate, clip: real(o, rate=-rate, clip=clip)
    )
    cases = chosen(train.cases(smoke=True, on_gpu=False), model="quick", window="context")
    rows = outcomes(cases, tmp_path)
    assert [row["status"] for row in rows] == ["wrong"] * 2
    assert all("does not fall" in row["reason"] for row in rows)


def keys_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    real = evaluate._fill

    def filled(card: Card, cache: Any) -> None:
        real(card, cache)
        cache.window -= 5
        cache.stack = None

    monkeypatch.setattr(evaluate, "_fill", filled)


def the_oldest_token_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    real = RecomputePolicy.remember

    def short(self: Any, tokens: Tokens, count: Tensor) -> Any:
        rows, length = real(self, tokens, count)
        return rows.map(lambda x: x[:, 8:]), length - 8

    monkeypatch.setattr(RecomputePolicy, "remember", short)


@pytest.mark.parametrize(
    ("way", "wrong"), [("eager", keys_are_forgotten), ("recompute", the_oldest_token_is_dropped)]
)
def test_a_wrong_step_is_found_before_it_is_timed(
    way: str, wrong: Wrong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong(monkeypatch)
    (row,) = outcomes(
        chosen(evaluate.cases(smoke=True, on_gpu=False), implementation=way), tmp_path
    )
    assert row["status"] == "wrong" and "logits" in row["reason"] and "median_ms" not in row


def test_another_action_is_found_where_rounding_leaves_no_doubt() -> None:
    exact = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0 + 1e-7]], dtype=torch.float64)
    twin, noise = exact.float() + 1e-4, torch.zeros(3, 2)
    same = evaluate._same_actions(torch.tensor([0, 1, 0]), exact, twin, noise)
    assert same == pytest.approx(2 / 3)
    with pytest.raises(WrongResultError, match="1 of 3 lanes"):
        evaluate._same_actions(torch.tensor([1, 1, 0]), exact, twin, noise)
    with pytest.raises(WrongResultError, match="0% certain"):
        evaluate._same_actions(torch.tensor([0, 1, 0]), exact, exact.float() + 1.0, noise)


def test_rings_are_full_and_no_two_lanes_stand_at_the_same_place(card: Card) -> None:
    cache = model_of(card, TrainConfig(window_steps=20)).new_cache(5)
    evaluate._fill(card, cache)
    length, capacity = cache.state.length, cache.state.capacity
    assert int(length.min()) >= capacity and len(set((length % capacity).tolist())) == 5
    assert all(float(ring.keys.abs().min()) >= 0 and bool(ring.keys.any()) for ring in cache.rings)


def test_a_wrong_encoder_is_found_before_it_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels._scene.cache_clear()
    cases = pixels.cases(smoke=True, on_gpu=False)
    (right,) = outcomes(chosen(cases, stage="whole"), tmp_path)
    assert right["status"] == "ok" and right["frames_per_s"] > 0 and right["tokens_per_s"] > 0
    real = plain.frames
    monkeypatch.setattr(plain, "frames", lambda encoder, seen: real(encoder, seen.flip(1)))
    wrong = [*chosen(cases, stage="encode"), *chosen(cases, stage="update")]
    assert [row["status"] for row in outcomes(wrong, tmp_path / "wrong")] == ["wrong", "wrong"]
    pixels._scene.cache_clear()


def test_without_gymnasium_a_section_says_what_to_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "NEEDED", ("gymnasium_that_nobody_has",))
    with pytest.raises(UnsupportedError, match=r"gymnasium_that_nobody_has.*benchmarks\.wheels"):
        models.require()


def test_nothing_that_launches_by_itself_is_captured(tmp_path: Path) -> None:
    timer = Once()
    with cpu() as there:
        card = Card(there.device, timer, smoke=True)
        store = Store(tmp_path / "evaluate.json", "evaluate", machine(card))
        cases = chosen(evaluate.cases(smoke=True, on_gpu=False), implementation="graph")
        measure(cases, card, store, source=lambda d: d, until=1e9, clock=lambda: 0.0,
                say=lambda line: None)  # fmt: skip
    assert timer.captures == [False]

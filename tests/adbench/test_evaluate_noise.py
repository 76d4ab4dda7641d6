"""The noise behind every sampled action: standard Gumbel, keyed by lane and step."""

from __future__ import annotations

import math

import pytest
import torch

from adbench.noise import Lanes


def _lanes(count: int, *, seed: int = 0, stage: str = "test") -> Lanes:
    return Lanes(seed, stage, torch.arange(count), (0,) * count)


def test_gumbel_noise_has_the_mean_and_variance_of_a_standard_gumbel() -> None:
    noise = _lanes(400).noise("action", 5)
    drawn = torch.stack([noise.gumbel_at(step) for step in range(60)])
    assert drawn.isfinite().all()
    count = drawn.numel()
    # Euler's constant; pi^2 / 6. Five standard errors (the fourth moment of a Gumbel is 5.4 s^4).
    variance = math.pi**2 / 6
    assert drawn.mean().item() == pytest.approx(0.57722, abs=5 * math.sqrt(variance / count))
    assert drawn.var().item() == pytest.approx(variance, abs=5 * variance * math.sqrt(4.4 / count))


def test_the_argmax_of_logits_and_noise_samples_the_softmax() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0, 0.5])
    noise = _lanes(500).noise("action", 5)
    chosen = torch.stack([(logits + noise.gumbel_at(step)).argmax(-1) for step in range(80)])
    share = chosen.flatten().bincount(minlength=5) / chosen.numel()
    wanted = logits.softmax(0)
    # Five standard errors of 40,000 draws.
    assert ((share - wanted).abs() < 5 * (wanted * (1 - wanted) / chosen.numel()).sqrt()).all()


def test_noise_at_the_ends_of_its_range_is_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = _lanes(1).noise("action", 2)
    largest = 1 - 2.0**-24  # float32 draws are multiples of 2^-24 below 1
    monkeypatch.setattr(noise, "at", lambda step: torch.tensor([[0.0, largest]]))
    low, high = noise.gumbel_at(0)[0].tolist()
    assert math.isfinite(low) and math.isfinite(high) and low < -4 < 16 < high


def test_any_order_of_steps_gives_the_same_noise_and_purposes_share_none() -> None:
    forwards, backwards = (_lanes(3).noise("action", 7) for _ in range(2))
    steps = [0, 1, 255, 256, 257, 900]
    rising = [forwards.at(step).clone() for step in steps]
    falling = [backwards.at(step).clone() for step in reversed(steps)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(rising, falling, strict=True))
    first = _lanes(3).noise("action", 7).at(0)
    for other in (
        _lanes(3).noise("env", 7),
        _lanes(3, seed=1).noise("action", 7),
        _lanes(3, stage="else").noise("action", 7),
    ):
        assert not (other.at(0) == first).any()

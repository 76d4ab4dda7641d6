"""Checks of what random and perfect play are said to earn: scores are measured against it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from adbench.contract.check import check
from adbench.contract.subject import Subject
from adbench.noise import generator

_MOST_EPISODES = 200
_STANDARD_ERRORS = 5.0
_ROUNDING = 1e-4


@check(
    "returns",
    "random and optimal returns are float32 [N] of those tasks, random at most optimal",
    needs=("make",),
    advice="random_return(tasks) and optimal_return(tasks) are expected returns of one episode, "
    "one a task; optimal_return may be None where nobody knows.",
)
def returns(subject: Subject) -> Iterator[str]:
    """Types, finiteness, order, and that a task's number does not depend on its neighbours."""
    family, tasks = subject.family, subject.tasks
    chance, best = family.random_return(tasks), family.optimal_return(tasks)
    given = (
        {"random_return": chance}
        if best is None
        else {
            "random_return": chance,
            "optimal_return": best,
        }
    )
    sound = True
    for name, found in given.items():
        if not isinstance(found, Tensor):
            yield f"{name} gave a {type(found).__name__}, not a tensor"
            sound = False
        elif found.dtype != torch.float32 or tuple(found.shape) != (len(tasks),):
            yield f"{name} gave {found.dtype} {list(found.shape)}, not float32 [{len(tasks)}]"
            sound = False
        elif not bool(torch.isfinite(found).all()):
            yield f"{name} is infinite or NaN for some task"
    if not sound:
        return
    if best is not None and bool((chance.cpu() > best.cpu() + _ROUNDING).any()):
        lane = int((chance.cpu() - best.cpu()).argmax())
        yield (
            f"random play is said to earn {float(chance[lane]):g} on task {tasks[lane].tolist()} "
            f"and perfect play {float(best[lane]):g}"
        )
    backwards = family.random_return(tasks.flip(0)).flip(0)
    if not torch.allclose(backwards.cpu(), chance.cpu(), rtol=1e-5, atol=1e-5):
        yield "random_return of a task depends on which tasks it is asked about together with"
    if best is not None:
        again = family.optimal_return(tasks.flip(0))
        if again is None or not torch.allclose(
            again.flip(0).cpu(), best.cpu(), rtol=1e-5, atol=1e-5
        ):
            yield "optimal_return of a task depends on which tasks it is asked about together with"


@check(
    "random-return",
    "random_return is what uniformly random actions earn",
    needs=("returns", "determinism"),
    advice="It is the expected return of one episode of uniformly random actions, final step "
    "included. Compute it, or estimate it from many whole episodes with keyed draws.",
)
def random_return(subject: Subject) -> Iterator[str]:
    """Whole episodes of random play, and the mean over tasks within five standard errors."""
    family, lanes = subject.family, len(subject.tasks)
    episodes = subject.sample_steps // (lanes * family.max_episode_steps)
    episodes = max(2, min(episodes, _MOST_EPISODES))
    sample = _random_returns(subject, episodes)  # [N, K]
    claimed = family.random_return(subject.tasks).cpu().double()
    best = family.optimal_return(subject.tasks)
    # A sparse reward may not show at all in a small sample: its spread is then unseen, not zero.
    scale = max(float(sample.max() - sample.min()), float(claimed.abs().max()), 1e-9)
    if best is not None:
        scale = max(scale, float((best.cpu() - claimed).abs().max()))
    variance = float(sample.var(dim=1).mean()) + scale**2 / (lanes * episodes + 1)
    # A family may have estimated what it says, from so many episodes a task.
    own = getattr(family, "random_episodes", None)
    error = (variance / (lanes * episodes) + (variance / (lanes * own) if own else 0.0)) ** 0.5
    apart = abs(float(sample.mean()) - float(claimed.mean()))
    if apart > _STANDARD_ERRORS * error + _ROUNDING:
        yield (
            f"it says {float(claimed.mean()):.4g} on average over {lanes} tasks; {episodes} "
            f"episodes of each earned {float(sample.mean()):.4g} (standard error {error:.2g})"
        )


def _random_returns(subject: Subject, episodes: int) -> Tensor:
    lanes = len(subject.tasks)
    choices = int(subject.family.action_space.n)
    draws = generator("check-env random play", subject.seed)
    returns = torch.zeros(lanes, episodes + 1, dtype=torch.float64)  # the last column: spare steps
    played = torch.zeros(lanes, dtype=torch.int64)
    env = subject.make(seed=1)
    try:
        env.reset()
        for _ in range(episodes * subject.family.max_episode_steps):
            actions = torch.from_numpy(draws.integers(choices, size=lanes)).to(subject.device)
            _, reward, _, _, info = env.step(actions)
            returns[torch.arange(lanes), played] += reward.cpu()
            played = (played + info["_final_obs"].cpu()).clamp(max=episodes)
            if bool((played == episodes).all()):
                break
    finally:
        env.close()
    return returns[:, :episodes]

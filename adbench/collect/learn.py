"""Learners learning, thousands at once, and what they lived through.

M learners with A actors (streams) each drive M * A lanes, of which each learner's first K are kept:
H = M * K histories of up to S steps and E episodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adbench import plugins
from adbench.allocator import keep_freed_memory
from adbench.collect.ledger import Array, Ledger
from adbench.collect.record import Keeper
from adbench.collect.stream import transitions
from adbench.config import SourceConfig
from adbench.errors import Stopped
from adbench.noise import Lanes, key_of
from adbench.progress import Progress, Stop, never, silent
from adbench.task import BatchedEnv, TaskFamily

_TELL_STEPS = 64


@dataclass(frozen=True)
class Expert:
    """What a learner goes on for after its learning: converged behaviour, for expert distillation.

    Attributes:
        episodes: how many episodes of it.
        share: of the task's optimum, which their mean return must reach.
    """

    episodes: int
    share: float


@dataclass(frozen=True)
class Learning:
    """What H streams lived through; NumPy arrays on the host, history by history, zeros as padding.

    Attributes:
        steps: `observation` or `observation/KEY` (or `state/NAME` where they are drawn from it, or
            `frame` where frames were wanted), `action`, `reward` f4, `terminated` u1, `truncated`
            u1: each [H, S, ...]. Empty if nothing was recorded.
        endings: `final_observation` or `final_observation/KEY` (or `final_state/NAME`), each
            [H, E, ...].
        episode_end: exclusive step index of each episode's end, int32 [H, E]; -1 is padding.
        episodes: episodes of each stream, int32 [H].
        length: its steps, int32 [H]; the last one ends an episode.
        returns: float32 [H, E].
        num_steps: environment steps that were taken, in all lanes, recorded or not.
    """

    steps: dict[str, Array]
    endings: dict[str, Array]
    episode_end: Array
    episodes: Array
    length: Array
    returns: Array
    num_steps: int

    @property
    def lengths(self) -> Array:
        """Steps of each episode, int32 [H, E]; 0 is padding."""
        ends = np.maximum(self.episode_end, 0)
        return np.maximum(np.diff(ends, axis=1, prepend=0), 0).astype(np.int32)

    def part(self, first: int, last: int) -> Learning:
        """Histories first to last - 1, cut to the longest of them."""
        rows = slice(first, last)
        steps, episodes = int(self.length[rows].max()), int(self.episodes[rows].max())
        return Learning(
            steps={name: values[rows, :steps] for name, values in self.steps.items()},
            endings={name: values[rows, :episodes] for name, values in self.endings.items()},
            episode_end=self.episode_end[rows, :episodes],
            episodes=self.episodes[rows],
            length=self.length[rows],
            returns=self.returns[rows, :episodes],
            num_steps=int(self.length[rows].sum()),
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Operations on a few thousand numbers take longer to hand out to threads than to do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@_one_thread()
def learn_online(
    family: TaskFamily,
    tasks: Tensor,
    source: SourceConfig,
    *,
    seed: int,
    stage: str,
    learner_ids: Sequence[int],
    episodes: int,
    max_episodes: int | None = None,
    expert: Expert | None = None,
    device: torch.device | str = "cpu",
    record: bool = True,
    frames: bool = False,
    progress: Progress = silent,
    stop: Stop = never,
) -> Learning:
    """Let M learners learn, each on its task, until all of their streams are done.

    A stream plays whole episodes. What it lives through depends on (seed, stage, task, learner id)
    alone, not on the learners beside it: one that is done before the others goes on unrecorded.

    Args:
        family: the tasks' family.
        tasks: one a learner, [M, ...].
        source: the algorithm, its settings, its actors and how many of their streams are kept.
        seed: keys everything that is random.
        stage: what this is for ("collect"); stages share no draw of the learners.
        learner_ids: one a learner, unique among the learners of one task.
        episodes: episodes of learning; the algorithm's schedules end there.
        max_episodes: where a stream that does not converge is given up; None: `episodes` plus the
            expert's.
        expert: converged behaviour that must follow; None: none.
        device: where environment and learners live, if the algorithm gains by it; else the CPU.
        record: keep every step; False keeps episode ends and returns only.
        frames: keep images, also where they could be drawn from states later.
        progress: told episodes finished, of those that are sure to be played.
        stop: asked now and then whether to give up.

    Raises:
        Stopped: `stop` said so; nothing is kept.
        UsageError: the algorithm cannot learn on this family.
        ConfigError: a setting that the algorithm does not have, or out of range.
        ContractError: the environment does not keep its contract.
    """
    assert len(tasks) == len(learner_ids)
    keep_freed_memory()
    actors, kept = source.actors, source.kept_actors or source.actors
    algorithm = plugins.source(source.name)
    at = torch.device(device if algorithm.accelerated else "cpu")
    lanes = Lanes(
        seed,
        stage,
        tasks.repeat_interleave(actors, dim=0),
        tuple(learner * actors + actor for learner in learner_ids for actor in range(actors)),
    )
    learners = algorithm(
        algorithm.Settings.parse(source.settings, where=f"source.settings of {source.name}"),
        family,
        lanes,
        actors=actors,
        episodes=episodes,
        device=at,
    )
    env = _environment(family, lanes, at, sees=learners.observes or frames)
    window = expert.episodes if expert else 0
    ledger = Ledger(
        len(tasks) * kept,
        episodes=episodes,
        max_episodes=max(max_episodes or 0, episodes + window),
        window=window,
        optimum=np.repeat(_optimum(family, tasks) if expert else np.zeros(len(tasks)), kept),
        share=expert.share if expert else 1.0,
    )
    kept_lanes = None
    if kept < actors:
        kept_lanes = torch.arange(env.num_envs, device=at).view(-1, actors)[:, :kept].flatten()
    sure = episodes + window
    keeper = None
    if record:
        keeper = Keeper(family, kept_lanes, len(tasks) * kept, episodes=sure, frames=frames)
    for step, transition in enumerate(transitions(env, learners)):
        reward, ended = transition.reward, transition.terminated | transition.truncated
        if kept_lanes is not None:
            reward, ended = reward[kept_lanes], ended[kept_lanes]
        lanes_ended = ledger.note(step, reward.cpu().numpy(), ended.cpu().numpy())
        if keeper:
            keeper.keep(transition, lanes_ended, ledger.finished[lanes_ended] - 1)
        if ledger.done.all():
            break
        if step % _TELL_STEPS == 0:
            if stop():
                raise Stopped(f"{stage} stopped before its end; it begins again next time.")
            progress(int(np.minimum(ledger.finished, sure).sum()), sure * len(ledger.done))
    progress(sure * len(ledger.done), sure * len(ledger.done))
    episodes_most = int(ledger.finished.max())
    return Learning(
        steps=keeper.steps(ledger.length) if keeper else {},
        endings=keeper.endings(episodes_most) if keeper else {},
        episode_end=ledger.episode_end[:, :episodes_most],
        episodes=ledger.finished,
        length=ledger.length,
        returns=ledger.returns[:, :episodes_most],
        num_steps=(step + 1) * env.num_envs,
    )


def _environment(
    family: TaskFamily, lanes: Lanes, device: torch.device, *, sees: bool
) -> BatchedEnv:
    return family.make(
        lanes.tasks,
        # A seed of its own in each stage, as the learners' noise has.
        seed=int(key_of(lanes.seed, lanes.stage, "env")[0] >> 1),
        lane_ids=lanes.lane_ids,
        device=device,
        # What cannot be drawn later has to be seen now.
        observe="agent" if sees or family.renderer is None else "state",
    )


def _optimum(family: TaskFamily, tasks: Tensor) -> Array:
    """Return of each task's best policy, float64 [M]; NaN where nobody knows."""
    different, which = torch.unique(tasks, dim=0, return_inverse=True)
    optimum = family.optimal_return(different)
    if optimum is None:
        return np.full(len(tasks), np.nan)
    values: Array = optimum.cpu()[which.cpu()].double().numpy()
    return values

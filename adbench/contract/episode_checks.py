"""Checks of how episodes run and end, and that a lane's life depends on nothing but the lane."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator

import torch
from torch import Tensor

from adbench.contract.check import check
from adbench.contract.subject import Subject
from adbench.spaces import tensors
from adbench.task import TaskFamily

_STARTS = 16
_IMPORT_SECONDS = 120
_STATE_STEPS = 50


@check(
    "endings",
    "terminated and truncated are told apart, and no episode outlasts max_episode_steps",
    needs=("values",),
    advice="terminated: the task ended. truncated: time ran out, `~terminated & (clock == "
    "max_episode_steps)`. _final_obs is their union.",
)
def endings(subject: Subject) -> Iterator[str]:
    """Flags and lengths of the episodes of a roll-out."""
    rollout, longest = subject.rollout, subject.family.max_episode_steps
    both = rollout.terminated & rollout.truncated
    if bool(both.any()):
        yield f"an episode is terminated and truncated at once ({_first(both)})"
    wrong = (rollout.terminated | rollout.truncated) != rollout.ended
    if bool(wrong.any()):
        yield f"_final_obs is not `terminated | truncated` ({_first(wrong)})"
    for lane, lengths in enumerate(rollout.episode_lengths()):
        running = subject.steps - sum(lengths)
        worst = max([*lengths, running])
        if worst > longest:
            yield (
                f"an episode of lane {lane} lasts {worst} steps or more; max_episode_steps is "
                f"{longest}. (One more than it: is the reset a step of its own?)"
            )


@check(
    "time-limit",
    "running out of time is told as truncation",
    needs=("endings",),
    binding=False,
    advice="If the task could have gone on, set truncated and not terminated: learners then still "
    "count what would have followed. Nothing to do if the task itself lasts that long.",
)
def time_limit(subject: Subject) -> Iterator[str]:
    """A suspicion: every episode terminates exactly where time is up."""
    rollout, longest = subject.rollout, subject.family.max_episode_steps
    lengths = {length for lane in rollout.episode_lengths() for length in lane}
    if longest > 1 and lengths == {longest} and not bool(rollout.truncated.any()):
        yield f"every episode seen terminates after exactly max_episode_steps = {longest} steps"
    if not lengths:
        yield f"no episode ended within {subject.steps} steps, so endings were not looked at"


@check(
    "same-step",
    "the observation of a step that ends an episode is the next episode's first",
    needs=("endings",),
    advice="In the step that ends an episode: put what it reached into info['final_obs'], reset "
    "the lane, and return the new episode's first observation (AutoresetMode.SAME_STEP).",
)
def same_step(subject: Subject) -> Iterator[str]:
    """Where a lane always starts alike, it must do so after an ending too."""
    rollout = subject.rollout
    starts: dict[str, list[Tensor]] = {key: [] for key in rollout.observation}
    for seed in range(_STARTS):
        env = subject.make(seed=seed)
        try:
            for key, value in tensors(env.reset()[0]).items():
                starts[key].append(value.detach().cpu().reshape(len(value), -1))
        finally:
            env.close()
    for key, found in starts.items():
        first = found[0]
        fixed = torch.stack([(other == first).all(1) for other in found]).all(0)
        after = rollout.observation[key][1:]
        after = after.reshape(*after.shape[:2], -1)
        wrong = rollout.ended & fixed & (after != first).any(2)
        if bool(wrong.any()):
            what = f"the observation at {key!r}" if key else "the observation"
            yield (
                f"{what} returned with an ending ({_first(wrong)}) is not where that lane always "
                "starts"
            )


@check(
    "determinism",
    "the same seed, tasks, lane ids and actions give the same life",
    needs=("endings",),
    advice="Draw from adbench.noise (BatchedEnv: Lanes(seed, 'env', tasks, lane_ids).noise; "
    "gymnasium.Env: self.np_random), never from a global generator, a clock or a set's order.",
)
def determinism(subject: Subject) -> Iterator[str]:
    """Two roll-outs of the same lanes."""
    yield from subject.rollout.differences(subject.play())


@check(
    "lanes",
    "a lane is the same beside any other lanes, in any order",
    needs=("determinism",),
    advice="Key each lane's draws by its own (seed, task, lane id), with adbench.noise.Lanes; one "
    "generator for the whole batch makes lanes depend on their neighbours.",
)
def lanes(subject: Subject) -> Iterator[str]:
    """Half of the lanes, backwards, and one lane alone."""
    everybody = list(range(len(subject.tasks)))
    for chosen in (everybody[::-2], everybody[1:2]):
        alone = subject.play(chosen)
        for difference in subject.rollout.lanes(chosen).differences(alone):
            beside = f"beside {len(chosen) - 1} other lanes, not {len(everybody) - 1}"
            yield f"{beside}, {difference}"


@check(
    "observe-state",
    "observe='state' changes what is rendered and nothing else",
    needs=("determinism",),
    advice="With observe='state' leave the rendering out and keep states, rewards and endings.",
)
def observe_state(subject: Subject) -> Iterator[str]:
    """Rewards, flags and states with and without observations."""
    steps = min(subject.steps, _STATE_STEPS)
    chosen = list(range(len(subject.tasks)))
    seeing = subject.play(chosen, steps=steps)
    blind = subject.play(chosen, observe="state", steps=steps)
    yield from seeing.differences(blind, without=("observation", "final_observation"))


@check(
    "wrong-actions",
    "an action out of range is refused",
    needs=("step",),
    binding=False,
    advice="Raise adbench.errors.UsageError where it costs nothing (on the CPU): an action that "
    "is silently taken for another spoils histories.",
)
def wrong_actions(subject: Subject) -> Iterator[str]:
    """One past the last action, in one lane."""
    if subject.device != "cpu":  # there, a check would make the host wait for the device
        return
    env = subject.make()
    try:
        env.reset()
        for wrong in (int(subject.family.action_space.n), -1):
            actions = torch.zeros(len(subject.tasks), dtype=torch.int64)
            actions[0] = wrong
            try:
                env.step(actions)
                yield (
                    f"action {wrong} is taken without a word; the last one is {wrong - 1}"
                    if (wrong > 0)
                    else f"action {wrong} is taken without a word"
                )
            except Exception:
                env.reset()
    finally:
        env.close()


@check(
    "frames",
    "render_state gives uint8 frames [N, Y, X, 3] of states",
    needs=("determinism",),
    advice="render_state(state) draws the frame of every lane from state() alone.",
)
def frames(subject: Subject) -> Iterator[str]:
    """Only of families that can draw their states."""
    render = subject.family.render_state
    if getattr(render, "__func__", None) is TaskFamily.render_state:
        return
    env = subject.make()
    try:
        env.reset()
        found = render(env.state())
    finally:
        env.close()
    good = isinstance(found, Tensor) and found.dtype == torch.uint8 and found.ndim == 4
    if not good or len(found) != len(subject.tasks) or found.shape[-1] != 3:
        got = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found)
        yield f"it gave {got}"


@check(
    "quiet",
    "importing it and stepping print nothing",
    needs=("values",),
    advice="Standard output carries data (`adbench list --json | ...`): remove the print, or send "
    "it to standard error or the logging module.",
)
def quiet(subject: Subject) -> Iterator[str]:
    """What goes to stdout, in this process and in a fresh one that imports the module."""
    for text in subject.printed:
        if text.strip():
            yield f"stepping prints {_shortened(text)}"
    if not subject.module or not _importable(subject.module):
        return
    done = subprocess.run(
        [sys.executable, "-c", f"import {subject.module}"],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
        timeout=_IMPORT_SECONDS,
        check=False,
    )
    if done.stdout.strip():
        yield f"`import {subject.module}` prints {_shortened(done.stdout)}"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        yield f"`import {subject.module}` fails in a fresh interpreter: {last}"


def _importable(module: str) -> bool:
    if module == "__main__":
        return False
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _shortened(text: str) -> str:
    line = text.strip().splitlines()[0]
    return repr(line if len(line) <= 60 else line[:57] + "...")


def _first(flags: Tensor) -> str:
    step, lane = flags.nonzero()[0].tolist()
    return f"first at step {step}, lane {lane}"

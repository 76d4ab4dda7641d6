"""The contract test passes what keeps the contract and names every planted fault."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from torch import Tensor

from adbench import plugins
from adbench.commands import check_env as command
from adbench.contract import CHECKS, CheckResult, Subject, run_checks
from adbench.errors import ContractError, UnknownNameError, UsageError
from adbench.noise import Lanes
from adbench.task import BatchedEnv, Observe, TaskFamily, split_indices
from adbench.testing import check_env

CELLS, LONGEST = 9, 12


class Corridor(TaskFamily):
    """Nine cells in a row; the hidden one pays 1 and ends the episode. Starts are drawn.

    Faults are planted by overriding; the corridor itself keeps the contract.
    """

    name = "corridor"
    max_episode_steps = LONGEST
    num_tabular_states = CELLS
    num_option_states = CELLS
    num_options = 2
    batch: type[CorridorBatch]

    def __init__(self) -> None:
        self.observation_space: Any = spaces.Discrete(CELLS)
        self.action_space = spaces.Discrete(3)

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        cells = split_indices(CELLS, split, count, seed=seed, validation=1, test=2)
        return torch.from_numpy(cells.copy())

    def make(
        self,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
        observe: Observe = "agent",
    ) -> BatchedEnv:
        ids = tuple(range(len(tasks)) if lane_ids is None else lane_ids)
        return type(self).batch(self, tasks, seed=seed, lane_ids=ids, observe=observe)

    def random_return(self, tasks: Tensor) -> Tensor:
        return torch.stack([self._reached(int(task)) for task in tasks])

    def optimal_return(self, tasks: Tensor) -> Tensor | None:
        return torch.ones(len(tasks))

    def tabular_state(self, state: dict[str, Tensor]) -> Tensor:
        return state["cell"]

    def option_state(self, state: dict[str, Tensor]) -> Tensor:
        return state["cell"]

    def follow(self, state: dict[str, Tensor], option: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * option, torch.zeros_like(option, dtype=torch.bool)

    def _reached(self, goal: int) -> Tensor:
        """Probability that a random walk from a drawn cell steps onto the goal in time."""
        place, reached = torch.full((CELLS,), 1 / CELLS), torch.zeros(())
        for _ in range(LONGEST):
            left = torch.cat([place[:1] + place[1:2], place[2:], place.new_zeros(1)])
            right = torch.cat([place.new_zeros(1), place[:-2], place[-2:-1] + place[-1:]])
            place = (place + left + right) / 3
            reached = reached + place[goal]
            place[goal] = 0.0
        return reached


class CorridorBatch(BatchedEnv):
    """N corridors; `where`, `seen` and `outcome` are the hooks for planted faults."""

    def __init__(
        self, family: Corridor, tasks: Tensor, *, seed: int, lane_ids: Any, observe: Observe
    ) -> None:
        super().__init__(family, tasks, device="cpu")
        self.seed, self.observe_mode = seed, observe
        self.noise = Lanes(seed, "env", tasks, lane_ids).noise("start", 1)
        self.begin()

    def begin(self) -> None:
        self.steps = 0
        self.clock = torch.zeros(self.num_envs, dtype=torch.int64)
        self.cell = self.where()

    def where(self) -> Tensor:
        return (self.noise.at(self.steps)[:, 0] * CELLS).long()

    def seen(self) -> Any:
        return self.cell.clone()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None and seed != self.seed:
            raise UsageError("another seed")
        self.begin()
        return self.seen(), {}

    def step(self, actions: Tensor) -> Any:
        if bool(((actions < 0) | (actions > 2)).any()):
            raise UsageError("actions go from 0 to 2")
        self.steps += 1
        self.clock = self.clock + 1
        self.cell = (self.cell + actions - 1).clamp(0, CELLS - 1)
        terminated = self.cell == self.tasks
        truncated = (self.clock == LONGEST) & ~terminated
        ended = terminated | truncated
        info = {
            "final_obs": self.seen(),
            "_final_obs": ended.clone(),
            "final_state": self.state(),
        }
        self.clock = torch.where(ended, 0, self.clock)
        self.cell = torch.where(ended, self.where(), self.cell)
        return self.outcome(self.seen(), terminated.float(), terminated, truncated, info)

    def outcome(self, seen: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> Any:
        return seen, reward, terminated, truncated, info

    def state(self) -> dict[str, Tensor]:
        return {"cell": self.cell.clone()}


Corridor.batch = CorridorBatch


def family_with(**changes: Any) -> TaskFamily:
    """A corridor whose family has some attributes or methods replaced."""
    made = type("Faulty", (Corridor,), {k: v for k, v in changes.items() if callable(v)})()
    for name, value in changes.items():
        if not callable(value):
            setattr(made, name, value)
    assert isinstance(made, TaskFamily)
    return made


def batch_with(**changes: Any) -> TaskFamily:
    """A corridor whose batched environment has some methods replaced."""
    return type("Faulty", (Corridor,), {"batch": type("Batch", (CorridorBatch,), changes)})()  # type: ignore[no-any-return]


def result_of(family: Any, check: str) -> CheckResult:
    """How one check went, and that all that it needs passed."""
    *before, last = run_checks(Subject(family), only=(check,))
    assert last.name == check
    assert [r.name for r in before if r.status == "failed"] == []
    return last


def test_what_keeps_the_contract_passes_every_check() -> None:
    results = run_checks(Subject(Corridor()))
    assert [r.name for r in results] == list(CHECKS)
    assert {r.status for r in results} == {"ok"}, [r for r in results if r.status != "ok"]


@pytest.mark.parametrize("name", plugins.names(plugins.ENVS))
def test_every_registered_environment_keeps_the_contract(name: str) -> None:
    results = run_checks(Subject(plugins.family(name)))
    assert [(r.name, r.findings) for r in results if r.status != "ok"] == []


def _returns_only_observation(self: CorridorBatch, **_: Any) -> Any:
    self.begin()
    return self.seen()


def _goes_on(self: CorridorBatch, **_: Any) -> Any:
    return self.seen(), {}


def _takes_any_seed(self: CorridorBatch, **_: Any) -> Any:
    self.begin()
    return self.seen(), {}


def _in_place(self: CorridorBatch, actions: Tensor) -> Any:
    cell = self.cell
    returned = CorridorBatch.step(self, actions)
    cell.copy_(self.cell)
    self.cell = cell
    return (cell, *returned[1:])


def _counted(values: list[int]) -> int:
    values.append(0)
    return len(values)


def _clamps(self: CorridorBatch, actions: Tensor) -> Any:
    return CorridorBatch.step(self, actions.clamp(0, 2))


def _prints(self: CorridorBatch, actions: Tensor) -> Any:
    print("stepping")
    return CorridorBatch.step(self, actions)


def _never_ends(self: CorridorBatch, actions: Tensor) -> Any:
    self.clock = torch.zeros_like(self.clock)
    return CorridorBatch.step(self, actions)


def _returns_final(
    self: CorridorBatch, seen: Any, reward: Any, terminated: Any, truncated: Any, info: Any
) -> Any:
    return info["final_obs"], reward, terminated, truncated, info


def _blind(self: CorridorBatch, seen: Any, reward: Any, *flags_and_info: Any) -> Any:
    return seen, reward * (self.observe_mode == "agent"), *flags_and_info


def outcome(change: Callable[..., Any]) -> TaskFamily:
    """A corridor whose step returns something else: `change(seen, reward, ..., info)`."""
    return batch_with(outcome=lambda _, *returned: change(*returned))


def info_with(**changes: Callable[[Any], Any]) -> TaskFamily:
    """A corridor whose step's info has entries changed."""
    return outcome(
        lambda s, r, te, tr, info: (
            s, r, te, tr, {k: changes.get(k, lambda v: v)(v) for k, v in info.items()},
        )
    )  # fmt: skip


FIXED_START = {"where": lambda self: torch.full((self.num_envs,), 4)}
DRAWN: list[int] = []
SHARED = np.random.default_rng(0)  # what a careless author would draw from

FAULTS: dict[str, tuple[str, Callable[[], Any], str]] = {
    "a name with capitals": ("attributes", lambda: family_with(name="My World"), "My World"),
    "no version": ("attributes", lambda: family_with(version="1"), "version is '1'"),
    "no episode length": ("attributes", lambda: family_with(max_episode_steps=0), "from 1 up"),
    "a test set called train": ("attributes", lambda: family_with(test_sets=("train",)), "differ"),
    "continuous actions": (
        "attributes",
        lambda: family_with(action_space=spaces.Box(-1, 1, (2,))),
        "DiscretizeAction",
    ),
    "actions that count from 1": (
        "attributes",
        lambda: family_with(action_space=spaces.Discrete(3, start=1)),
        "from 0",
    ),
    "text to look at": (
        "attributes",
        lambda: family_with(observation_space=spaces.Dict(say=spaces.Text(5))),
        "text",
    ),
    "no family at all": ("attributes", lambda: object(), "not an adbench.TaskFamily"),
    "a count that is ignored": (
        "tasks",
        lambda: family_with(tasks=lambda self, split, count, seed: torch.arange(4)),
        "tasks('train', 1) gave 4",
    ),
    "tasks that are no tensor": (
        "tasks",
        lambda: family_with(tasks=lambda self, split, count, seed: [1, 2]),
        "a list",
    ),
    "an unknown split": (
        "tasks",
        lambda: family_with(tasks=lambda self, split, count, seed: torch.arange(count or 4)),
        "unknown split",
    ),
    "tasks that change": (
        "splits",
        lambda: family_with(
            tasks=lambda self, split, count, seed: Corridor.tasks(
                self, split, count, seed=_counted(DRAWN)
            )
        ),
        "from one call to the next",
    ),
    "test tasks in training": (
        "splits",
        lambda: family_with(
            tasks=lambda self, split, count, seed: Corridor.tasks(
                self, "train" if split == "test" else split, count, seed=seed
            )
        ),
        "in train and in test",
    ),
    "the next-step mode": (
        "make",
        lambda: batch_with(metadata={"autoreset_mode": AutoresetMode.NEXT_STEP}),
        "SAME_STEP",
    ),
    "something else than a BatchedEnv": (
        "make",
        lambda: family_with(make=lambda self, *a, **k: spaces.Discrete(2)),
        "it raised",
    ),
    "a reset without info": ("reset", lambda: batch_with(reset=_returns_only_observation), "info"),
    "a reset that goes on": ("reset", lambda: batch_with(reset=_goes_on), "starts elsewhere"),
    "a reset with any seed": ("reset", lambda: batch_with(reset=_takes_any_seed), "another seed"),
    "float observations": (
        "reset",
        lambda: batch_with(seen=lambda self: self.cell.float()),
        "float32, not int64",
    ),
    "observations of another shape": (
        "reset",
        lambda: batch_with(seen=lambda self: self.cell[:, None]),
        "shape",
    ),
    "a reward in float64": (
        "step",
        lambda: outcome(lambda s, r, te, tr, i: (s, r.double(), te, tr, i)),
        "float64",
    ),
    "one flag for both endings": (
        "step",
        lambda: outcome(lambda s, r, te, tr, i: (s, r, te | tr, i)),
        "a tuple of 4",
    ),
    "no final observation": (
        "step",
        lambda: outcome(lambda s, r, te, tr, i: (s, r, te, tr, {})),
        "'final_obs'",
    ),
    "a state out of the table": (
        "values",
        lambda: batch_with(state=lambda self: {"cell": self.cell + 1}),
        "outside [0, 9)",
    ),
    "a final state of other names": (
        "state",
        lambda: info_with(final_state=lambda state: dict(place=state["cell"])),
        "place",
    ),
    "a buffer that is handed out": ("fresh", lambda: batch_with(step=_in_place), "overwritten"),
    "observations out of bounds": (
        "values",
        lambda: family_with(observation_space=spaces.Discrete(5)),
        "outside Discrete(5)",
    ),
    "a reward that is no number": (
        "values",
        lambda: outcome(lambda s, r, te, tr, i: (s, r / r, te, tr, i)),
        "NaN",
    ),
    "terminated and truncated at once": (
        "endings",
        lambda: outcome(lambda s, r, te, tr, i: (s, r, te | tr, tr, i)),
        "at once",
    ),
    "a place out of the table": (
        "options",
        lambda: family_with(option_state=lambda self, state: state["cell"] - 1),
        "from -1 to",
    ),
    "options whose end is a number": (
        "options",
        lambda: family_with(follow=lambda self, state, option: (option, option)),
        "under_way",
    ),
    "an option without end": (
        "options",
        lambda: family_with(
            follow=lambda self, state, option: (torch.ones_like(option), option.bool() | True)
        ),
        "still under way when",
    ),
    "an option that is another's halfway": (
        "options",
        lambda: family_with(
            follow=lambda self, state, option: (2 * option, state["cell"] % 2 == 1)
        ),
        "changes while option",
    ),
    "endings that are not told": (
        "endings",
        lambda: info_with(_final_obs=torch.zeros_like),
        "_final_obs is not",
    ),
    "episodes without end": ("endings", lambda: batch_with(step=_never_ends), "lasts"),
    "a final observation in place of the first": (
        "same-step",
        lambda: batch_with(**FIXED_START, outcome=_returns_final),
        "always starts",
    ),
    "draws from something global": (
        "determinism",
        lambda: batch_with(
            where=lambda self: (
                torch.full((self.num_envs,), int(SHARED.integers(CELLS)))
                if self.steps
                else CorridorBatch.where(self)
            )
        ),
        "differs first",
    ),
    "draws that depend on the neighbours": (
        "lanes",
        lambda: batch_with(
            where=lambda self: (
                (torch.arange(self.num_envs) + int(self.noise.at(self.steps).sum() * 99)) % CELLS
            )
        ),
        "beside",
    ),
    "rewards that need rendering": ("observe-state", lambda: batch_with(outcome=_blind), "reward"),
    "frames of floats": (
        "frames",
        lambda: family_with(render_state=lambda self, state: torch.rand(8, 4, 4, 3)),
        "float32",
    ),
    "prints while stepping": ("quiet", lambda: batch_with(step=_prints), "stepping prints"),
    "random better than optimal": (
        "returns",
        lambda: family_with(optimal_return=lambda self, tasks: torch.zeros(len(tasks))),
        "perfect play 0",
    ),
    "returns in float64": (
        "returns",
        lambda: family_with(random_return=lambda self, tasks: torch.zeros(len(tasks)).double()),
        "float64",
    ),
    "returns that depend on the company": (
        "returns",
        lambda: family_with(random_return=lambda self, tasks: torch.arange(len(tasks)) / 100.0),
        "together with",
    ),
    "a wrong random return": (
        "random-return",
        lambda: family_with(random_return=lambda self, tasks: torch.full((len(tasks),), 0.1)),
        "it says 0.1",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails_its_check(fault: str) -> None:
    check, family, words = FAULTS[fault]
    DRAWN.clear()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        result = result_of(family(), check)
    assert result.status == "failed"
    assert words in "\n".join(result.findings)
    assert result.advice


def test_every_binding_check_has_a_planted_fault() -> None:
    binding = {name for name, check in CHECKS.items() if check.binding}
    assert binding == {check for check, _, _ in FAULTS.values()}


def test_an_action_out_of_range_that_is_taken_is_noted() -> None:
    result = result_of(batch_with(step=_clamps), "wrong-actions")
    assert result.status == "note"
    assert "action 3 is taken" in result.findings[0]


def test_time_running_out_told_as_termination_is_noted() -> None:
    never_found = {"tasks": lambda self, split, count, seed: Corridor.tasks(
        self, split, count, seed=seed) + CELLS}  # fmt: skip
    told_wrongly = {"outcome": lambda self, s, r, te, tr, i: (s, r, te | tr, tr & False, i)}
    batch = type("Batch", (CorridorBatch,), told_wrongly)
    family = type("Faulty", (Corridor,), {**never_found, "batch": batch})()
    result = result_of(family, "time-limit")
    assert result.status == "note"
    assert f"exactly max_episode_steps = {LONGEST}" in result.findings[0]


def test_checks_that_need_a_failed_one_are_skipped_and_say_so() -> None:
    results = {r.name: r for r in run_checks(Subject(family_with(max_episode_steps=0)))}
    assert results["attributes"].status == "failed"
    assert results["step"].status == "skipped"
    assert "'reset' did not pass" in results["step"].findings[0]


def test_an_exception_of_the_environment_is_a_finding_with_its_place() -> None:
    def explode(self: Any, actions: Tensor) -> Any:
        raise ZeroDivisionError("one too many")

    result = result_of(batch_with(step=explode), "reset")
    assert "ZeroDivisionError: one too many" in result.findings[0]
    assert f"{Path(__file__).name}:" in result.findings[0]


def test_a_module_that_prints_at_import_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chatty_world.py").write_text("print('welcome to chatty world')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    results = run_checks(Subject(Corridor(), module="chatty_world"), only=("quiet",))
    assert results[-1].status == "failed"
    assert "welcome to chatty world" in results[-1].findings[0]


def test_check_env_lists_every_violation_and_how_to_mend_it() -> None:
    family = family_with(version=None, max_episode_steps=0)
    with pytest.raises(ContractError) as caught:
        check_env(family)
    said = str(caught.value)
    assert "corridor breaks the contract" in said
    assert "version is None" in said and "max_episode_steps is 0" in said
    assert "To mend it: Set these as class attributes" in said


def test_check_env_is_content_with_a_family_that_keeps_it() -> None:
    check_env(Corridor())


def test_check_env_takes_a_registered_name() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'dark-room'"):
        check_env("dark-rom")


def test_the_command_prints_every_check_and_returns_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["dark-room"]) == 0
    out = capsys.readouterr().out
    assert "dark-room, adbench_envs.dark_room:DarkRoom" in out
    assert all(f"  {name}" in out for name in CHECKS)
    assert f"{len(CHECKS)} checks, 0 failed." in out


def test_the_command_returns_1_for_a_broken_contract_and_speaks_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = family_with(name="dark-room", test_sets=())
    monkeypatch.setattr(plugins, "family", lambda name: faulty)
    assert command.main(["dark-room", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["passed"] is False and record["distribution"] == plugins.OWN_DISTRIBUTION
    assert record["checks"][0]["status"] == "failed"
    assert "test_sets is ()" in record["checks"][0]["findings"][0]
    assert command.main(["dark-room"]) == 1
    assert "To mend it" in capsys.readouterr().out


def test_the_command_answers_an_unknown_name_with_exit_code_2() -> None:
    with pytest.raises(UnknownNameError) as caught:
        command.main(["dark-rom"])
    assert caught.value.exit_code == 2


def test_the_command_refuses_a_device_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"--device gpu: .*Use cpu"):
        command.main(["dark-room", "--device", "gpu"])

"""What rows are called, in figures, tables and sentences."""

from __future__ import annotations

NAMES = {
    "ad": "AD",
    "ed": "ED: expert distillation",
    "ad-shuffled": "AD, episodes shuffled",
    "ad-no-reward": "AD, rewards hidden",
    "ad-blind": "AD, blind",
    "sweep": "best fixed actions",
    "source": "source, from scratch",
    "source-best": "source, best settings",
    "random": "random",
    "optimal": "optimal",
}

EXPLAINED = {
    "ad": "a transformer trained on the learning histories, then frozen",
    "ed": "the same, trained on each history's last episodes alone, where its source has converged",
    "ad-shuffled": "the same, trained on histories whose episodes were put in random order once",
    "ad-no-reward": "AD's weights, with the reward inputs zeroed in the evaluation",
    "ad-blind": "AD's weights, shown one constant frame",
    "sweep": "the best of 2,000 fixed strings of actions, chosen on training tasks",
    "source": "the algorithm that made the histories, learning each test task from scratch",
    "source-best": "the same with the best of a dozen settings, chosen on validation tasks",
    "random": "uniformly random actions, computed from the tasks",
    "optimal": "the best policy that knows the task, computed from the tasks",
}


def name_of(method: str) -> str:
    """A row's name in words; an unknown row's own."""
    return NAMES.get(method, method)

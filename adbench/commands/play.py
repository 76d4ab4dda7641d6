"""`adbench play ENV`: watch an agent: what it sees, and where it goes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.commands.arguments import Parser, frame_size, positive, whole

if TYPE_CHECKING:
    from adbench.task import TaskFamily
    from adbench.trace import Trace

_EPISODES = 2


def main(arguments: list[str]) -> int:
    """Play, draw and write; 0."""
    parser = _parser()
    asked = parser.read(arguments)

    from adbench import plugins

    plugins.find(plugins.ENVS, asked.env)  # a wrong name is said before torch is loaded

    from adbench import play
    from adbench.pictures import clips, files

    files.check_target(asked.out, files.SUFFIXES, overwrite=asked.overwrite)
    is_run = isinstance(asked.agent, Path)
    settings = play.folder_of(asked.agent, asked.env).config.env_settings if is_run else {}
    family = plugins.family(asked.env, settings)
    play.require_pixels(family)
    shown = family
    if asked.frame is not None:
        height, width = asked.frame
        shown = plugins.family(asked.env, {**settings, "height": height, "width": width})
    trace, title = _played(asked, family)
    if asked.out.suffix.lower() == ".png":
        files.save_image(asked.out, clips.strip(shown, trace, 0, title=title))
    else:
        pictures = [
            picture
            for episode in range(len(trace.episode))
            for picture in clips.episode_pictures(shown, trace, 0, episode, title=title)
        ]
        files.save_clip(asked.out, pictures, frames_per_second=asked.fps)
    print(asked.out)
    return 0


def _played(asked: argparse.Namespace, family: TaskFamily) -> tuple[Trace, str]:
    """What was gone through, and what stands above its pictures."""
    from adbench import play, plugins
    from adbench.progress import Reporter

    reporter = Reporter()
    split = asked.split or family.test_sets[0]
    where = f"{asked.env}, {split} task {asked.task}"
    if asked.agent == "random":
        task = play.one_task(family, split, asked.task, seed=0)
        trace = play.play_random(family, task, episodes=asked.episodes, seed=asked.seed)
        return trace, f"{where}: random actions"
    if asked.agent == "source":
        config = plugins.preset(asked.env, "quick")
        task = play.one_task(family, split, asked.task, seed=config.tasks.split_seed)
        learning = asked.learning_episodes or config.collect.episodes
        name = config.source.name
        with reporter.task(f"{name} learns {where}", unit="episodes") as progress:
            trace = play.play_source(
                config,
                family,
                task,
                learning_episodes=learning,
                episodes=asked.episodes,
                seed=asked.seed,
                progress=progress,
            )
        return trace, f"{where}: {name} after {learning:,} episodes"
    folder = play.folder_of(asked.agent, asked.env)
    task = play.one_task(family, split, asked.task, seed=folder.config.tasks.split_seed)
    with reporter.task(f"AD of {asked.agent} plays {where}", unit="episodes") as progress:
        trace = play.play_trained(folder, task, episodes=asked.episodes, progress=progress)
    return trace, f"{where}: AD of {asked.agent}"


def _parser() -> Parser:
    parser = Parser(
        "play",
        "Watch an agent on one task of a first-person environment: what it sees and, from above,\n"
        "where it goes, as a GIF, an MP4 or a PNG with some steps of each episode in a row.",
        examples=(
            "adbench play watermaze-small --out random.gif",
            "adbench play watermaze-small --agent source --out source.mp4",
            "adbench play watermaze-small --agent runs/maze --episodes 4 --out ad.png",
        ),
        usage="adbench play ENV --out FILE.gif|.mp4|.png [--agent random|source|DIR] [...]",
    )
    parser.add_argument("env", metavar="ENV", help="a first-person environment (adbench list envs)")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, required=True, help="its ending says what it becomes"
    )
    parser.add_argument(
        "--agent",
        metavar="WHO",
        default="random",
        type=_agent,
        help="random (default); source: one learner of the environment's source, trained on this "
        "very task first; DIR: AD, frozen, of a run's folder, from an empty context",
    )
    parser.add_argument(
        "--episodes",
        metavar="N",
        type=positive,
        default=_EPISODES,
        help=f"how many are shown (default {_EPISODES}); of a run's agent half are its first ones, "
        "half its last",
    )
    parser.add_argument(
        "--learning-episodes",
        metavar="N",
        type=positive,
        help="episodes that a source learns for before it is shown; as in the quick preset",
    )
    parser.add_argument(
        "--split",
        metavar="NAME",
        help="which tasks: train, validation or a test set; left out, the first test set",
    )
    parser.add_argument("--task", metavar="N", type=whole, default=0, help="which of them, from 0")
    parser.add_argument(
        "--seed",
        metavar="N",
        type=whole,
        default=0,
        help="of the random draws; a run's agent has the run's",
    )
    parser.add_argument(
        "--frame",
        metavar="YxX",
        type=frame_size,
        help="rows and columns of the pictures; left out, what the agent sees",
    )
    parser.add_argument(
        "--fps", metavar="N", type=positive, default=6, help="steps a second (default 6)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="write over FILE if it is there already"
    )
    return parser


def _agent(text: str) -> str | Path:
    return text if text in ("random", "source") else Path(text)

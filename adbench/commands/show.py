"""`adbench show ENV`: a picture of an environment: maps of some tasks, and frames from within."""

from __future__ import annotations

from pathlib import Path

from adbench.commands.arguments import Parser, frame_size, positive, whole

_TASKS = 3


def main(arguments: list[str]) -> int:
    """Draw and write; 0."""
    parser = Parser(
        "show",
        "A contact sheet of a first-person environment: a row a task, the map with what the task\n"
        "hides, and frames from the numbered places on it.",
        examples=(
            "adbench show watermaze --out watermaze.png",
            "adbench show four-boxes --frame 72x96 --out boxes.png",
        ),
        usage="adbench show ENV --out FILE.png [--tasks N] [--split NAME] [--frame YxX] [...]",
    )
    parser.add_argument("env", metavar="ENV", help="a first-person environment (adbench list envs)")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="a .png")
    parser.add_argument(
        "--tasks", metavar="N", type=positive, default=_TASKS, help=f"rows (default {_TASKS})"
    )
    parser.add_argument(
        "--split", metavar="NAME", default="train", help="train (default), validation or a test set"
    )
    parser.add_argument("--seed", metavar="N", type=whole, default=0, help="of the places")
    parser.add_argument(
        "--frame",
        metavar="YxX",
        type=frame_size,
        help="rows and columns of a frame; left out, the environment's own",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="write over FILE if it is there already"
    )
    asked = parser.read(arguments)

    from adbench import plugins

    plugins.find(plugins.ENVS, asked.env)  # a wrong name is said before torch is loaded

    from adbench import play, show
    from adbench.pictures import files

    files.check_target(asked.out, (".png",), overwrite=asked.overwrite)
    family = plugins.family(asked.env)
    play.require_pixels(family)
    if asked.frame is not None:
        height, width = asked.frame
        family = plugins.family(asked.env, {"height": height, "width": width})
    tasks = family.tasks(asked.split, None, seed=0)[: asked.tasks]
    files.save_image(asked.out, show.contact_sheet(family, tasks, seed=asked.seed))
    print(asked.out)
    return 0

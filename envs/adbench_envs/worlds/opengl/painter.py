"""The process that draws: `python -m adbench_envs.worlds.opengl.painter`, started by `workers`.

It reads messages from its standard input and answers on what was its standard output, each a length
and so many bytes (`multiprocessing.connection`). The first message describes the worlds; all others
are poses, answered by frames. It ends with its input. It loads neither torch nor anything that a
script of the user's defines, so it starts quickly and from anywhere.
"""

from __future__ import annotations

import json
import os
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from adbench.errors import UsageError

READY = b"ready"
FRAMES, REFUSAL = b"f", b"r"
POSE = 4
"""Numbers before those of the bodies in a row: world, x, z, yaw. A body has as many."""


def main() -> None:
    """Draw until the input ends."""
    requests = Connection(os.dup(0), writable=False)
    answers = Connection(os.dup(1), readable=False)
    # What MiniWorld or a driver prints belongs to people.
    os.dup2(2, 1)
    try:
        scene = json.loads(
            requests.recv_bytes(), object_hook=lambda names: SimpleNamespace(**names)
        )
        view = _view(scene)
    except UsageError as error:
        answers.send_bytes(REFUSAL + str(error).encode())
        return
    answers.send_bytes(READY)
    try:
        while True:
            rows = np.frombuffer(requests.recv_bytes(), np.float32)
            rows = rows.reshape(-1, POSE * (1 + len(scene.bodies)))
            answers.send_bytes(FRAMES + frames(view, rows, scene.bodies).tobytes())
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass


def frames(view: Any, rows: npt.NDArray[np.float32], bodies: list[str]) -> npt.NDArray[np.uint8]:
    """Frames of rows as `POSE` says, uint8 [N, Y, X, 3]; those of one world after each other."""
    drawn = np.empty((len(rows), *view.observation_space.shape), np.uint8)
    for n in np.argsort(rows[:, 0], kind="stable"):
        world, x, z, yaw = rows[n, :POSE].tolist()
        places = rows[n, POSE:].reshape(-1, POSE).tolist()
        view.place(x, z, yaw, dict(zip(bodies, places, strict=True)), int(world))
        drawn[n] = view.render_obs()
    return drawn


def _view(scene: Any) -> Any:
    from adbench_envs.worlds.opengl.libraries import load

    load()
    from adbench_envs.worlds.opengl.drawing import WorldView

    return WorldView(
        tuple(scene.worlds), height=scene.height, width=scene.width, samples=scene.samples
    )


if __name__ == "__main__":
    main()

"""A process that draws with MiniWorld and says how much processor time it took.

    python benchmarks/miniworld_frames.py FRAMES.npy HEIGHT WIDTH < poses, then a line a round

`bench_render.py` runs it: poses come as one line of JSON (x, z, yaw each), their frames are saved
once, and every further line is answered by the CPU seconds that drawing them all has taken.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from adbench_envs.watermaze import Watermaze
from adbench_envs.worlds.opengl.libraries import load


def main() -> None:
    load()
    from adbench_envs.worlds.opengl.drawing import WorldView

    path, height, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    view = WorldView(Watermaze().worlds, height=height, width=width)
    poses = json.loads(sys.stdin.readline())
    frames = []
    for x, z, yaw in poses:
        view.place(x, z, yaw, {})
        frames.append(view.render_obs())
    np.save(path, np.stack(frames))
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.process_time()
        for x, z, yaw in poses:
            view.place(x, z, yaw, {})
            view.render_obs()
        print(time.process_time() - begin, flush=True)


if __name__ == "__main__":
    main()

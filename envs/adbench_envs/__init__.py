"""The worlds of the suite. Importing this names them to gymnasium and does nothing else.

`gymnasium.make("adbench_envs:adbench/DarkRoom-v0")` gives a numpy environment, `gymnasium.make_vec`
a numpy vector environment. Tensors come from the families alone
(`adbench_envs.dark_room.DarkRoom().make(...)`).
"""

from __future__ import annotations

import gymnasium

for _world in ("DarkRoom", "DarkRoomHard", "KeyToDoor", "Bandit"):
    gymnasium.register(
        id=f"adbench/{_world}-v0",
        entry_point=f"adbench_envs.numpy_envs:{_world}Env",
        vector_entry_point=f"adbench_envs.numpy_vector:{_world}Vector",
    )

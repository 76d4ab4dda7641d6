"""The worlds of the suite. Importing this names them to gymnasium and does nothing else.

`gymnasium.make("adbench_envs:adbench/DarkRoom-v0")` gives a numpy environment, `gymnasium.make_vec`
a numpy vector environment. Tensors come from the families alone
(`adbench_envs.dark_room.DarkRoom().make(...)`). First-person worlds have two ids: drawn by the ray
caster (`adbench/Watermaze-v0`), and by MiniWorld (`adbench/WatermazeMiniWorld-v0`), which has to
be installed for it.
"""

from __future__ import annotations

import gymnasium

for _world in ("DarkRoom", "DarkRoomHard", "KeyToDoor", "Bandit"):
    gymnasium.register(
        id=f"adbench/{_world}-v0",
        entry_point=f"adbench_envs.numpy_envs:{_world}Env",
        vector_entry_point=f"adbench_envs.numpy_vector:{_world}Vector",
    )

for _world in (
    "Watermaze",
    "WatermazeSmall",
    "WatermazeHard",
    "DarkRoom3D",
    "KeyToDoor3D",
    "RadialArm",
    "FourBoxes",
):
    gymnasium.register(
        id=f"adbench/{_world}-v0",
        entry_point=f"adbench_envs.numpy_worlds:{_world}Env",
        vector_entry_point=f"adbench_envs.numpy_worlds:{_world}Vector",
    )
    gymnasium.register(
        id=f"adbench/{_world}MiniWorld-v0",
        entry_point=f"adbench_envs.miniworld_worlds:{_world}MiniWorld",
    )

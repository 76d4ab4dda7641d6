"""A MiniWorld environment that shows our worlds from wherever it is told to.

There is one a process. MiniWorld compiles what does not move into display list 1, and all contexts
of a process share their lists: a second environment would silently change what the first one draws.

S worlds, Y rows and X columns of a frame.
"""

from __future__ import annotations

import contextlib
import io
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyglet
from miniworld.miniworld import MiniWorldEnv
from miniworld.opengl import FrameBuffer
from miniworld.params import DEFAULT_PARAMS, DomainParams
from pyglet.gl import GL_MULTISAMPLE, glDisable

from adbench.errors import UsageError
from adbench_envs.worlds.opengl.parts import Body, Level, Ring, TexturedRoom, image_frame

if TYPE_CHECKING:
    from adbench_envs.worlds.world import World

Frame = npt.NDArray[np.uint8]

OPENGLS_OWN_AMBIENT = 0.2
"""OpenGL adds it to the light of every scene; ours counts it in."""


class WorldView(MiniWorldEnv):
    """Frames of worlds; where one is and where one looks is said from outside.

    Args:
        worlds: S of them.
        height: Y.
        width: X.
        samples: a pixel; 1 draws without multisampling, and a driver may have fewer than asked for.
        others: arguments of `MiniWorldEnv`.

    Raises:
        UsageError: there is another one in this process.
    """

    _only: weakref.ref[WorldView] | None = None

    def __init__(
        self,
        worlds: tuple[World, ...],
        *,
        height: int,
        width: int,
        samples: int = 4,
        **others: Any,
    ) -> None:
        _refuse_a_second(WorldView._only)
        self._worlds = worlds
        self._shown = 0
        self._closed = False
        # A small window: what it holds is allocated eightfold.
        size = {"obs_height": height, "obs_width": width}
        size |= {"window_height": height, "window_width": width}
        # MiniWorld says how many samples it falls back to on stdout, where data is expected.
        with contextlib.redirect_stdout(io.StringIO()):
            super().__init__(params=_settings(worlds[0]), **(size | others))
            # MiniWorld's own would have 8 samples, or as many as there are.
            self.obs_fb = (FrameBuffer if samples > 1 else _SingleSampled)(width, height, samples)
        WorldView._only = weakref.ref(self)

    def _gen_world(self) -> None:
        world = self._worlds[self._shown]
        self.rooms.extend(TexturedRoom(room) for room in world.rooms)
        self.entities.extend(Ring(rim) for rim in world.rims)
        self.entities.extend(Level(disc) for disc in world.discs)
        self.entities.extend(Body(box) for box in world.boxes)
        self.entities.extend(image_frame(picture) for picture in world.pictures)
        self.entities.append(self.agent)
        self.agent.pos, self.agent.dir = np.zeros(3), 0.0

    def place(
        self, x: float, z: float, yaw: float, bodies: Mapping[str, Sequence[float]], world: int = 0
    ) -> None:
        """Put the eye and everything that moves in their places.

        Args:
            x: metres.
            z: metres.
            yaw: radians.
            bodies: x, y, z, yaw of each, by name.
            world: its number.
        """
        if world != self._shown:
            self._shown = world
            MiniWorldEnv.reset(self)
        self.agent.pos, self.agent.dir = np.array((x, 0.0, z)), yaw
        for entity in self.entities:
            if isinstance(entity, Body) and entity.body is not None:
                entity.place(*bodies[entity.body])

    def render_obs(self, frame_buffer: FrameBuffer | None = None) -> Frame:
        """What is seen, uint8 [Y, X, 3].

        Raises:
            UsageError: it was closed, or something else draws in this process by now.
        """
        if self._closed:
            raise UsageError("this MiniWorld environment was closed. Make another one.")
        if len(pyglet.app.windows) > 1 + (self.window is not None):
            raise UsageError(
                "another MiniWorld environment (or another window of pyglet's) was opened in this "
                f"process after {type(self).__name__}, and OpenGL's display list of this one is "
                f"lost. {_ONE_A_PROCESS}"
            )
        frame: Frame = super().render_obs(frame_buffer)
        return frame

    def close(self) -> None:
        """Give OpenGL back, so that another environment may have it."""
        super().close()
        if not self._closed:
            self._closed = True
            self.shadow_window.close()


class _SingleSampled(FrameBuffer):
    """Takes one sample, in the middle of a pixel."""

    def bind(self) -> None:
        super().bind()
        glDisable(GL_MULTISAMPLE)


_ONE_A_PROCESS = (
    "Close the other one first, or give each a process of its own: "
    "gymnasium.make_vec(ID, num_envs=N, vectorization_mode='async', "
    "vector_kwargs={'context': 'forkserver'}), or a family with renderer='miniworld'."
)


def _refuse_a_second(held: weakref.ref[WorldView] | None) -> None:
    """Look whether MiniWorld is in use in this process.

    Raises:
        UsageError: it is.
    """
    other = None if held is None else held()
    if other is not None and not other._closed:
        who = f"a MiniWorld environment, {type(other).__name__},"
    elif len(pyglet.app.windows) > 0:
        who = "a window of pyglet's (another MiniWorld environment?)"
    else:
        return
    raise UsageError(
        f"{who} is open in this process already, and two would draw over each other's display "
        f"list. {_ONE_A_PROCESS}"
    )


def _settings(world: World) -> DomainParams:
    """MiniWorld's parameters for a world's camera and light."""
    settings = DEFAULT_PARAMS.copy()
    light = world.light
    # MiniWorld means a lamp in a place, but adds 1 to its coordinates where it would append a 1;
    # OpenGL then takes them for a direction.
    settings.set("light_pos", np.array(light.towards) - 1.0)
    settings.set("light_color", [light.diffuse] * 3)
    settings.set("light_ambient", [light.ambient - OPENGLS_OWN_AMBIENT] * 3)
    settings.set("cam_height", world.camera.height)
    return settings

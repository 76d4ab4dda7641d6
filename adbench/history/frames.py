"""Frames of training rows, drawn from the states that histories hold, where training runs.

B rows, L tokens a row, V of all tokens real, Y X rows and columns of a frame. A watermaze's pose
takes 12 bytes and its frame 12,288, so states are what is stored, read and moved; frames are made
a batch at a time, in one call.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from adbench.errors import HistoryError
from adbench.history.schema import Renderer
from adbench.task import TaskFamily
from adbench.tokens import Tokens


class RowFrames:
    """Draws what the agent saw in rows that hold states (`WindowSampler.holds_states`).

    Args:
        family: whose states they are.
        tasks: any of its tasks, [n, ...]; the first one tells what a state is made of.

    Raises:
        HistoryError: the family does not draw.
    """

    def __init__(self, family: TaskFamily, tasks: Tensor) -> None:
        if family.renderer is None:
            raise HistoryError(
                f"these histories hold states and no observations, and {family.name} does not draw "
                "states. Give the family render_state and a renderer, or store observations."
            )
        self.family = family
        self._dtypes = state_dtypes(family, tasks)

    def __call__(self, tokens: Tokens, device: torch.device) -> Tokens:
        """Rows on a device, with frames in the place of states.

        Args:
            tokens: [B, L] on the CPU; `observation` holds states by name, [B, L, ...].
            device: where to draw.

        Returns:
            observation uint8 [B, L, Y, X, C]; padding is black.

        Raises:
            HistoryError: states are missing, or unknown to the family.
        """
        states = tokens.observation
        if not isinstance(states, dict) or states.keys() != self._dtypes.keys():
            held = sorted(states) if isinstance(states, dict) else "observations"
            raise HistoryError(
                f"rows hold {held}; {self.family.name} draws {sorted(self._dtypes)}. Collect the "
                "histories again with this version of the family."
            )
        flat = {name: values.flatten(0, 1) for name, values in states.items()}
        real = tokens.valid.flatten()
        padded = not bool(real.all())
        if padded:  # nothing is drawn there; told on the CPU, where nobody has to wait for it
            places = real.nonzero()[:, 0]
            flat = {name: values.index_select(0, places) for name, values in flat.items()}
        frames = self.draw({name: values.to(device) for name, values in flat.items()})
        if padded:
            black = frames.new_zeros(len(real), *frames.shape[1:])
            frames = black.index_copy_(0, places.to(device), frames)
        frames = frames.view(*tokens.shape, *frames.shape[1:])
        return replace(tokens, observation=frames).to(device, non_blocking=True)

    def draw(self, states: dict[str, Tensor]) -> Tensor:
        """Frames of stored states, [V, ...] by name: uint8 [V, Y, X, C] on their device."""
        return self.family.render_state(
            {name: values.to(self._dtypes[name]) for name, values in states.items()}
        )


def state_dtypes(family: TaskFamily, tasks: Tensor) -> dict[str, torch.dtype]:
    """What a family's states are made of, by name; files know flags as bytes.

    Args:
        family: which.
        tasks: any of its tasks, [n, ...].
    """
    env = family.make(tasks[:1], seed=0, observe="state")
    try:
        env.reset()
        return {name: values.dtype for name, values in env.state().items()}
    finally:
        env.close()


def renderer_of(family: TaskFamily, device: torch.device) -> Renderer | None:
    """What draws a family's states, and how; none where nothing does."""
    if family.renderer is None:
        return None
    shape = family.observation_space.shape
    assert shape is not None
    return Renderer.parse(
        {
            "name": family.renderer,
            "samples": family.samples,
            "height": shape[0],
            "width": shape[1],
            "world_version": family.world_version,
            "device": device.type,
        }
    )

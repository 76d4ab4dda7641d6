"""One step of acting whose inputs, memory and output never move: eager here, one CUDA graph there.

N lanes, n tokens a lane, A actions.

A step always takes two tokens a lane, of which `count` are real: an episode's end brings two, and
which lanes end need not be known to the host then, so nothing waits for the device. What it costs
is the dense layers over tokens that are not real, little beside reading the rings; what it also
gains is that a lane's sums have the same shapes whether or not a neighbour's episode ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adbench.model.arena import Arena
from adbench.tokens import NO_ACTION, Tokens

if TYPE_CHECKING:
    from adbench.model.transformer import DistillationModel

TOKENS = 2
"""n: an episode's final token and the next one's first."""

_OBSERVATION = "observation"


class StaticStep:
    """A model's step and the sampling of its action, over buffers that are made once.

    Args:
        model: in evaluation mode, as long as this is used.
        like: tokens such as it will be given, [N, any]: their dtypes and shapes are taken.

    Attributes:
        cache: what the lanes remember.
        action: what came out last, int64 [N].
    """

    def __init__(self, model: DistillationModel, like: Tokens) -> None:
        self.model = model
        self.lanes = like.shape[0]
        self.cache = model.new_cache(self.lanes)
        device = model.device
        shapes = {
            "count": ((self.lanes,), torch.int32),
            "reset": ((self.lanes,), torch.bool),
            "noise": ((self.lanes, model.num_actions), torch.float32),
        }
        for name, part in _parts(like).items():
            shapes[name] = ((self.lanes, TOKENS, *part.shape[2:]), part.dtype)
        self._arena = Arena(shapes, device)
        self.action = torch.zeros(self.lanes, dtype=torch.int64, device=device)
        self._tokens = _tokens(self._arena.here, like, device)
        self._weights = _places(model)

    def fits(self, tokens: Tokens) -> bool:
        """Whether such tokens go into the buffers, and the weights are where they were."""
        if tokens.shape[0] != self.lanes or self._weights != _places(self.model):
            return False
        kept, given = _parts(self._tokens), _parts(tokens)
        return kept.keys() == given.keys() and all(
            (part.dtype, part.shape[2:]) == (kept[name].dtype, kept[name].shape[2:])
            for name, part in given.items()
        )

    def forget(self) -> None:
        """Let every lane begin anew."""
        self.cache.state.clear()

    def __call__(
        self, tokens: Tokens, count: Tensor, noise: Tensor | None, reset: Tensor | None = None
    ) -> Tensor:
        """Take in what is new and choose actions, int64 [N], where the tokens are.

        Args:
            tokens: [N, 1] or [N, 2]; on the model's device, or on the CPU.
            count: how many of them are real, integers [N].
            noise: standard Gumbel noise, float32 [N, A]; none: the likeliest action is taken.
            reset: lanes that forget everything first, bool [N]; none: no lane.
        """
        self.load(tokens, count, noise, reset)
        self.run()
        return self._arena.give_back(self.action, count.device)

    def load(
        self, tokens: Tokens, count: Tensor, noise: Tensor | None, reset: Tensor | None = None
    ) -> None:
        """Fill the buffers; arguments as of a call."""
        if tokens.shape[1] > TOKENS:
            raise ValueError(f"tokens: a step takes at most {TOKENS} tokens; got {tokens.shape[1]}")
        parts: dict[str, Tensor | None] = {"count": count, "noise": noise, "reset": reset}
        # One token is copied to both places: what is not real must still be a valid token.
        self._arena.fill({**parts, **_parts(tokens)}, count.device)

    def run(self) -> None:
        """From the buffers to `action`."""
        self.compute()

    @torch.no_grad()
    def compute(self) -> None:
        """The step itself. It allocates, but reads no device value and keeps nothing."""
        here = self._arena.here
        logits = self.model.step(
            self._tokens, count=here["count"], cache=self.cache, reset=here["reset"]
        )
        self.action.copy_((logits + here["noise"]).argmax(dim=-1))


class GraphedStep(StaticStep):
    """The same as one CUDA graph: encoder, all layers, head and sampling in one launch."""

    _graph: torch.cuda.CUDAGraph | None = None

    def run(self) -> None:
        """Replay the graph; the first time, record it."""
        if self._graph is None:
            self._graph = self._record()
        self._graph.replay()

    def _record(self) -> torch.cuda.CUDAGraph:
        # Kernels are compiled and libraries make their workspaces at the first calls, which a
        # recording does not allow. With no real token and no reset nobody's memory changes.
        count, reset = self._arena.here["count"], self._arena.here["reset"]
        kept = count.clone(), reset.clone()
        count.zero_()
        reset.zero_()
        device = self.model.device
        with torch.cuda.device(device):
            beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            beside.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(beside):
                for _ in range(2):
                    self.compute()
            torch.cuda.current_stream(device).wait_stream(beside)
            graph = torch.cuda.CUDAGraph()
            # An environment's or a loader's threads may use the GPU meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self.compute()
        count.copy_(kept[0])
        reset.copy_(kept[1])
        return graph


def static_step(model: DistillationModel, like: Tokens) -> StaticStep:
    """The one for the model's device; arguments as of `StaticStep`."""
    return (GraphedStep if model.device.type == "cuda" else StaticStep)(model, like)


def _parts(tokens: Tokens) -> dict[str, Tensor]:
    """What a step reads of tokens, by name."""
    seen = tokens.observation
    observations = (
        {f"{_OBSERVATION}/{name}": part for name, part in seen.items()}
        if isinstance(seen, dict)
        else {_OBSERVATION: seen}
    )
    return {
        **observations,
        "previous_action": tokens.previous_action,
        "previous_reward": tokens.previous_reward,
        "ending": tokens.ending,
    }


def _tokens(parts: dict[str, Tensor], like: Tokens, device: torch.device) -> Tokens:
    """Tokens over the buffers."""
    prefix = f"{_OBSERVATION}/"
    shape = parts["previous_action"].shape
    return Tokens(
        observation={name: parts[prefix + name] for name in like.observation}
        if isinstance(like.observation, dict)
        else parts[_OBSERVATION],
        previous_action=parts["previous_action"],
        previous_reward=parts["previous_reward"],
        ending=parts["ending"],
        action=torch.full(shape, NO_ACTION, device=device),
        valid=torch.ones(shape, dtype=torch.bool, device=device),
    )


def _places(model: DistillationModel) -> tuple[int, ...]:
    """Where the weights and averages lie: a graph reads them there."""
    return tuple(held.data_ptr() for held in (*model.parameters(), *model.buffers()))

"""Who acts in a roll-out: the frozen transformer through its ring cache, or what it is measured by.

N lanes, n tokens new at a step (1, or 2 where an episode ended), W tokens in a window, A actions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from adbench.errors import UsageError
from adbench.noise import Lanes
from adbench.tokens import Observation, Tokens

if TYPE_CHECKING:
    from adbench.model.cache import ModelCache
    from adbench.model.static import StaticStep
    from adbench.model.transformer import DistillationModel


@dataclass(frozen=True)
class StepView:
    """What N lanes have seen since they last acted.

    Attributes:
        tokens: [N, n]; a lane's first `count` are real: one while its episode runs; where it ended
            the final token, then the new episode's first.
        count: int32 [N]; 0 for a lane that has played all its episodes and waits.
    """

    tokens: Tokens
    count: Tensor


class Policy(ABC):
    """Chooses every lane's next action.

    Attributes:
        sees: whether it looks at observations; for one that does not, none are rendered, and those
            in its tokens are empty.
    """

    sees: ClassVar[bool] = True

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Entered around a whole roll-out."""
        with torch.no_grad():
            yield

    @abstractmethod
    def start(self, lanes: Lanes, device: torch.device) -> None:
        """Forget everything: these lanes begin now."""

    @abstractmethod
    def act(self, view: StepView, noise: Tensor | None) -> Tensor:
        """Actions of every lane, int64 [N]; those of lanes that wait mean nothing.

        Args:
            view: what is new.
            noise: standard Gumbel noise, float32 [N, A]: the argmax of logits plus noise samples
                the softmax. None: take the likeliest action.
        """


class RandomPolicy(Policy):
    """Every action with equal probability."""

    sees = False

    def start(self, lanes: Lanes, device: torch.device) -> None:
        """Nothing to forget."""

    def act(self, view: StepView, noise: Tensor | None) -> Tensor:
        """The action with the largest noise; see `Policy.act`."""
        if noise is None:
            raise UsageError(
                "random actions have no likeliest one. Roll them out with action = sample."
            )
        return noise.argmax(dim=-1)


class ModelPolicy(Policy):
    """Base of those who ask a model.

    Args:
        model: frozen; it is set to evaluation while it plays.
        zero_reward: show it a reward of zero always (the row `ad-no-reward`).
        blind: show it this instead of what is there, always (the row `ad-blind`): one observation
            without a batch, of a Dict space those keys that are not to be seen. None: it sees.
    """

    def __init__(
        self,
        model: DistillationModel,
        *,
        zero_reward: bool = False,
        blind: Observation | None = None,
    ) -> None:
        self.model = model
        self.zero_reward = zero_reward
        self.blind = blind

    @contextmanager
    def playing(self) -> Iterator[None]:
        """No gradients, no dropout, no masking; the model is left in the mode it was in."""
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(was_training)

    @abstractmethod
    def logits(self, tokens: Tokens, count: Tensor) -> Tensor:
        """Take in what is new and predict, [N, A]; arguments as in `StepView`."""

    def shown(self, tokens: Tokens) -> Tokens:
        """What of the tokens the model is shown."""
        if self.zero_reward:
            tokens = replace(tokens, previous_reward=torch.zeros_like(tokens.previous_reward))
        if self.blind is not None:
            tokens = replace(tokens, observation=_covered(tokens.observation, self.blind))
        return tokens

    def act(self, view: StepView, noise: Tensor | None) -> Tensor:
        """Sample the model's prediction; see `Policy.act`."""
        here, there = view.count.device, self.model.device
        tokens, count = self.shown(view.tokens), view.count
        if here != there:
            tokens, count = tokens.to(there), count.to(there)
            noise = None if noise is None else noise.to(there)
        logits = self.logits(tokens, count)
        return (logits if noise is None else logits + noise).argmax(dim=-1).to(here)


class DistilledPolicy(ModelPolicy):
    """The transformer as trained with `context = banded`: steps through its ring cache.

    Args:
        model: frozen; it is set to evaluation while it plays.
        zero_reward: see `ModelPolicy`.
        blind: see `ModelPolicy`.
        static: act through buffers that never move, which on a GPU is one CUDA graph a step and
            does not call `logits`; none: on a GPU.
    """

    _cache: ModelCache
    _step: StaticStep | None = None
    _begins = True

    def __init__(
        self,
        model: DistillationModel,
        *,
        zero_reward: bool = False,
        blind: Observation | None = None,
        static: bool | None = None,
    ) -> None:
        super().__init__(model, zero_reward=zero_reward, blind=blind)
        self.static = static

    def start(self, lanes: Lanes, device: torch.device) -> None:
        """Empty contexts."""
        self._begins = True
        if not self._is_static:
            self._cache = self.model.new_cache(len(lanes.lane_ids))

    def act(self, view: StepView, noise: Tensor | None) -> Tensor:
        """Sample the model's prediction; see `Policy.act`."""
        if not self._is_static:
            return super().act(view, noise)
        tokens = self.shown(view.tokens)
        if self._begins:
            self._step = self._static_step(tokens)
            self._begins = False
        assert self._step is not None
        return self._step(tokens, view.count, noise)

    @property
    def _is_static(self) -> bool:
        return self.model.device.type == "cuda" if self.static is None else self.static

    def _static_step(self, tokens: Tokens) -> StaticStep:
        """The last roll-out's, its contexts emptied, if it still fits: it is recorded already."""
        from adbench.model.static import static_step

        if self._step is None or not self._step.fits(tokens):
            return static_step(self.model, tokens)
        self._step.forget()
        return self._step

    def logits(self, tokens: Tokens, count: Tensor) -> Tensor:
        """One step of the model; see `ModelPolicy.logits`."""
        return self.model.step(tokens, count=count, cache=self._cache)


class RecomputePolicy(ModelPolicy):
    """The last `window_steps` tokens through the whole model at every step: what a cache saves.

    Of a model with `context = banded` this is another function as soon as the window has slid: N
    layers carry information from beyond it. It is then the baseline for speed alone.
    """

    _window: TokenWindow

    def start(self, lanes: Lanes, device: torch.device) -> None:
        """Empty contexts."""
        self._window = TokenWindow(self.model.window_steps)

    def remember(self, tokens: Tokens, count: Tensor) -> tuple[Tokens, Tensor]:
        """Take in what is new without predicting; returns as `TokenWindow.append`.

        Observations are encoded here, once: what is remembered of a frame is a vector.
        """
        return self._window.append(self.model.encode(tokens, count), count)

    def logits(self, tokens: Tokens, count: Tensor) -> Tensor:
        """A forward pass over all that is remembered; see `ModelPolicy.logits`."""
        rows, length = self.remember(tokens, count)
        predicted: Tensor = self.model(rows, encoded=True)
        last = (length - 1).clamp(min=0)
        return predicted.take_along_dim(last[:, None, None], dim=1).squeeze(1)


class ExactPolicy(RecomputePolicy):
    """The transformer as it was trained with `context = exact`: the last c tokens and no others."""

    def __init__(
        self,
        model: DistillationModel,
        *,
        zero_reward: bool = False,
        blind: Observation | None = None,
    ) -> None:
        if model.context != "exact":
            raise UsageError(
                f"this model was trained with context = {model.context}; ExactPolicy would make "
                "another function of it. Use policy_of(model)."
            )
        super().__init__(model, zero_reward=zero_reward, blind=blind)


def policy_of(
    model: DistillationModel, *, zero_reward: bool = False, blind: Observation | None = None
) -> ModelPolicy:
    """The policy that realises what a model was trained as; arguments as `ModelPolicy`."""
    kind = ExactPolicy if model.context == "exact" else DistilledPolicy
    return kind(model, zero_reward=zero_reward, blind=blind)


class TokenWindow:
    """The last W transition tokens of N lanes, each lane's from the left, padding at the right.

    Args:
        size: W.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._tokens: Tokens | None = None
        self._length: Tensor | None = None

    def append(self, tokens: Tokens, count: Tensor) -> tuple[Tokens, Tensor]:
        """Add each lane's first `count` tokens and drop its oldest beyond W.

        Args:
            tokens: [N, n].
            count: int [N], 0 to n.

        Returns:
            Tokens [N, L], L <= W as short as nothing is lost; tokens in each lane, int64 [N].
        """
        if self._tokens is None or self._length is None:
            self._tokens, self._length = tokens, torch.zeros_like(count, dtype=torch.int64)
            held = tokens.map(lambda new: new[:, :0])
        else:
            held = self._tokens
        # No lane holds more than there are columns, so this needs no look at the device.
        most = min(self.size, held.shape[1] + tokens.shape[1])
        length = self._length + count
        dropped = (length - most).clamp(min=0)
        column = torch.arange(most, device=length.device) + dropped[:, None]
        # Old tokens are where they were; new ones follow a lane's own last, not the last column.
        old = column < self._length[:, None]
        source = torch.where(old, column, held.shape[1] + column - self._length[:, None])
        source = source.clamp(max=held.shape[1] + tokens.shape[1] - 1)
        row = torch.arange(len(length), device=length.device)[:, None]
        self._length = length - dropped
        joined = _concatenate(held, tokens).map(lambda part: part[row, source])
        valid = torch.arange(most, device=length.device) < self._length[:, None]
        self._tokens = replace(joined, valid=valid)
        return self._tokens, self._length


def _covered(observation: Observation, blind: Observation) -> Observation:
    """Observations [N, n, ...] with the same one in every place."""
    if isinstance(observation, dict):
        assert isinstance(blind, dict)
        hidden = {name: _over(observation[name], part) for name, part in blind.items()}
        return observation | hidden
    assert isinstance(blind, Tensor)
    return _over(observation, blind)


def _over(shown: Tensor, part: Tensor) -> Tensor:
    return part.to(shown.device).expand_as(shown)


def _concatenate(left: Tokens, right: Tokens) -> Tokens:
    def join(a: Tensor, b: Tensor) -> Tensor:
        return torch.cat((a, b), dim=1)

    def join_observations(a: Observation, b: Observation) -> Observation:
        if isinstance(a, dict):
            assert isinstance(b, dict)
            return {name: join(part, b[name]) for name, part in a.items()}
        assert isinstance(b, Tensor)
        return join(a, b)

    return Tokens(
        observation=join_observations(left.observation, right.observation),
        previous_action=join(left.previous_action, right.previous_action),
        previous_reward=join(left.previous_reward, right.previous_reward),
        ending=join(left.ending, right.ending),
        action=join(left.action, right.action),
        valid=join(left.valid, right.valid),
    )

"""The sequence model that learning histories are distilled into.

B rows or lanes, L transition tokens, T vectors a row (L, or 3 L where interleaved), D width, A
actions.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, cast

import gymnasium
import torch
from torch import Tensor, nn

from adbench.config import ModelConfig, TrainConfig
from adbench.errors import UsageError
from adbench.model.auxiliary import InverseDynamics
from adbench.model.block import Block
from adbench.model.cache import ModelCache
from adbench.model.embed import TOKENS_PER_STEP, TokenEmbedding, Vectors, pick
from adbench.tokens import Tokens
from adbench_kernels import rotary_attention, rotary_turns, strided_rotary_attention

# An episode's end brings two tokens at once: its final observation and the next episode's first.
STEPS_AT_ONCE = 2


class DistillationModel(nn.Module):
    """A causal transformer that predicts the next action of a learning history.

    `forward` (whole rows) and `step` (one environment step, through ring caches) are the same
    function of the same weights: stepping through a history gives what one forward pass over all of
    it gives.

    Args:
        model: its sizes and layout.
        train: the window, and what is regularised.
        observation_space: what the agent sees.
        num_actions: A.
    """

    def __init__(
        self,
        model: ModelConfig,
        train: TrainConfig,
        observation_space: gymnasium.Space[Any],
        num_actions: int,
    ) -> None:
        super().__init__()
        self.config = model
        self.context = train.context
        self.num_actions = num_actions
        self.tokens_per_step = TOKENS_PER_STEP[model.layout]
        self.window_steps = train.window_steps
        self.embed = TokenEmbedding(
            observation_space,
            num_actions,
            model.width,
            layout=model.layout,
            images=model.encoder,
            token_mask=train.token_mask,
            dropout=model.dropout,
        )
        self.positions: nn.Parameter | None = None
        if model.positions == "learned":
            self.positions = nn.Parameter(torch.empty(self.window_tokens, model.width))
        self.blocks = nn.ModuleList(
            Block(
                model.width, model.heads, model.feedforward, norm=model.norm, dropout=model.dropout
            )
            for _ in range(model.layers)
        )
        self.norm = nn.LayerNorm(model.width) if model.norm == "pre" else nn.Identity()
        self.head = nn.Linear(model.width, num_actions)
        self.moves: InverseDynamics | None = None
        if train.auxiliary == "inverse-dynamics":
            self.moves = InverseDynamics(model.width, num_actions)

    @property
    def window_tokens(self) -> int:
        """Vectors that a query sees: `window_steps` times `tokens_per_step`."""
        return self.window_steps * self.tokens_per_step

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.head.weight.device

    @property
    def num_parameters(self) -> int:
        """Trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters())

    def encode(self, tokens: Tokens, count: Tensor) -> Tokens:
        """The same tokens with their observations encoded, float [B, L, D]: whoever looks at them
        again and again (`forward(encoded=True)`) does so without the frames.

        Args:
            tokens: [B, L].
            count: how many of each row are real, integers [B].
        """
        valid = torch.arange(tokens.shape[1], device=count.device) < count[:, None]
        return replace(tokens, observation=self.embed.encode(tokens.observation, valid))

    def forward(self, tokens: Tokens, *, encoded: bool = False) -> Tensor:
        """Predictions for whole rows, float32 [B, L, A]; what they are at padding means nothing.

        Args:
            tokens: rows [B, L] that begin where the model's memory begins; padding at row ends.
            encoded: they come from `encode`.

        Raises:
            UsageError: with `context = exact`, rows longer than the context.
        """
        return self._read(self._embedded(tokens, encoded=encoded))

    def forward_with_moves(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """`forward`, and guesses at the action that led to each token (`InverseDynamics`), both
        float32 [B, L, A]; for training with an auxiliary task."""
        assert self.moves is not None
        vectors = self._embedded(tokens)
        return self._read(vectors), self.moves(vectors.observation).float()

    def _embedded(self, tokens: Tokens, *, encoded: bool = False) -> Vectors:
        length = tokens.shape[1]
        if self.context == "exact" and length > self.window_steps:
            raise UsageError(
                f"rows of {length} transition tokens were given to a model with context = exact "
                f"and window_steps = {self.window_steps}: it was trained on no more. "
                f"Give it the last {self.window_steps} tokens."
            )
        return cast(Vectors, self.embed(tokens, tokens.valid, encoded=encoded))

    def _read(self, vectors: Vectors) -> Tensor:
        x = vectors.x
        if self.positions is not None:
            x = x + self.positions[: x.shape[1]]
        turns = self._turns(torch.arange(x.shape[1], device=x.device), x)
        window = self.window_tokens if self.context == "banded" else None
        dropout = self.config.attention_dropout if self.training else 0.0

        def attend(qkv: Tensor) -> Tensor:
            return rotary_attention(qkv, turns, window=window, dropout=dropout)

        # Predictions are read at each token's last vector.
        first, stride = self.tokens_per_step - 1, self.tokens_per_step

        def attend_asked(q: Tensor, kv: Tensor) -> Tensor:
            return strided_rotary_attention(
                q,
                kv,
                turns,
                query_offset=first,
                query_stride=stride,
                window=window,
                dropout=dropout,
            )

        *others, last = cast(list[Block], list(self.blocks))
        for block in others:
            x = block(x, attend)
        if stride == 1:
            x = last(x, attend)
        else:
            x = last.ask(x, attend_asked, slice(first, None, stride))
        return self._predict(x)

    def new_cache(
        self,
        lanes: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        fused: bool = True,
    ) -> ModelCache:
        """Empty memory for `step`.

        Args:
            lanes: N.
            device: where it lives; none: with the weights.
            dtype: of keys and values; none: that of the weights.
            fused: let steps take all blocks in one operation where there is a kernel for it
                (without gradients, on the CPU in float32); else block by block, as in training.

        Raises:
            UsageError: with `context = exact` there is nothing to keep between steps.
        """
        if self.context == "exact":
            raise UsageError(
                "context = exact recomputes its window at each step; a ring cache would be "
                "another function. Use ExactPolicy, or train with context = banded."
            )
        cache = ModelCache(
            lanes,
            layers=self.config.layers,
            window=self.window_tokens,
            most_tokens=STEPS_AT_ONCE * self.tokens_per_step,
            heads=self.config.heads,
            head_dim=self.config.width // self.config.heads,
            dtype=dtype or self.head.weight.dtype,
            device=torch.device(device) if device is not None else self.device,
        )
        if fused:
            blocks = cast("list[Block]", list(self.blocks))
            cache.fuse(
                [block.weights for block in blocks],
                norm_first=blocks[0].pre_norm,
                epsilon=blocks[0].attention_norm.eps,
            )
        return cache

    def step(
        self, tokens: Tokens, *, count: Tensor, cache: ModelCache, reset: Tensor | None = None
    ) -> Tensor:
        """Take in what each lane saw since the last step and predict its next action, [N, A].

        Args:
            tokens: [N, n]; a lane's first `count` are real (`valid` is not looked at).
            count: int [N], 0 to n. A lane with 0 waits: its memory stays and its row means nothing.
            cache: from `new_cache`; changed in place.
            reset: lanes that forget everything first, bool [N].

        Returns:
            Predictions at each lane's last real token, float32 (float64 where the weights are).
        """
        length = tokens.shape[1]
        if length > STEPS_AT_ONCE:
            return self._step_by_parts(tokens, count=count, cache=cache, reset=reset)
        valid = torch.arange(length, device=count.device) < count[:, None]
        vectors = self.embed(tokens, valid)
        x = vectors.x
        at = cache.begin(x.shape[1], vectors.count, reset)
        turns = self._turns(at, x)
        if cache.stack is not None and not (self.training or torch.is_grad_enabled()):
            x = cache.through_stack(x, turns)
        else:
            for layer, block in enumerate(self.blocks):
                x = block(x, partial(cache.attend, layer, turns))
        last = (vectors.count - 1).clamp(min=0)
        return self._predict(pick(x, last[:, None]).squeeze(1))

    def _step_by_parts(
        self, tokens: Tokens, *, count: Tensor, cache: ModelCache, reset: Tensor | None
    ) -> Tensor:
        logits = None
        for start in range(0, tokens.shape[1], STEPS_AT_ONCE):
            part = tokens.map(lambda t, s=start: t[:, s : s + STEPS_AT_ONCE])  # type: ignore[misc]
            left = (count - start).clamp(0, part.shape[1])
            new = self.step(part, count=left, cache=cache, reset=reset)
            logits = new if logits is None else torch.where((left > 0)[:, None], new, logits)
            reset = None
        assert logits is not None
        return logits

    def _turns(self, positions: Tensor, x: Tensor) -> Tensor:
        if self.positions is not None:  # learned ones came in with x; nothing turns at 0
            positions = torch.zeros_like(positions)
        dtype = torch.promote_types(x.dtype, torch.float32)  # finer than 16-bit weights
        return rotary_turns(positions, self.config.width // self.config.heads, dtype)

    def _predict(self, x: Tensor) -> Tensor:
        logits = self.head(self.norm(x))
        return cast(Tensor, logits if logits.dtype == torch.float64 else logits.float())

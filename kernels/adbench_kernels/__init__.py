"""Kernels of adbench, each beside its readable definition. Needs torch alone; knows nothing of RL.

Every operation takes `implementation=`: "auto" chooses what was measured to be fastest, any other
name runs that implementation or raises. The mathematics is in `kernels/README.md`.
"""

from adbench_kernels import flops
from adbench_kernels.choice import Implementation
from adbench_kernels.errors import ImplementationUnavailableError
from adbench_kernels.interval_attention import Intervals, attention, attention_backward
from adbench_kernels.patch_embedding import patch_embed
from adbench_kernels.ray_casting import Scene, build_scene, raycast
from adbench_kernels.ring_cache import (
    RingCache,
    RingState,
    RingStep,
    ring_append,
    ring_attention,
)
from adbench_kernels.rotary_attention import (
    rotary_attention,
    rotary_turns,
    rotate,
    strided_rotary_attention,
)
from adbench_kernels.transformer_step import BlockWeights, TransformerStep

__all__ = [
    "BlockWeights",
    "Implementation",
    "ImplementationUnavailableError",
    "Intervals",
    "RingCache",
    "RingState",
    "RingStep",
    "Scene",
    "TransformerStep",
    "attention",
    "attention_backward",
    "build_scene",
    "patch_embed",
    "raycast",
    "ring_append",
    "ring_attention",
    "rotary_attention",
    "rotary_turns",
    "rotate",
    "strided_rotary_attention",
]

flops.announce()

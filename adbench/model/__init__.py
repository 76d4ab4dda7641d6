"""The sequence model: observation encoders, token layouts, a causal transformer and its cache."""

from adbench.model.build import build_model
from adbench.model.flops import forward_flops, training_flops
from adbench.model.transformer import DistillationModel

__all__ = ["DistillationModel", "build_model", "forward_flops", "training_flops"]

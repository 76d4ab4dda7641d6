"""The sequence model: observation encoders, token layouts, a causal transformer and its ring
cache."""

from adbench.model.build import build_model
from adbench.model.transformer import DistillationModel

__all__ = ["DistillationModel", "build_model"]

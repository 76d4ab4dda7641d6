"""Training: rows in, checkpoints out."""

from adbench.train.loop import Sampler, TrainSummary, Validate, precision, train
from adbench.train.state import identity, load_model

__all__ = [
    "Sampler",
    "TrainSummary",
    "Validate",
    "identity",
    "load_model",
    "precision",
    "train",
]

"""Training: rows in, checkpoints out."""

from adbench.train.loop import Bring, Sampler, TrainSummary, Validate, precision, train
from adbench.train.state import identity, load_model

__all__ = [
    "Bring",
    "Sampler",
    "TrainSummary",
    "Validate",
    "identity",
    "load_model",
    "precision",
    "train",
]

"""The causal transformer, seen twice: `forward` for training, `step` for acting."""

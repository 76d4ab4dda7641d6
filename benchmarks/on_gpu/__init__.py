"""What `benchmarks/gpu.py` is made of: cases, a card, a timer, a store, and the sections."""

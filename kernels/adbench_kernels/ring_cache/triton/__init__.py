"""The ring cache in Triton: `launch.py` for tensors, the kernels beside it.

Nothing here is imported before it is used: Triton is optional.
"""

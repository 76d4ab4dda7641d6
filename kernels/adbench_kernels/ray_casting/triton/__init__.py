"""Ray casting in Triton: `launch.py` for tensors, the kernels beside it.

`view.py` puts surfaces before each camera, `draw.py` finds what each ray sees, `shade.py` its
colour. None of the three is imported before it is used: Triton is optional.
"""

"""Compiles the shipped kernels for GPUs that are not there, and reads what the compiler made.

    python -m compile_gate                          every case, target by target
    python -m compile_gate --targets sm_90 --only attention_forward
    python -m compile_gate --update                 accept what is measured now as golden

The production launchers run on `meta` tensors with the tiles that they would take on that GPU, so
what is compiled is what will run. A kernel passes if it has no spills, fits the chip's shared
memory, uses the tensor-core instructions that the chip is fast with, and has at most a tenth more
registers or instructions than the committed golden file of that Triton version says.
"""

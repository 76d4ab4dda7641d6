"""The worlds drawn by MiniWorld, in OpenGL: what frames of the ray caster are held against.

`libraries` looks for what must be installed and sets pyglet up; only after it may `parts` and
`drawing`, which load MiniWorld, be imported. `workers` keeps the processes that draw, `painter` is
what runs in them.
"""

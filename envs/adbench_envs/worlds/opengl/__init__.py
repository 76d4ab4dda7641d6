"""The worlds drawn by MiniWorld, in OpenGL: what frames of the ray caster are held against.

`libraries` looks for what must be installed and loads it; only then may `textures`, `parts`,
`drawing` and `environments` be imported. `workers` keeps processes that draw, `painter` is what
runs in them.
"""

"""First-person worlds: what they are made of, how one moves in them, and how they become a scene.

A world is plain data (`world`), checked once (`checks`). `movement` says where a step ends,
whoever draws; `scene` hands a world to the ray caster. `family` makes task families of worlds,
`places` draws hidden spots, `returns` says what random and perfect play earn.
"""

"""Pictures of roll-outs: what an agent sees, where it goes, as PNG, GIF or MP4.

`canvas` puts frames together, `ground` draws maps, `clips` makes a moving picture of a trace,
`files` writes them. Nothing here is on the path of a run but the report.
"""

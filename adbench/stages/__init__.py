"""The stages of a run, one module each: collect, train, evaluate, report.

`adbench.pipeline` puts them in order; each knows its own work, what it costs, and when it is done.
"""

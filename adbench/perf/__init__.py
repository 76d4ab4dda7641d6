"""Reports on what pytest-benchmark measured, and comparisons of two such measurements.

`measured` reads a file; `panels` puts what belongs together side by side; `growth`, `peers` and
`ceilings` work out exponents, ratios and shares; `report` and `compare` say them. Nothing here
runs a benchmark: `benchmarks/` in the source does.
"""

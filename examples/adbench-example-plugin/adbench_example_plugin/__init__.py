"""An example of a package that adds environments, a source and a preset to adbench.

Importing it does nothing; adbench finds the parts through the entry points in pyproject.toml.
"""

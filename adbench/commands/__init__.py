"""The verbs of the command line, one module each; `adbench.cli` loads the one that was asked for.

Each has `main(arguments) -> exit code`, where `arguments` is what follows the verb.
"""

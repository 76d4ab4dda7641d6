"""One line on what an entry point is, read from its source text: nothing is imported.

`adbench list` would otherwise have to import torch to print a few sentences.
"""

from __future__ import annotations

import ast
import importlib.machinery
import re
import sys
from pathlib import Path

_SENTENCE_END = re.compile(r"(?<!\bal)\. (?=[A-Z])")  # not after "et al."


def one_line(value: str) -> str:
    """First sentence of the docstring behind "module:attribute"; of its module where it has none.

    Args:
        value: an entry point's value. The empty string comes back for what cannot be found or read.
    """
    module, _, attribute = value.partition(":")
    path = source_file(module.strip())
    if path is None:
        return ""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == attribute.strip():
            return _summary(ast.get_docstring(node) or ast.get_docstring(tree))
    return _summary(ast.get_docstring(tree))


def source_file(module: str) -> Path | None:
    """Where a module's source lies; None if it is not on the path as a plain file."""
    search = sys.path
    spec = None
    for part in module.split("."):
        spec = importlib.machinery.PathFinder.find_spec(part, search)
        if spec is None:
            return None
        search = list(spec.submodule_search_locations or [])
    origin = spec.origin if spec else None
    return Path(origin) if origin and origin.endswith(".py") else None


def package_home(value: str) -> Path | None:
    """Folder of the package that "module:attribute" is in; the file, where it is a lone module."""
    path = source_file(value.partition(":")[0].strip().partition(".")[0])
    return path.parent if path is not None and path.name == "__init__.py" else path


def _summary(docstring: str | None) -> str:
    paragraph = " ".join((docstring or "").strip().partition("\n\n")[0].split())
    sentence, *more = _SENTENCE_END.split(paragraph, maxsplit=1)
    return f"{sentence}." if more else sentence

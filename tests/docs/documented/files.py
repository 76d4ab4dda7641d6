"""The files that a page tells its reader to write, and the package that they make."""

from __future__ import annotations

import re
from pathlib import Path

from documented.pages import SHELL, blocks


def write_files(page: str, folder: Path) -> list[Path]:
    """Write every block that names a file in its first line; of one file, one below the other."""
    written: dict[Path, str] = {}
    for block in blocks(page):
        if block.file and block.language not in SHELL:
            path = folder / block.file
            written[path] = written.get(path, "") + block.text
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(written)


def install(folder: Path) -> bool:
    """Make the package of a folder known as pip would, by the entry points of its pyproject.toml.

    The folder has to be on Python's path. Returns whether there is a package.
    """
    project = folder / "pyproject.toml"
    if not project.exists():
        return False
    text = project.read_text(encoding="utf-8")
    points = re.sub(r'\[project\.entry-points\."(.*)"\]', r"[\1]", text).replace('"', "")
    info = folder / "reader-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: reader\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(points)
    return True

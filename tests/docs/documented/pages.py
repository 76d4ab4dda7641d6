"""The pages of the guide, and the blocks of code that stand on them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[3]
SHELL = ("sh", "bash", "console")
"""How a fence says that a block is typed into a shell."""

_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\s*")
_FILE = re.compile(r"# ([\w./-]+\.\w+)\n")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: from the root of the repository.
        line: where it begins, counted from 1.
        heading: the nearest one above it; "" where there is none.
        language: as its fence says; "" for a block that is only indented, or says nothing.
        text: what is in it.
        not_run: why no test runs it, from `<!-- not run: why -->` directly above; "" for all else.
    """

    page: str
    line: int
    heading: str
    language: str
    text: str
    not_run: str = ""

    @property
    def file(self) -> str:
        """The file that this is, which its first line names (`# my_worlds/lakes.py`); or ""."""
        named = _FILE.match(self.text)
        return named[1] if named else ""


def pages() -> list[str]:
    """All pages, from the root: README, what docs/ holds, and the two that lie with their code."""
    guide = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", *guide, "envs/README.md", "kernels/README.md"]


def blocks(page: str, *languages: str) -> list[Block]:
    """A page's blocks of code in their order; those in some languages, or all."""
    found = blocks_of((ROOT / page).read_text(encoding="utf-8"), page)
    return [block for block in found if not languages or block.language in languages]


def blocks_of(text: str, page: str = "a page") -> list[Block]:
    """The blocks of code in a Markdown text, in their order."""
    found, heading, comment = [], "", ("", -1)
    tokens = MarkdownIt("commonmark").parse(text)
    for number, token in enumerate(tokens):
        first, last = token.map or (0, 0)
        if token.type == "heading_open":
            heading = tokens[number + 1].content
        elif token.type == "html_block" and (said := _NOT_RUN.fullmatch(token.content)):
            comment = said[1], last
        elif token.type in ("fence", "code_block"):
            why = comment[0] if comment[1] == first else ""
            language = (token.info.split() or [""])[0]
            found.append(Block(page, first + 1, heading, language, token.content, why))
    return found


def programs(page: str) -> list[str]:
    """A page's Python, block by block, without the files of packages."""
    return [block.text for block in blocks(page, "python") if not block.file]


def programs_by_heading(page: str) -> dict[str, str]:
    """The same, joined under each heading."""
    found: dict[str, str] = {}
    for block in blocks(page, "python"):
        found[block.heading] = f"{found.get(block.heading, '')}{block.text}\n"
    return found

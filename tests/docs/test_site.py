"""What holds the guide together: its pages, links, pictures and names. `make docs` builds it."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest

from adbench import plugins
from documented.pages import ROOT, blocks, pages

DOCS = ROOT / "docs"
OURS = "algorithm-distillation-bench"


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def links(page: str) -> list[str]:
    """Where a page's links and pictures lead, other than to the web."""
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"\]\(([^)\s]+)\)", prose)
    return [link for link in found if not re.match(r"\w+:", link)]


def anchors(page: str) -> set[str]:
    """What its headings are called in a link."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", pages())
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(str(target.resolve().relative_to(ROOT))), link


def test_the_table_of_contents_names_every_page_once() -> None:
    trees = [block.text for block in blocks("docs/index.md", "{toctree}")]
    entries = [line for tree in trees for line in tree.splitlines() if line and line[0] != ":"]
    named = [entry.split("<")[-1].rstrip(">") for entry in entries]
    written = [path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")]
    assert sorted(["index", *named]) == sorted(written)


def test_every_environment_of_ours_has_its_picture() -> None:
    shown = {link for page in ("environments", "worlds") for link in links(f"docs/{page}.md")}
    for entry in plugins.scan(plugins.ENVS):
        if entry.distribution == OURS:
            names = {f"figures/{entry.name}.{kind}" for kind in ("png", "svg")}
            assert len(names & shown) == 1, entry.name


@pytest.mark.parametrize("module", ["adbench", "adbench.testing", "adbench_kernels"])
def test_the_page_of_names_has_every_public_name(module: str) -> None:
    public = set(importlib.import_module(module).__all__) - {"__version__"}
    directives = re.findall(r"^\.\. auto\w+:: ([\w.]+)", text_of("docs/api.md"), flags=re.MULTILINE)
    listed = [name.rpartition(".") for name in directives]
    assert {name for home, _, name in listed if home == module} == public


@pytest.mark.parametrize("name", ["bandit", "key-to-door"])
def test_the_script_that_draws_learners_draws(name: str) -> None:
    script = DOCS / "figures" / "grids.py"
    names: dict[str, Any] = {"__name__": "grids"}
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), names)
    figure = names["bandit_figure"]() if name == "bandit" else names["grid_figure"](name)
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == (2 if name == "bandit" else 3)
    if name == "key-to-door":
        assert titles[0].startswith("episode 1:") and titles[-1].endswith("return 2")

"""The site of the guide: `make docs` builds docs/ into build/docs, and fails at a warning."""

from __future__ import annotations

import os
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.transforms.post_transforms import SphinxPostTransform

project = "adbench"
author = "The adbench authors"
project_copyright = "the adbench authors, Apache-2.0"
release = metadata.version("algorithm-distillation-bench")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["figures"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

default_role = "code"  # docstrings set names in single backticks
autodoc_member_order = "bysource"
napoleon_use_ivar = True  # a record's fields are its members, described once
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

html_theme = "furo"
html_title = "adbench"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"  # drawn by the browser itself: the site needs no network


# What a field or a property says is a sentence, in which a colon sets off no type.
GoogleDocstring._consume_inline_attribute = lambda self: ("", self._dedent(list(self._lines)))


def readdress(app: Sphinx, path: Path, page: str, content: list[str]) -> None:
    """Let links of a file that a page takes in lead from that page."""
    home = Path(app.confdir, path).parent

    def moved(link: re.Match[str]) -> str:
        return "](" + os.path.relpath(home / link[1], Path(app.srcdir, page).parent)

    content[0] = re.sub(r"\]\((?!\w+:|#)([^)\s#]+)", moved, content[0])


class SourceLinks(SphinxPostTransform):
    """Links to folders and pages of the source, of use in a checkout: on the site plain text."""

    default_priority = 8  # before MyST resolves links, at 9

    def run(self, **kwargs: Any) -> None:
        """Replace them."""
        home = Path(self.app.srcdir, self.env.docname).parent
        for link in list(self.document.findall(addnodes.pending_xref)):
            target = link["reftarget"]
            page = link.get("refdomain") == "doc" and target not in self.env.all_docs
            if link["reftype"] == "myst" and (page or (home / target).is_dir()):
                link.replace_self(link.children)


def mathml(block: bool) -> Any:
    """Writes a formula as MathML."""

    def visit(translator: Any, node: nodes.Node) -> None:
        translator.body.append(tex2mathml(node.astext(), as_block=block))
        raise nodes.SkipNode

    return visit, None


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    app.connect("include-read", readdress)
    app.add_post_transform(SourceLinks)
    app.add_html_math_renderer("mathml", mathml(block=False), mathml(block=True))

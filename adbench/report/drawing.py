"""What lies on the page beside words and tables."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Picture:
    """A moving picture on the page.

    Attributes:
        file: its name in figures/.
        gif: the file.
        caption: what it shows.
    """

    file: str
    gif: bytes
    caption: str

    @property
    def address(self) -> str:
        """The whole of it as an address, for a page without a network."""
        return f"data:image/gif;base64,{base64.b64encode(self.gif).decode()}"


@dataclass(frozen=True)
class Drawing:
    """A figure on the page.

    Attributes:
        file: its name in figures/.
        svg: the document.
        caption: what it shows.
    """

    file: str
    svg: str
    caption: str

    @property
    def inline(self) -> Markup:
        """The SVG element alone, without the XML declaration that a page has no place for."""
        return Markup(self.svg[self.svg.index("<svg") :])

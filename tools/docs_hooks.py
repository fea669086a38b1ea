"""What the site does with links that lead out of docs/: to a file of the repository, said by its path.

A page is read in two places. In the repository its links to source files are links; on the site, which holds no source,
they become the path. One that leads to nothing is a warning, which `mkdocs build --strict` makes an error.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LOG = logging.getLogger("mkdocs.hooks.links")
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs for every page."""
    here = (DOCS / page.file.src_uri).parent

    def said(match: re.Match[str]) -> str:
        text, target = match[1], match[2]
        if re.match(r"[a-z]+:", target):
            return match[0]
        path = (here / target).resolve()
        if path.is_relative_to(DOCS):
            return match[0]  # mkdocs itself checks these
        if not path.exists():
            LOG.warning("%s links to %s, which is not there", page.file.src_uri, target)
        file = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else target
        bare = text.strip("`")
        return f"`{file}`" if file.endswith(bare) else f"{text} (`{file}`)"

    return LINK.sub(said, markdown)

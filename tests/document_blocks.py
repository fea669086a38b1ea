"""The fenced blocks of the pages, and what the line above one says about how it is run.

``<!-- run: OLD => NEW; OLD => NEW -->`` shrinks a block for the tests: every OLD must occur in it.
``<!-- not run: REASON -->`` leaves it at being read: arguments are parsed by the real parser, Python is compiled.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = tuple(sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]))

#: Why a block may be left at being read. ``elsewhere`` names the test file that runs it.
REASONS = ("download", "minutes", "hours", "cluster", "waits for requests", "installs", "needs your run", "elsewhere")
LANGUAGES = ("bash", "python", "text", "yaml", "json")

_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_DIRECTIVE = re.compile(r"<!-- (run|not run): ((?:(?!-->).)*?) -->\n+\Z", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, place and text, and the directive above it."""

    page: str
    line: int
    language: str
    text: str
    run: bool
    reason: str
    replace: tuple[tuple[str, str], ...]

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def small(self) -> str:
        """The text as the tests run it."""
        text = self.text
        for old, new in self.replace:
            assert old in text, f"{self.place}: {old!r} does not occur in the block that it is to shrink"
            text = text.replace(old, new)
        return text

    @property
    def commands(self) -> list[list[str]]:
        """Of a shell block, each command in words; comments left out, continued lines joined."""
        return words(self.small)


def words(text: str) -> list[list[str]]:
    lines = text.replace("\\\n", " ").splitlines()
    joined: list[str] = []
    for line in lines:  # a quoted argument may go over lines
        if joined and joined[-1].count("'") % 2:
            joined[-1] += " " + line
        else:
            joined.append(line)
    found = [shlex.split(line, comments=True) for line in joined]
    return [command for command in found if command]


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        directive = _DIRECTIVE.search(text, 0, match.start())
        kind, said = (directive[1], directive[2]) if directive else ("run", "")
        pairs = [pair.partition(" => ") for pair in said.split("; ")] if kind == "run" and said else []
        found.append(
            Block(
                page=page.relative_to(ROOT).as_posix(),
                line=text.count("\n", 0, match.start()) + 1,
                language=match[1],
                text=match[2],
                run=kind == "run",
                reason=said if kind == "not run" else "",
                replace=tuple((old, new) for old, _, new in pairs),
            )
        )
    return found


def all_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(page)]

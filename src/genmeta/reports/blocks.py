"""What a report is made of: sections of text, tables and pictures, all of them plain frozen data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from genmeta.core.errors import UsageError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: Shown where there is no number.
MISSING = "–"

#: Shown where an accuracy was not reached.
NOT_REACHED = "not reached"

_NUMBER = re.compile(r"[+−-]?\d[\d.,]*(e[+-]?\d+)?( ?%| ?ms| ?s)?( ± [\d.,]+)?")


@dataclass(frozen=True)
class Text:
    """Paragraphs, separated by blank lines."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table of finished strings.

    Attributes:
        headers: of the columns.
        rows: as many cells each as there are headers.
        caption: what the numbers are.
        strong: ``(row, column)`` of the cells to stress.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    strong: frozenset[tuple[int, int]] = frozenset()

    def __post_init__(self) -> None:
        for at, row in enumerate(self.rows):
            if len(row) != len(self.headers):
                raise UsageError(
                    f"Row {at} of the table has {len(row)} cells, but there are {len(self.headers)} headers. "
                    "Give every row one cell for each header."
                )

    @property
    def numeric(self) -> tuple[bool, ...]:
        """For each column whether it holds numbers only (or marks for a missing one), and so is aligned right."""
        return tuple(all(_is_number(row[at]) for row in self.rows) for at in range(len(self.headers)))


def _is_number(cell: str) -> bool:
    return cell in (MISSING, NOT_REACHED) or _NUMBER.fullmatch(cell) is not None


@dataclass(frozen=True)
class Picture:
    """A picture with its description.

    Attributes:
        image: the bytes of a PNG file, or a matplotlib figure (made without pyplot), which becomes inline SVG.
        alt: says in words what is to be seen, for those who cannot see it.
        caption: printed below.
        wide: takes the full width; otherwise two pictures in a row stand side by side where there is room.
    """

    image: bytes | Figure
    alt: str
    caption: str = ""
    wide: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.image, bytes) and not self.image.startswith(PNG_SIGNATURE):
            raise UsageError(
                f"A picture is a matplotlib Figure or the bytes of a PNG file, but these {len(self.image)} bytes do "
                "not begin as a PNG file does. Convert the image to PNG."
            )
        if not self.alt.strip():
            raise UsageError("A picture needs an alt text: say in a sentence what is to be seen.")


#: What a section may hold.
Block = Text | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading, a text (may be empty) and blocks."""

    heading: str
    text: str = ""
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        title: of the page.
        summary: what was found, in one or two sentences.
        sections: in order.
        provenance: how the numbers came to be (command, commit, machine, seeds, episodes, ...), shown at the end.
    """

    title: str
    summary: str
    sections: tuple[Section, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)

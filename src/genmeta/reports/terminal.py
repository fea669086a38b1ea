"""The same tables in a terminal."""

from __future__ import annotations

import rich.table
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from genmeta.reports.blocks import MISSING, NOT_REACHED, Table

#: Letters of a row's name that a narrow terminal is not to break.
LONGEST_WORD = 20
#: Columns between two columns of a table, and between those of one that would not fit otherwise.
_GAP, _NARROW_GAP = 3, 2


def print_table(console: Console, table: Table) -> None:
    """Shows a table, every letter of it; names are taken as they are, not as markup."""
    gaps = len(table.headers) - 1
    widths = [max(map(cell_len, column)) for column in _columns(table)]
    roomy = sum(widths) + _GAP * gaps + 2 <= console.width
    shown = rich.table.Table(
        box=box.SIMPLE_HEAD,
        caption=Text(table.caption) if table.caption else None,
        caption_justify="left",
        pad_edge=False,
        show_edge=roomy,
        padding=(0, _GAP // 2) if roomy else (0, 0, 0, _NARROW_GAP - 1),
    )
    narrow = None if roomy else _narrow(table, widths, console.width - _NARROW_GAP * gaps)
    for at, (header, number) in enumerate(zip(table.headers, table.numeric, strict=True)):
        justify = "right" if number else "left"
        shown.add_column(Text(header), justify=justify, overflow="fold", width=narrow and narrow[at])  # type: ignore[arg-type]
    for y, row in enumerate(table.rows):
        shown.add_row(*(Text(cell, style=_style(table, y, x)) for x, cell in enumerate(row)))
    console.print(shown)


def _columns(table: Table) -> list[tuple[str, ...]]:
    return list(zip(table.headers, *table.rows, strict=True))


def _narrow(table: Table, widths: list[int], room: int) -> list[int] | None:
    """Widths of columns that fit into ``room``; ``None`` where any word has to be broken.

    Rather than a word of a name, a word of a header is broken; before that, numbers at ``±``; before that, headers and
    names are broken between their words.
    """
    cells = [column[1:] for column in _columns(table)]
    words = [_word(number, *column) for number, column in zip(table.numeric, cells, strict=True)]
    headers = [max(w, _word(True, header)) for w, header in zip(words, table.headers, strict=True)]
    whole = [
        max(w, *map(cell_len, column)) if number and column else w
        for w, number, column in zip(headers, table.numeric, cells, strict=True)
    ]
    choices = [words, headers, whole, widths]
    fitting = [choice for choice in choices if sum(choice) <= room]
    if not fitting:
        return None
    narrow, wanted = list(fitting[-1]), choices[min(len(fitting), 3)]
    missing = [max(0, w - n) for w, n in zip(wanted, narrow, strict=True)]
    columns = range(len(narrow))
    # what is left goes to names; before that, to columns that lack least, so that few have broken words
    for at in columns if wanted is widths else sorted(columns, key=missing.__getitem__):
        narrow[at] += min(missing[at], room - sum(narrow))
    return narrow


def _word(number: bool, *texts: str) -> int:
    """Letters of the longest word, ``±`` being one with the number before it; that of a name may be endless."""
    longest = max((cell_len(word) for text in texts for word in text.replace(" ±", "_±").split()), default=0)
    return longest if number else min(longest, LONGEST_WORD)


def _style(table: Table, y: int, x: int) -> str:
    if (y, x) in table.strong:
        return "bold"
    return "dim" if table.rows[y][x] in (MISSING, NOT_REACHED) else ""

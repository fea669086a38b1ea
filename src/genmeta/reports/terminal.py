"""The same tables in a terminal."""

from __future__ import annotations

import rich.table
from rich import box
from rich.console import Console
from rich.text import Text

from genmeta.reports.blocks import MISSING, NOT_REACHED, Table

#: Letters of a row's name that a narrow terminal is not to break.
LONGEST_WORD = 20


def print_table(console: Console, table: Table) -> None:
    """Shows a table; names are taken as they are, not as markup."""
    shown = rich.table.Table(
        box=box.SIMPLE_HEAD,
        caption=Text(table.caption) if table.caption else None,
        caption_justify="left",
        pad_edge=False,
    )
    # a name is broken between its words, where these are not endless; numbers can be read over two lines
    longest = max((len(word) for row in table.rows for word in row[0].split()), default=0)
    for at, (header, number) in enumerate(zip(table.headers, table.numeric, strict=True)):
        justify = "right" if number else "left"
        least = min(longest, LONGEST_WORD) if at == 0 else None
        shown.add_column(Text(header), justify=justify, overflow="fold", min_width=least)  # type: ignore[arg-type]
    for y, row in enumerate(table.rows):
        shown.add_row(*(Text(cell, style=_style(table, y, x)) for x, cell in enumerate(row)))
    console.print(shown)


def _style(table: Table, y: int, x: int) -> str:
    if (y, x) in table.strong:
        return "bold"
    return "dim" if table.rows[y][x] in (MISSING, NOT_REACHED) else ""

"""A report as one HTML file that needs nothing else: no network, no scripts, no files beside it."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from genmeta.core.files import write_text
from genmeta.reports.blocks import MISSING, NOT_REACHED, Block, Picture, Report, Section, Table, Text
from genmeta.reports.style import CSS
from genmeta.reports.svg import figure_svg

# the browser itself refuses whatever is not in the file
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(path: str | Path, report: Report) -> None:
    """Writes the page atomically: an earlier file stays whole until the new one is complete.

    Args:
        path: of the HTML file; missing directories are made.
        report: what to write.

    Raises:
        RunError: the place cannot be written.
    """
    write_text(path, render(report))


def render(report: Report) -> str:
    """The page as text."""
    ids = itertools.count(1)
    sections = "\n".join(_section(section, at, ids) for at, section in enumerate(report.sections, 1))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(report.title)}</title>
<style>
{CSS}</style>
</head>
<body>
<header>
<h1>{escape(report.title)}</h1>
<p class="summary">{escape(report.summary)}</p>
{_contents(report)}</header>
<main>
{sections}
</main>
{_provenance(report.provenance)}</body>
</html>
"""


def _contents(report: Report) -> str:
    if len(report.sections) < 3:
        return ""
    links = "".join(
        f'<li><a href="#section-{at}">{escape(section.heading)}</a></li>'
        for at, section in enumerate(report.sections, 1)
    )
    return f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n'


def _section(section: Section, at: int, ids: Iterator[int]) -> str:
    parts = [f'<section id="section-{at}">', f"<h2>{escape(section.heading)}</h2>", _paragraphs(section.text)]
    # neighbouring pictures share a grid
    for pictures, group in itertools.groupby(section.blocks, lambda block: isinstance(block, Picture)):
        blocks = "\n".join(_block(block, ids) for block in group)
        parts.append(f'<div class="pictures">\n{blocks}\n</div>' if pictures else blocks)
    return "\n".join(part for part in [*parts, "</section>"] if part)


def _block(block: Block, ids: Iterator[int]) -> str:
    if isinstance(block, Text):
        return _paragraphs(block.text)
    if isinstance(block, Table):
        return _table(block, f"table-{next(ids)}")
    return _picture(block, f"picture-{next(ids)}")


def _paragraphs(text: str) -> str:
    return "\n".join(f"<p>{escape(part.strip())}</p>" for part in text.split("\n\n") if part.strip())


def _picture(picture: Picture, name: str) -> str:
    if isinstance(picture.image, bytes):
        data = base64.b64encode(picture.image).decode("ascii")
        image = f'<img src="data:image/png;base64,{data}" alt="{escape(picture.alt)}">'
    else:
        image = figure_svg(picture.image, picture.alt, name)
    caption = f"\n<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    kind = ' class="wide"' if picture.wide else ""
    # what may scroll sideways can be reached with the keyboard
    return f'<figure{kind}><div class="frame" tabindex="0">{image}</div>{caption}</figure>'


def _table(table: Table, name: str) -> str:
    numeric = [' class="number"' if number else "" for number in table.numeric]
    head = "".join(
        f'<th scope="col"{kind}>{escape(text)}</th>' for text, kind in zip(table.headers, numeric, strict=True)
    )
    rows = "\n".join(
        "<tr>" + "".join(_cell(table, y, x, text) for x, text in enumerate(row)) + "</tr>"
        for y, row in enumerate(table.rows)
    )
    caption = f'\n<p class="caption" id="{name}">{escape(table.caption)}</p>' if table.caption else ""
    said = f' aria-describedby="{name}"' if table.caption else ""
    return (
        f'<div class="table"><div class="frame" tabindex="0"><table{said}>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>{caption}</div>"
    )


def _cell(table: Table, y: int, x: int, text: str) -> str:
    classes = ["number"] * table.numeric[x] + ["none"] * (text in (MISSING, NOT_REACHED))
    kind = f' class="{" ".join(classes)}"' if classes else ""
    if x == 0 and not table.numeric[0]:
        return f'<th scope="row">{escape(text).replace("+", "+<wbr>")}</th>'  # names of teams are long
    content = f"<strong>{escape(text)}</strong>" if (y, x) in table.strong else escape(text)
    return f"<td{kind}>{content}</td>"


def _provenance(provenance: Mapping[str, str]) -> str:
    if not provenance:
        return ""
    rows = "\n".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in provenance.items())
    return (
        '<footer>\n<h2>Where these numbers come from</h2>\n<div class="table"><table><tbody>\n'
        f"{rows}\n</tbody></table></div>\n</footer>\n"
    )

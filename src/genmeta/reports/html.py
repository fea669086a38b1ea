"""A report as one html file that needs no network: text, tables, pictures."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from genmeta.core.files import write_text


@dataclass(frozen=True)
class Table:
    """Rows of text under headers; columns after the first are numbers and set flush right."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A matplotlib figure, with the text that stands for it where it cannot be seen."""

    figure: Figure
    alt: str
    caption: str = ""

    def png(self) -> bytes:
        """The figure as a PNG file."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=130, bbox_inches="tight", facecolor="white")
        return buffer.getvalue()


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph, and what is shown under them."""

    heading: str
    text: str
    blocks: tuple[Table | Picture, ...] = ()


@dataclass(frozen=True)
class Report:
    """What :func:`write_report` writes. ``provenance`` says how to get the same numbers again."""

    title: str
    summary: str
    sections: tuple[Section, ...]
    provenance: Mapping[str, str] = field(default_factory=dict)


_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --dim: #62676e; --line: #dde1e6; --back: #ffffff; --head: #f4f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --dim: #9aa1a9; --line: #343a41; --back: #16181b; --head: #1f2328; }
}
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--back); margin: 0 auto;
  max-width: 62rem; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .3rem; padding-top: .8rem; border-top: 1px solid var(--line); }
p { margin: .4rem 0 1rem; max-width: 46rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
th { background: var(--head); font-weight: 600; }
caption, figcaption { caption-side: bottom; text-align: left; color: var(--dim); font-size: .85rem;
  padding-top: .4rem; }
figure { margin: 1.2rem 0; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .85rem; color: var(--dim); }
dd { margin: 0; overflow-wrap: anywhere; }
"""


def write_report(path: str | Path, report: Report) -> None:
    """Writes the report, whole or not at all."""
    write_text(path, to_html(report))


def to_html(report: Report) -> str:
    """The report as html; every text is escaped."""
    body = [f"<h1>{_safe(report.title)}</h1>", f"<p>{_safe(report.summary)}</p>"]
    for section in report.sections:
        body += [f"<h2>{_safe(section.heading)}</h2>", f"<p>{_safe(section.text)}</p>"]
        body += [_table(b) if isinstance(b, Table) else _picture(b) for b in section.blocks]
    facts = "".join(f"<dt>{_safe(name)}</dt><dd>{_safe(value)}</dd>" for name, value in report.provenance.items())
    body.append(f"<h2>How this was made</h2><dl>{facts}</dl>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_safe(report.title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _safe(text: str) -> str:
    return html.escape(text)


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_safe(header)}</th>' for header in table.headers)
    rows = "".join("<tr>" + "".join(f"<td>{_safe(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    caption = f"<caption>{_safe(table.caption)}</caption>" if table.caption else ""
    return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png()).decode("ascii")
    caption = f"<figcaption>{_safe(picture.caption)}</figcaption>" if picture.caption else ""
    return f'<figure><img alt="{_safe(picture.alt)}" src="data:image/png;base64,{data}">{caption}</figure>'

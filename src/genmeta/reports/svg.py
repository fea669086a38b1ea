"""Figures drawn without pyplot, and what becomes of them: SVG that lives inside a page."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from genmeta.reports.colours import BY_COLOUR, INK, LINE, MUTED

_SETTINGS: Any = {
    "font.family": ["DejaVu Sans"],  # to measure with; the page sets its own
    "font.size": 9.0,
    "text.parse_math": False,  # a class may be called "$"
    "text.usetex": False,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "svg.fonttype": "none",
    "svg.hashsalt": "genmeta",
}


# images of more columns are not shown dot by dot
_SMOOTH = 500


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """The settings that figures are made and rendered under; leaves the user's own as they were."""
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # the browser finds a font where DejaVu has no such character
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, transparent."""
    return Figure(figsize=(width, height), facecolor="none")


def plot_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches, with a light grid and no box."""
    figure_width, figure_height = figure.get_size_inches()
    place = (left / figure_width, bottom / figure_height, width / figure_width, height / figure_height)
    axes = figure.add_axes(place, facecolor="none")
    axes.grid(True, color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return axes


def figure_svg(figure: Figure, alt: str, prefix: str) -> str:
    """An ``<svg>`` element for use inside HTML.

    Identifiers get the prefix, so that several figures live in one page; colours of the palette become CSS variables
    if the figure is transparent; nothing in it points outside.

    Args:
        figure: any figure; an opaque one keeps its colours.
        alt: what is to be seen.
        prefix: of identifiers.
    """
    with drawing(), io.StringIO() as out:
        figure.savefig(out, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
        text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style type=\"text/css\">.*?</style>", "", text, flags=re.DOTALL)
    opening, rest = text.split(">", 1)
    box = re.search(r'viewBox="([\d. ]+)"', opening)
    view = box.group(1) if box else "0 0 1 1"
    width = float(view.split()[2]) * 96 / 72
    themed = to_rgba(figure.get_facecolor())[3] == 0
    rest = re.sub(r"<[^>]+>", lambda tag: _local(tag.group(), prefix, themed), rest)
    return f'<svg viewBox="{view}" style="--width:{width:.0f}px" role="img" aria-label="{escape(alt)}">{rest.rstrip()}'


def _local(tag: str, prefix: str, themed: bool) -> str:
    tag = tag.replace("xlink:href=", "href=")
    tag = re.sub(r'( id="| href="#|url\(#)', rf"\g<1>{prefix}-", tag)
    wide = re.match(r'<image [^>]*width="(\d+)', tag)
    if wide and int(wide.group(1)) > _SMOOTH:  # the browser averages what is finer than its dots
        tag = re.sub(r"image-rendering: ?[a-z-]+;?", "", tag)
    if themed:
        tag = re.sub(r"#[0-9a-f]{6}\b", lambda c: _variable(c.group()), tag)
    return tag


def _variable(colour: str) -> str:
    return f"var({BY_COLOUR[colour]})" if colour in BY_COLOUR else colour


def leaves(names: Sequence[str]) -> list[str]:
    """What comes after the last slash of each name, if that tells them all apart; else the names."""
    short = [name.rstrip("/").rsplit("/", 1)[-1] for name in names]
    return short if len(set(short)) == len(set(names)) else list(names)


def two_lines(name: str, length: int) -> str:
    """A name that is too long is cut in two, after a space, a slash, an underscore or a hyphen near its middle."""
    name = " ".join(name.split())
    if len(name) <= length:
        return name
    breaks = [at + 1 for at, letter in enumerate(name[:-1]) if letter in "/ _-"]
    at = min(breaks, key=lambda place: max(place, len(name) - place), default=len(name) // 2)
    return f"{shorten(name[:at], length)}\n{shorten(name[at:], length)}"


def shorten(name: str, length: int) -> str:
    """At most ``length`` characters of a name, on one line, its beginning and its end."""
    name = " ".join(name.split())
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[len(name) - tail :]}"

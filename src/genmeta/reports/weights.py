"""Generated weights as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genmeta.core.errors import UsageError
from genmeta.core.types import ROWS, Weights
from genmeta.reports.blocks import Picture
from genmeta.reports.colours import LINE, MUTED
from genmeta.reports.panels import Panel, panels_of
from genmeta.reports.svg import drawing, leaves, new_figure, shorten

_WIDTH, _LABEL, _HEAD, _TITLE, _KEY = 8.2, 1.45, 0.3, 0.28, 0.5  # inches


@drawing()
def weights_picture(weights: Weights, other: Weights | None, class_names: Sequence[str]) -> Picture:
    """The written weights of one task, and what adaptation made of them.

    From top to bottom: the class rows (a line for each class, in the order given), FiLM scales less 1 and shifts (a
    line for each layer), and the kernels of the first convolution as tiles. Colours are centred at 0; the start and the
    adapted weights share a range, the difference has its own. Kernels of RGB images are shown in colour, grey being 0.

    Args:
        weights: the generated start, name -> ``[1 ...]``.
        other: the adapted weights, or ``None``.
        class_names: of the ``K`` classes.

    Raises:
        UsageError: more than one task, no class rows, or names and shapes that do not fit together.
    """
    _check(weights, other, class_names)
    panels = panels_of(weights, other, [shorten(name, 20) for name in leaves(class_names)])
    height = sum(_height(panel) for panel in panels) + _KEY
    figure = new_figure(_WIDTH, height)
    top = 0.0
    for panel in panels:
        _draw(figure, panel, top)
        top += _height(panel)
    _key(figure)
    versions = "start" if other is None else "start, adapted weights and their difference"
    shown = ", ".join(dict.fromkeys(panel.kind for panel in panels))
    alt = f"Generated weights of one task with {len(class_names)} classes ({', '.join(class_names)}): "
    alt += f"{shown}; {versions}."
    caption = f"Weights of one task ({versions}). Each panel says how large a weight its strongest colour stands for."
    return Picture(figure, alt, caption, wide=True)


def _check(weights: Weights, other: Weights | None, class_names: Sequence[str]) -> None:
    if ROWS not in weights:
        raise UsageError(f"These weights have no class rows under {ROWS!r}; they have {sorted(weights)}.")
    if list(weights[ROWS].shape[:2]) != [1, len(class_names)] or weights[ROWS].ndim != 3:
        raise UsageError(
            f"A picture shows one task: class rows of shape [1 {len(class_names)} R] for {len(class_names)} class "
            f"names, got {list(weights[ROWS].shape)}. Take one of a batch with tensor[:1]."
        )
    for name, tensor in weights.items():
        if other is not None and (name not in other or other[name].shape != tensor.shape):
            found = list(other[name].shape) if name in other else "nothing"
            raise UsageError(
                f"The adapted weights should hold {name!r} of shape {list(tensor.shape)}, but hold {found}."
            )


def _height(panel: Panel) -> float:
    if panel.tiles:
        return _HEAD + _tile_size(panel)[1] + _TITLE + 0.2
    return _HEAD + len(panel.images) * (_strip(panel) + _TITLE) + 0.2


def _strip(panel: Panel) -> float:
    rows = len(panel.labels)
    return rows * (0.2 if rows <= 10 else 0.16)


def _tile_size(panel: Panel) -> tuple[float, float]:
    rows, columns = panel.images[0].shape[:2]
    width = min((_WIDTH - _LABEL - 0.4) / 3, 2.0)
    return width, width * rows / columns


def _draw(figure: Figure, panel: Panel, top: float) -> None:
    y = 1 - (top + 0.15) / figure.get_size_inches()[1]
    figure.text(0, y, panel.kind, fontsize=10, fontweight="bold", va="center")
    for at, (image, version, limit) in enumerate(zip(panel.images, panel.versions, panel.limits, strict=True)):
        if panel.tiles:
            width, height = _tile_size(panel)
            left, y = _LABEL + at * (width + 0.2), top + _HEAD + _TITLE
        else:
            width, height, left = _WIDTH - _LABEL - 0.02, _strip(panel), _LABEL
            y = top + _HEAD + _TITLE + at * (height + _TITLE)
        axes = _place(figure, left, y, width, height)
        axes.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="none")
        axes.set_title(version, loc="left", fontsize=9, pad=5)
        axes.set_title(f"±{limit:.2g}", loc="right", fontsize=8, pad=5, color=MUTED)
        axes.set_xticks([])
        axes.set_yticks(range(len(panel.labels)) if not panel.tiles else [], panel.labels if not panel.tiles else [])


def _place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    figure_width, figure_height = figure.get_size_inches()
    bottom = figure_height - top - height
    box = (left / figure_width, bottom / figure_height, width / figure_width, height / figure_height)
    axes = figure.add_axes(box, facecolor="none")
    axes.tick_params(length=0, pad=5, labelsize=8)
    for spine in axes.spines.values():
        spine.set_edgecolor(LINE)
    return axes


def _key(figure: Figure) -> None:
    axes = _place(figure, _LABEL, figure.get_size_inches()[1] - 0.38, 2.2, 0.12)
    axes.imshow(np.linspace(-1, 1, 101)[None], cmap="RdBu_r", aspect="auto", interpolation="none")
    axes.set_xticks([0, 50, 100], ["negative", "0", "positive"])
    axes.set_yticks([])

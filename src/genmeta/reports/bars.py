"""Bars in groups, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from genmeta.engine.scores import Interval
from genmeta.reports.colours import series
from genmeta.reports.svg import new_figure, plot_axes, shorten


def grouped_bars(
    groups: Sequence[str], rows: Mapping[str, Mapping[str, Interval]], *, ylabel: str, columns: int
) -> Figure:
    """A group of bars for each name in ``groups``, a bar in it for each row; to be called within ``drawing()``.

    Args:
        groups: along the axis.
        rows: name -> group -> height; a group that a row lacks has no bar.
        ylabel: of the heights.
        columns: of the legend.
    """
    figure = new_figure(7.2, 3.8)
    axes = plot_axes(figure, 1.2, 1.2, 5.9, 2.2)
    width = 0.8 / len(rows)
    for at, (name, heights) in enumerate(rows.items()):
        values = [heights.get(group, Interval(0.0, 0.0)) for group in groups]
        places = np.arange(len(groups)) + at * width - 0.4 + width / 2
        errors = np.nan_to_num(np.array([value.half_width for value in values]))
        axes.bar(places, [v.mean for v in values], width, yerr=errors, color=series(at)[0], label=shorten(name, 36))
    axes.set_xticks(range(len(groups)), [shorten(g, 30) for g in groups], rotation=25, ha="right", fontsize=7)
    axes.set_ylabel(ylabel)
    axes.set_ylim(0, None if any(v.mean > 0 for heights in rows.values() for v in heights.values()) else 1)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=columns, frameon=False, fontsize=8)
    return figure

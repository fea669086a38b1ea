"""Accuracy against adaptation steps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, PercentFormatter

from genmeta.engine.scores import Evaluation, Interval
from genmeta.reports.blocks import Picture
from genmeta.reports.colours import series
from genmeta.reports.svg import drawing, new_figure, plot_axes, shorten
from genmeta.reports.tables import check, count, score_name

_WIDTH = 5.2  # inches; small enough that its text can be read on a phone


@drawing()
def accuracy_curves(evaluations: Mapping[str, Evaluation], title: str = "Accuracy while adapting") -> Picture:
    """Mean accuracy in percent against adaptation steps, with the 95 % confidence band of each method.

    Steps stand at ``log(1 + step)``, so that 0, 1, 3 and 50 can all be told apart.

    Args:
        evaluations: method -> its scores.
        title: above the plot.

    Raises:
        UsageError: no methods, or one without scores.
    """
    check(evaluations)
    height = max(3.0, 0.19 * len(evaluations))
    margin = 0.35 + 0.078 * max(len(shorten(name, 20)) for name in evaluations)
    figure = new_figure(_WIDTH, height + 0.9)
    axes = plot_axes(figure, 0.5, 0.5, _WIDTH - 0.5 - margin, height)
    figure.text(0.5 / _WIDTH, 1 - 0.17 / (height + 0.9), title, fontsize=10, fontweight="bold", va="center")
    axes.set_xscale("function", functions=(np.log1p, np.expm1))
    steps = sorted({step for evaluation in evaluations.values() for step in evaluation})
    right = max(steps[-1], 1)
    ends = [_curve(axes, at, evaluation, right) for at, evaluation in enumerate(evaluations.values())]
    low, high = axes.get_ylim()
    room = max(high - low, 4.0) * 0.05
    axes.set_ylim(max(0.0, low - room), min(101.0, high + room))
    axes.set_xlim(np.expm1(-0.04 * np.log1p(right)), np.expm1(1.04 * np.log1p(right)))
    ticks = _readable(steps, right)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([str(step) for step in ticks]))
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=None, symbol=" %"))
    axes.set_xlabel("adaptation steps")
    _labels(axes, [shorten(name, 20) for name in evaluations], ends, 0.185 / height)
    said = "; ".join(f"{name} {_said(evaluation)}" for name, evaluation in evaluations.items())
    caption = (
        f"{score_name(evaluations)}, mean over episodes; the band is its 95 % confidence interval. "
        "Dotted: not scored beyond this step."
    )
    return Picture(figure, f"{title}. {score_name(evaluations)} against adaptation steps: {said}.", caption)


def _curve(axes: Axes, at: int, evaluation: Evaluation, right: float) -> float:
    colour, marker, line = series(at)
    steps = sorted(evaluation)
    intervals = [Interval.of(100 * evaluation[step].accuracy) for step in steps]
    mean = np.array([interval.mean for interval in intervals])
    half = np.nan_to_num(np.array([interval.half_width for interval in intervals]))
    if len(steps) > 1:
        axes.fill_between(steps, mean - half, mean + half, color=colour, alpha=0.18, linewidth=0)
    else:
        axes.errorbar(steps, mean, half, color=colour, linewidth=1.2, capsize=2.5, fmt="none")
    axes.plot(steps, mean, color=colour, linestyle=line, linewidth=1.8, marker=marker, markersize=4.5, clip_on=False)
    if steps[-1] < right:
        axes.plot([steps[-1], right], [mean[-1]] * 2, color=colour, linestyle=":", linewidth=1.2)
    return float(mean[-1])


def _readable(steps: list[int], right: float) -> list[int]:
    """The steps that leave room for their numbers, the first and the last always among them."""
    gap = 0.07 * np.log1p(right)
    kept = [steps[0]]
    for step in steps[1:]:
        last = step == steps[-1]
        while last and len(kept) > 1 and np.log1p(step) - np.log1p(kept[-1]) < gap:
            kept.pop()
        if last or np.log1p(step) - np.log1p(kept[-1]) >= gap:
            kept.append(step)
    return kept


def _labels(axes: Axes, names: list[str], ends: list[float], gap: float) -> None:
    """Writes each name beside the end of its curve, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    order = np.argsort(ends, kind="stable")
    wanted = np.array([(ends[at] - low) / (high - low) for at in order])
    places = wanted.copy()
    for _ in range(200):
        for i in range(1, len(places)):
            if (lack := gap - (places[i] - places[i - 1])) > 1e-6:
                places[i - 1 : i + 1] += (-lack / 2, lack / 2)
        places += max(0.0, -places[0]) - max(0.0, places[-1] - 1.0)
    for at, place, true in zip(order, places, wanted, strict=True):
        colour = series(int(at))[0]
        axes.plot([1.01, 1.04], [true, place], transform=axes.transAxes, color=colour, linewidth=0.9, clip_on=False)
        axes.text(1.055, place, names[at], transform=axes.transAxes, color=colour, va="center", fontweight="bold")


def _said(evaluation: Evaluation) -> str:
    return ", ".join(f"{100 * evaluation[s].accuracy.mean():.1f} % after {count(s)}" for s in sorted(evaluation))

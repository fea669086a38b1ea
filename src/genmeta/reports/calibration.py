"""Is a method as often right as it says it is?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from genmeta.core.errors import UsageError
from genmeta.engine.calibration import BINS
from genmeta.engine.scores import Evaluation, StepScores
from genmeta.reports.blocks import Picture
from genmeta.reports.colours import INK, MUTED, series
from genmeta.reports.svg import drawing, new_figure, plot_axes, shorten
from genmeta.reports.tables import check, count

_WIDTH = 5.2  # inches; small enough that its text can be read on a phone


def reliability(scores: StepScores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, accuracy and share of the predictions of each of 15 equal bins that is not empty."""
    bins = np.minimum((scores.confidence * BINS).astype(int), BINS - 1)
    total = np.bincount(bins, minlength=BINS)
    full = total > 0
    confidence = np.bincount(bins, weights=scores.confidence.astype(float), minlength=BINS)[full] / total[full]
    accuracy = np.bincount(bins, weights=scores.correct.astype(float), minlength=BINS)[full] / total[full]
    return confidence, accuracy, total[full] / total.sum()


@drawing()
def calibration_curves(evaluations: Mapping[str, Evaluation], step_of: Mapping[str, int] | None = None) -> Picture:
    """A reliability diagram: how often predictions of a given confidence are right, in 15 equal bins.

    Marks are larger where a bin holds more predictions. Guo et al., "On calibration of modern neural networks", 2017
    (https://arxiv.org/abs/1706.04599).

    Args:
        evaluations: method -> its scores.
        step_of: method -> after how many steps; by default after the last that was scored.

    Raises:
        UsageError: no methods, or one that has no step in ``step_of`` or was not scored there.
    """
    check(evaluations)
    rows = len(evaluations)
    height = 3.4 + 0.2 * rows
    figure = new_figure(_WIDTH, height)
    axes = plot_axes(figure, 0.75, 0.6 + 0.2 * rows, _WIDTH - 1.05, 2.45)
    figure.text(
        0.75 / _WIDTH, 1 - 0.17 / height, "Confidence and accuracy", fontsize=10, fontweight="bold", va="center"
    )
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
    said = []
    for at, (name, evaluation) in enumerate(evaluations.items()):
        step = max(evaluation) if step_of is None else step_of.get(name, -1)
        if step not in evaluation:
            raise UsageError(f"step_of needs a step for {name!r} at which it was scored: one of {sorted(evaluation)}.")
        scores, (colour, marker, line) = evaluation[step], series(at)
        confidence, accuracy, share = reliability(scores)
        axes.plot(100 * confidence, 100 * accuracy, color=colour, linestyle=line, linewidth=1.5)
        axes.scatter(100 * confidence, 100 * accuracy, 10 + 90 * share, color=colour, marker=marker, clip_on=False)
        y = (0.16 + 0.2 * (rows - 1 - at)) / height
        label = f"{shorten(name, 26)}, {count(step)}: ECE {100 * scores.ece:.1f} %"
        figure.add_artist(Line2D([0.8 / _WIDTH], [y], color=colour, marker=marker, markersize=5))
        figure.text(0.94 / _WIDTH, y, label, color=INK, va="center")
        said.append(f"{name} has an expected calibration error of {100 * scores.ece:.1f} % after {count(step)}")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(decimals=0, symbol=" %"))
    caption = (
        "Above the dashed line a method is too modest, below it too sure of itself. Larger marks: more predictions."
    )
    return Picture(figure, f"Reliability diagram. {'; '.join(said)}.", caption)

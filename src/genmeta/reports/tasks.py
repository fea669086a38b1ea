"""A picture of one task: what the generator was shown, and what it then said of the queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from genmeta.core.types import Examples
from genmeta.reports.html import Picture

#: Query images of each class that are shown, and support images.
SHOWN = 5


def task_picture(support: Examples, query: Examples, probabilities: Tensor, class_names: Sequence[str]) -> Picture:
    """A row per class: its support images, then queries of that class with what was predicted.

    Args:
        support: of one task, ``[1 N C H W]``.
        query: of the same task.
        probabilities: ``[N K]`` of the query images.
        class_names: ``K`` names.
    """
    ways = len(class_names)
    shown_support = [np.flatnonzero(support.targets[0].numpy() == k)[:SHOWN] for k in range(ways)]
    shown_query = [np.flatnonzero(query.targets[0].numpy() == k)[:SHOWN] for k in range(ways)]
    left = max(len(s) for s in shown_support)
    right = max(len(q) for q in shown_query)
    figure = Figure(figsize=(1.15 * (left + right) + 1.2, 1.25 * ways + 0.5))
    grid = figure.add_gridspec(
        ways, left + right + 1, width_ratios=[*[1] * left, 0.35, *[1] * right], wspace=0.15, hspace=0.5
    )
    for k in range(ways):
        for column, i in enumerate(shown_support[k]):
            axes = figure.add_subplot(grid[k, column])
            _image(axes, support.images[0, i])
            axes.set_title(_short(class_names[k]) if column == 0 else "", fontsize=7)
        for column, i in enumerate(shown_query[k]):
            axes = figure.add_subplot(grid[k, left + 1 + column])
            _image(axes, query.images[0, i])
            guess = int(probabilities[i].argmax())
            good = guess == k
            mark = "✓" if good else "✗ " + _short(class_names[guess])
            axes.set_title(f"{mark} {100 * float(probabilities[i, guess]):.0f} %", fontsize=7)
            for spine in axes.spines.values():
                spine.set(visible=True, color="#009E73" if good else "#D55E00", linewidth=2)
    figure.text(0.13, 0.995, "support", ha="left", fontsize=9)
    figure.text(0.89, 0.995, "queries and predictions", ha="right", fontsize=9)
    right_answers = float((probabilities.argmax(1) == query.targets[0]).float().mean())
    caption = (
        f"Left: all that was known of each class. Right: queries, {100 * right_answers:.0f} % of all of them right."
    )
    return Picture(figure, "Support and query images of one task with predictions", caption)


def _image(axes: object, image: Tensor) -> None:
    pixels = image.permute(1, 2, 0).numpy()
    grey = pixels.shape[2] == 1
    axes.imshow(pixels[..., 0] if grey else pixels, cmap="gray_r" if grey else None, vmin=0, vmax=1)  # type: ignore[attr-defined]
    axes.set(xticks=[], yticks=[])  # type: ignore[attr-defined]
    for spine in axes.spines.values():  # type: ignore[attr-defined]
        spine.set_visible(False)


def _short(name: str, most: int = 18) -> str:
    name = name.rsplit("/", 1)[-1]
    return name if len(name) <= most else name[: most - 1] + "…"

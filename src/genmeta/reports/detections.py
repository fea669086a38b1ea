"""One detection task as a picture: what was shown, what is there, what was found, and how hot each place was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from genmeta.core.errors import UsageError
from genmeta.core.types import Boxes, Examples
from genmeta.reports.blocks import Picture
from genmeta.reports.colours import INK, MUTED, series
from genmeta.reports.svg import drawing, leaves, new_figure, shorten
from genmeta.vision.peaks import Detections

_WIDTH, _HEAD, _GAP = 8.6, 0.3, 0.08  # inches
_PIXELS = 160  # larger images are shown at this size


@drawing()
def detection_picture(
    support: Examples,
    query: Examples,
    found: Detections,
    heat: Tensor,
    class_names: Sequence[str],
    *,
    shots: int = 5,
    queries: int = 3,
    least: float = 0.3,
) -> Picture:
    """Support images with their boxes; then for each query image the truth, what was found, and the heat maps.

    Args:
        support: of one task, images ``[1 N C H W]``, grey or RGB, with :class:`~genmeta.core.types.Boxes`.
        query: of the same task.
        found: of the query images, ``[N D]``, boxes as shares of the image, class numbers from 1.
        heat: ``[N K h w]`` of each class in the query images, in [0, 1].
        class_names: of the ``K`` classes, the background left out.
        shots: support images to show, at most.
        queries: query images to show, at most.
        least: score from which a box is drawn.

    Raises:
        UsageError: more than one task, or shapes that do not fit together.
    """
    _check(support, query, found, heat, class_names)
    shown, asked = _pixels(support.images[0]), _pixels(query.images[0])
    names = leaves(class_names)
    n_support, n_query, columns = min(shots, len(shown)), min(queries, len(asked)), 2 + len(names)
    side = min(1.9, (_WIDTH - _GAP * (columns - 1)) / max(columns, n_support))
    step = side + _GAP
    width, height = _WIDTH, 2 * _HEAD + 0.15 + step * (1 + n_query)
    figure = new_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1), facecolor="none", xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    axes.text(0, 0.13, "support, with the boxes that were given", color=MUTED, va="center", fontweight="bold")
    for n in range(n_support):
        _image(axes, shown[n], n * step, _HEAD, side)
        _truth(axes, support, n, names, n * step, _HEAD, side)
    top = _HEAD + step + 0.1
    for at, title in enumerate(["query: truth", "found", *[f"heat: {shorten(name, 14)}" for name in names]]):
        axes.text(at * step, top + 0.13, title, color=MUTED, va="center", fontweight="bold", fontsize=8)
    drawn = 0
    for n in range(n_query):
        y = top + _HEAD + n * step
        _image(axes, asked[n], 0, y, side)
        _truth(axes, query, n, names, 0, y, side)
        _image(axes, asked[n], step, y, side)
        for box, label, score in zip(found.boxes[n], found.labels[n], found.scores[n], strict=True):
            if score >= least:
                drawn += 1
                said = f"{shorten(names[int(label) - 1], 12)} {100 * float(score):.0f} %"
                _box(axes, box.tolist(), said, int(label) - 1, step, y, side)
        for k in range(len(names)):
            x = (2 + k) * step
            extent = (x, x + side, y + side, y)
            hot = heat[n, k].detach().cpu().numpy()
            axes.imshow(hot, extent=extent, cmap="magma", vmin=0, vmax=1, interpolation="none", aspect="auto")
    said = f"{drawn} boxes with a score of {100 * least:.0f} % or more in {n_query} query images"
    alt = f"A detection task of {len(names)} classes ({', '.join(class_names)}). {said}."
    return Picture(figure, alt, f"{said}. Heat maps go from 0 (dark) to 1 (bright).", wide=True)


def _check(support: Examples, query: Examples, found: Detections, heat: Tensor, class_names: Sequence[str]) -> None:
    for part in (support, query):
        if part.images.ndim != 5 or part.images.shape[0] != 1 or not isinstance(part.targets, Boxes):
            raise UsageError(
                f"A picture of detections shows one task: images [1 N C H W] with boxes, got {list(part.images.shape)}."
                " Take one of a batch with task.slice(0, 1)."
            )
    n = query.images.shape[1]
    if found.boxes.ndim != 3 or len(found.boxes) != n or tuple(heat.shape[:2]) != (n, len(class_names)):
        raise UsageError(
            f"Expected detections [{n} D] and heat maps [{n} {len(class_names)} h w] for {n} query images and "
            f"{len(class_names)} class names, got {list(found.boxes.shape)} and {list(heat.shape)}."
        )


def _pixels(images: Tensor) -> np.ndarray:
    images = images.detach().cpu().float()
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        images = (images - low) / max(high - low, 1e-12)
    if max(images.shape[-2:]) > _PIXELS:
        images = F.adaptive_avg_pool2d(images, _PIXELS)
    return images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def _image(axes: Axes, pixels: np.ndarray, x: float, y: float, side: float) -> None:
    axes.imshow(pixels, extent=(x, x + side, y + side, y), interpolation="none", aspect="auto", vmin=0, vmax=1)


def _truth(axes: Axes, examples: Examples, n: int, names: Sequence[str], x: float, y: float, side: float) -> None:
    if isinstance(examples.targets, Boxes):
        for box, label in zip(
            examples.targets.boxes[0, n].tolist(), examples.targets.labels[0, n].tolist(), strict=True
        ):
            if label > 0:
                _box(axes, box, shorten(names[label - 1], 12), label - 1, x, y, side)


def _box(axes: Axes, box: Sequence[float], said: str, k: int, x: float, y: float, side: float) -> None:
    colour, _, line = series(k)
    left, top, right, bottom = (side * value for value in box)
    place = (x + left, y + top)
    axes.add_patch(
        Rectangle(place, right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1.4, linestyle=line)
    )
    background = {"facecolor": "#fffffe", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
    axes.text(x + left, y + top, said, color=INK, fontsize=5.5, va="bottom", ha="left", bbox=background)

"""One task as a picture: what was shown, what was asked, what was answered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from genmeta.core.errors import UsageError
from genmeta.core.types import Examples
from genmeta.reports.blocks import Picture
from genmeta.reports.colours import BAD, GOOD, INK, LINE, MUTED
from genmeta.reports.svg import drawing, leaves, new_figure, two_lines

_WIDTH, _LABEL, _GAP, _HEAD, _TEXT = 8.6, 1.3, 0.3, 0.3, 0.5  # inches
_PIXELS = 128  # larger images are shown at this size


@drawing()
def task_picture(
    support: Examples,
    query: Examples,
    probabilities: Tensor,
    class_names: Sequence[str],
    *,
    shots: int = 5,
    queries: int = 5,
) -> Picture:
    """A row for each class: its support images, then query images of it with the predicted class and its probability.

    Right answers have a whole green border and a tick, wrong ones a dashed red border and a cross.

    Args:
        support: of one task, images ``[1 N C H W]``, grey or RGB.
        query: of the same task.
        probabilities: ``[N K]`` of each query image.
        class_names: of the ``K`` classes.
        shots: support images to show of each class, at most.
        queries: query images to show of each class, at most.

    Raises:
        UsageError: more than one task, or shapes that do not fit together.
    """
    _check(support, query, probabilities, class_names)
    shown, asked = _pixels(support.images[0], query.images[0])
    members = [torch.nonzero(support.labels[0] == k).flatten().tolist()[:shots] for k in range(len(class_names))]
    askers = [torch.nonzero(query.labels[0] == k).flatten().tolist()[:queries] for k in range(len(class_names))]
    left, right = max(1, *map(len, members)), max(1, *map(len, askers))
    side = min(0.85, (_WIDTH - _LABEL - _GAP) / (left + right))
    width = _LABEL + _GAP + side * (left + right)
    height = _HEAD + len(class_names) * (side + _TEXT)
    figure = new_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1), facecolor="none", xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    start = _LABEL + left * side + _GAP
    axes.text(_LABEL, 0.13, "support", color=MUTED, va="center", fontweight="bold")
    axes.text(start, 0.13, "query: prediction", color=MUTED, va="center", fontweight="bold")
    confidence, guesses = probabilities.detach().cpu().max(-1)
    names = leaves(class_names)
    for k, name in enumerate(names):
        top = _HEAD + k * (side + _TEXT)
        if k:
            axes.plot([0, width], [top - 0.06] * 2, color=LINE, linewidth=0.8)
        axes.text(0, top + side / 2, two_lines(name, 16), color=INK, va="center", fontweight="bold")
        for x, n in enumerate(members[k]):
            _image(axes, shown[n], _LABEL + x * side, top, side)
        for x, n in enumerate(askers[k]):
            place = start + x * side
            guess = int(guesses[n])
            frame = _image(axes, asked[n], place, top, side)
            colour, mark, line = (GOOD, "✓", "-") if guess == k else (BAD, "✗", (0, (3, 1.5)))
            axes.add_patch(Rectangle(*frame, fill=False, edgecolor=colour, linewidth=2, linestyle=line))
            middle, below = place + side / 2, top + side + 0.05
            said = f"{mark} {100 * float(confidence[n]):.0f} %"
            axes.text(middle, below, said, color=colour, ha="center", va="center", fontsize=8, fontweight="bold")
            text = two_lines(names[guess], max(5, round(15 * side)))
            axes.text(middle, below + 0.08, text, color=INK, ha="center", va="top", fontsize=7)
    hits = int((guesses == query.labels[0].cpu()).sum())
    total, drawn = len(guesses), sum(map(len, askers))
    said = f"{hits} of {total} query images are classified right ({100 * hits / max(total, 1):.0f} %)"
    alt = f"A task of {len(class_names)} classes ({', '.join(class_names)}): support and query images. {said}."
    return Picture(figure, alt, f"{said}; {drawn} of them are shown, by true class.", wide=True)


def _check(support: Examples, query: Examples, probabilities: Tensor, class_names: Sequence[str]) -> None:
    for part in (support, query):
        if part.images.ndim != 5 or part.images.shape[0] != 1 or part.images.shape[2] not in (1, 3):
            raise UsageError(
                f"A picture shows one task: images of shape [1 N C H W], C of 1 or 3, got {list(part.images.shape)}. "
                "Take one of a batch with task.slice(0, 1)."
            )
    expected = [query.images.shape[1], len(class_names)]
    if list(probabilities.shape) != expected:
        raise UsageError(
            f"Expected a probability for each query image and class name, {expected}, got {list(probabilities.shape)}. "
            "Give the probabilities [N K] of this task alone."
        )
    highest = int(torch.cat([support.labels, query.labels], 1).max())
    if highest >= len(class_names):
        raise UsageError(
            f"There are {len(class_names)} class names, but class number {highest} occurs. Name every class."
        )


def _pixels(*parts: Tensor) -> list[np.ndarray]:
    """``[N H W 3]`` in [0, 1]; images outside that range are stretched, all by the same amount."""
    images = torch.cat([part.detach().cpu().float() for part in parts])
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        images = (images - low) / max(high - low, 1e-12)
    if max(images.shape[-2:]) > _PIXELS:
        images = F.adaptive_avg_pool2d(images, _PIXELS)
    pixels = images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    return list(np.split(pixels, np.cumsum([len(part) for part in parts])[:-1]))


def _image(
    axes: Axes, pixels: np.ndarray, left: float, top: float, side: float
) -> tuple[tuple[float, float], float, float]:
    inset = 0.04
    size = side - 2 * inset
    x, y = left + inset, top + inset - 0.04
    axes.imshow(pixels, extent=(x, x + size, y + size, y), interpolation="none", aspect="auto", vmin=0, vmax=1)
    return (x, y), size, size

"""One segmentation task as a picture: what was shown, what is there, what was answered, and where it is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from torch import Tensor

from genmeta.core.errors import UsageError
from genmeta.core.types import IGNORE, Examples
from genmeta.reports.blocks import Picture
from genmeta.reports.colours import BAD, INK, MUTED, series
from genmeta.reports.svg import drawing, leaves, new_figure, shorten

_WIDTH, _HEAD, _GAP, _SIDE = 8.6, 0.3, 0.08, 1.5  # inches
_PIXELS = 160  # larger images are shown at this size
_STRENGTH = 0.65  # of a class's colour over the image


@drawing()
def segmentation_picture(
    support: Examples,
    query: Examples,
    answer: Tensor,
    class_names: Sequence[str],
    *,
    shots: int = 5,
    queries: int = 3,
) -> Picture:
    """Support images with the masks that were given; query images, their truth, the answer, and the wrong pixels.

    Args:
        support: of one task, images ``[1 N C H W]``, grey or RGB, with masks.
        query: of the same task.
        answer: ``[N H W]`` class number of each pixel of the query images.
        class_names: of the ``K`` classes, the background first.
        shots: support images to show, at most.
        queries: query images to show, at most.

    Raises:
        UsageError: more than one task, or shapes that do not fit together.
    """
    _check(support, query, answer, class_names)
    shown, given = _shrink(support.images[0], support.labels[0])
    asked, truth = _shrink(query.images[0], query.labels[0])
    _, answered = _shrink(query.images[0], answer.cpu())
    names = leaves(class_names)
    n_support, n_query = min(shots, len(shown)), min(queries, len(asked))
    side = min(_SIDE, (_WIDTH - _GAP * 4) / 5)
    step = side + _GAP
    height = 3 * _HEAD + step * (1 + n_query) + 0.1
    figure = new_figure(_WIDTH, height)
    axes = figure.add_axes((0, 0, 1, 1), facecolor="none", xlim=(0, _WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    axes.text(0, 0.13, "support, with the masks that were given", color=MUTED, va="center", fontweight="bold")
    _legend(axes, names)
    for n in range(n_support):
        _show(axes, _painted(shown[n], given[n]), n * step, 2 * _HEAD, side)
    top = 2 * _HEAD + step + 0.1
    for at, title in enumerate(("query", "truth", "answer", "wrong")):
        axes.text(at * step, top + 0.13, title, color=MUTED, va="center", fontweight="bold")
    for n in range(n_query):
        y = top + _HEAD + n * step
        wrong = (answered[n] != truth[n]) & (truth[n] != IGNORE)
        _show(axes, asked[n], 0, y, side)
        _show(axes, _painted(asked[n], truth[n]), step, y, side)
        _show(axes, _painted(asked[n], answered[n]), 2 * step, y, side)
        _show(axes, _marked(asked[n], wrong), 3 * step, y, side)
    known = query.labels[0].cpu() != IGNORE
    right = ((answer.cpu() == query.labels[0].cpu()) & known).sum() / known.sum().clamp_min(1)
    said = f"{100 * float(right):.0f} % of the labelled pixels of {len(asked)} query images are right"
    alt = f"A segmentation task of {', '.join(class_names[1:])}: support and query images with masks. {said}."
    return Picture(figure, alt, f"{said}; {n_query} of the images are shown.", wide=True)


def _check(support: Examples, query: Examples, answer: Tensor, class_names: Sequence[str]) -> None:
    for part in (support, query):
        if part.images.ndim != 5 or part.images.shape[0] != 1 or part.images.shape[2] not in (1, 3):
            raise UsageError(
                f"A picture shows one task: images of shape [1 N C H W], C of 1 or 3, got {list(part.images.shape)}. "
                "Take one of a batch with task.slice(0, 1)."
            )
    if answer.shape != query.labels.shape[1:]:
        raise UsageError(
            f"Expected a class number for each pixel of the query images, {list(query.labels.shape[1:])}, got "
            f"{list(answer.shape)}. Give the answer [N H W] of this task alone."
        )
    highest = int(torch.cat([part.flatten() for part in (support.labels, query.labels, answer.cpu())]).max())
    if highest >= len(class_names):
        raise UsageError(
            f"There are {len(class_names)} class names, but class number {highest} occurs. Name every class, the "
            "background first."
        )


def _shrink(images: Tensor, masks: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """``[N H W 3]`` in [0, 1] and ``[N H W]``, no larger than they are shown."""
    images, masks = images.detach().cpu().float().clamp(0, 1), masks.cpu()
    if max(images.shape[-2:]) > _PIXELS:
        images = F.adaptive_avg_pool2d(images, _PIXELS)
        masks = F.interpolate(masks[:, None].double(), (_PIXELS, _PIXELS), mode="nearest")[:, 0].long()
    return images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy(), masks.numpy()


def _painted(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Greyed where it is background, under a class's colour where it is not, hatched where nobody has said."""
    grey = 0.25 + 0.5 * image.mean(-1, keepdims=True).repeat(3, -1)
    out = grey.copy()
    for k in np.unique(mask[mask > 0]):
        colour = np.array(to_rgb(series(int(k) - 1)[0]))
        out[mask == k] = (1 - _STRENGTH) * grey[mask == k] + _STRENGTH * colour
    rows, columns = np.indices(mask.shape)
    out[(mask == IGNORE) & ((rows + columns) % 4 == 0)] = 1.0
    return out


def _marked(image: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    out = 0.25 + 0.5 * image.mean(-1, keepdims=True).repeat(3, -1)
    out[wrong] = to_rgb(BAD)
    return out


def _legend(axes: Axes, names: Sequence[str]) -> None:
    each = _WIDTH / max(len(names) - 1, 1)
    for k, name in enumerate(names[1:]):
        x = k * min(each, 2.0)
        axes.add_patch(Rectangle((x, _HEAD + 0.05), 0.14, 0.14, facecolor=series(k)[0], linewidth=0))
        axes.text(x + 0.2, _HEAD + 0.13, shorten(name, 20), color=INK, va="center", fontsize=8)


def _show(axes: Axes, pixels: np.ndarray, left: float, top: float, side: float) -> None:
    axes.imshow(
        pixels, extent=(left, left + side, top + side, top), interpolation="none", aspect="auto", vmin=0, vmax=1
    )

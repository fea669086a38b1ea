"""What a user would reach for who has no network: the labelled objects as templates, slid over the image.

Normalised cross-correlation (Lewis, "Fast normalized cross-correlation", 1995; as ``skimage.feature.match_template``
computes it, all query images at once) of every support object at several scales; peaks of the best correlation,
overlapping ones suppressed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from skimage.feature import peak_local_max
from skimage.transform import resize
from torch import Tensor

from genmeta.core.types import Boxes, Examples
from genmeta.vision.average_precision import BoxSet

#: Sides of the template, relative to the object's own.
SCALES = (0.7, 0.85, 1.0, 1.2, 1.4)
#: Boxes that overlap a better one of their class by more than this (intersection over union) are dropped.
OVERLAP = 0.4
#: Objects of a class that serve as templates, the first ones; some images hold dozens.
TEMPLATES = 10
_PEAKS, _MOST = 8, 50


class Settings(NamedTuple):
    """How templates are compared.

    Attributes:
        colour: in three colours together, or in grey.
        either: a template in reversed contrast matches too.
    """

    colour: bool
    either: bool


def template_matching(support: Examples, query: Examples, ways: int, settings: Settings) -> list[BoxSet]:
    """Detections in the query images of one task, boxes as shares of the image, class numbers from 0.

    Args:
        support: of one task.
        query: of the same task.
        ways: classes without the background.
        settings: how to compare.
    """
    templates = [(patch, k) for patch, k in _objects(support, settings) if min(patch.shape[:2]) >= 3]
    templates = [one for k in range(ways) for one in [t for t in templates if t[1] == k][:TEMPLATES]]
    images = _pixels(query, settings)
    boxes: list[list[np.ndarray]] = [[] for _ in images]
    labels: list[list[int]] = [[] for _ in images]
    scores: list[list[float]] = [[] for _ in images]
    height, width = images.shape[1:3]
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    for patch, label in templates:
        for scale in SCALES:
            size = (round(patch.shape[0] * scale), round(patch.shape[1] * scale))
            if min(size) < 3 or size[0] > height or size[1] > width:
                continue
            template = resize(patch, (*size, patch.shape[2]), anti_aliasing=scale < 1)
            if template.std() < 1e-6:
                continue
            maps = correlation(pixels, torch.from_numpy(template).permute(2, 0, 1).float()).double().numpy()
            for n, match in enumerate(np.abs(maps) if settings.either else maps):
                for y, x in peak_local_max(match, min_distance=2, num_peaks=_PEAKS, exclude_border=False):
                    boxes[n].append(np.array([x / width, y / height, (x + size[1]) / width, (y + size[0]) / height]))
                    labels[n].append(label)
                    scores[n].append(float(match[y, x]))
    return [
        _suppressed(np.array(b).reshape(-1, 4), np.array(k, dtype=int), np.array(s), ways)
        for b, k, s in zip(boxes, labels, scores, strict=True)
    ]


def correlation(images: Tensor, template: Tensor) -> Tensor:
    """``Σ (t − t̄)(i − ī) / √(Σ (t − t̄)² Σ (i − ī)²)`` over the window at each place, all channels together.

    Args:
        images: ``[N C H W]``.
        template: ``[C h w]``.

    Returns:
        ``[N H-h+1 W-w+1]``, by the window's upper left corner.
    """
    height, width = template.shape[1:]
    centred = template - template.mean()
    both = F.conv2d(images, centred[None])[:, 0]

    def windows(values: Tensor) -> Tensor:
        """Sums over windows, rows first and then columns."""
        rows = F.avg_pool2d(values.sum(1, keepdim=True), (height, 1), stride=1) * height
        return F.avg_pool2d(rows, (1, width), stride=1)[:, 0] * width

    # one shift for all images changes no correlation and keeps the difference of squares exact enough
    shifted = images - images.mean()
    spread = (windows(shifted.square()) - windows(shifted).square() / template.numel()).clamp_min(0)
    scale = (spread * centred.square().sum()).sqrt()
    return torch.where(spread > 1e-4, both / scale.clamp_min(1e-6), 0.0)


def _pixels(examples: Examples, settings: Settings) -> np.ndarray:
    """``[N H W 3]``, or one channel instead of three."""
    images = examples.images[0].permute(0, 2, 3, 1).numpy().astype(np.float64)
    return images if settings.colour else images.mean(-1, keepdims=True)


def _objects(support: Examples, settings: Settings) -> list[tuple[np.ndarray, int]]:
    assert isinstance(support.targets, Boxes)
    patches = []
    for image, boxes, labels in zip(
        _pixels(support, settings), support.targets.boxes[0].numpy(), support.targets.labels[0].numpy(), strict=True
    ):
        height, width = image.shape[:2]
        for box, label in zip(boxes, labels, strict=True):
            if label > 0:
                left, top, right, bottom = np.round(box * [width, height, width, height]).astype(int)
                patches.append((image[top:bottom, left:right], int(label) - 1))
    return patches


def _suppressed(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, ways: int) -> BoxSet:
    kept: list[int] = []
    for k in range(ways):
        order = [i for i in np.argsort(-scores, kind="stable") if labels[i] == k]
        while order:
            best = order.pop(0)
            kept.append(best)
            order = [i for i in order if _overlap(boxes[best], boxes[i]) <= OVERLAP]
    chosen = np.array(sorted(kept, key=lambda i: -scores[i])[:_MOST], dtype=int)
    return BoxSet(boxes[chosen], labels[chosen], scores[chosen])


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    side = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = float(np.prod(np.maximum(side, 0)))
    return both / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both)

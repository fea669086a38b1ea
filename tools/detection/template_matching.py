"""What a user would reach for who has no network: the labelled objects as templates, slid over the image.

Normalised cross-correlation (Lewis, "Fast normalized cross-correlation", 1995; ``skimage.feature.match_template``) of
every support object at several scales; peaks of the best correlation, overlapping ones suppressed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from skimage.feature import match_template, peak_local_max
from skimage.transform import resize

from genmeta.core.types import Boxes, Examples
from genmeta.vision.average_precision import BoxSet

#: Sides of the template, relative to the object's own.
SCALES = (0.7, 0.85, 1.0, 1.2, 1.4)
#: Boxes that overlap a better one of their class by more than this (intersection over union) are dropped.
OVERLAP = 0.4
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
    images = _pixels(query, settings)
    return [_found(image, templates, ways, settings) for image in images]


def _pixels(examples: Examples, settings: Settings) -> np.ndarray:
    """``[N H W]`` or ``[N H W 3]``."""
    images = examples.images[0].permute(0, 2, 3, 1).numpy().astype(np.float64)
    return images if settings.colour else images.mean(-1)


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


def _found(image: np.ndarray, templates: list[tuple[np.ndarray, int]], ways: int, settings: Settings) -> BoxSet:
    height, width = image.shape[:2]
    boxes: list[np.ndarray] = []
    labels: list[int] = []
    scores: list[float] = []
    for patch, label in templates:
        for scale in SCALES:
            size = (round(patch.shape[0] * scale), round(patch.shape[1] * scale))
            if min(size) < 3 or size[0] > height or size[1] > width:
                continue
            template = resize(patch, (*size, *patch.shape[2:]), anti_aliasing=scale < 1)
            if template.std() < 1e-6:
                continue
            match = match_template(image, template)
            match = match[..., 0] if match.ndim == 3 else match
            match = np.abs(match) if settings.either else match
            for y, x in peak_local_max(match, min_distance=2, num_peaks=_PEAKS, exclude_border=False):
                boxes.append(np.array([x / width, y / height, (x + size[1]) / width, (y + size[0]) / height]))
                labels.append(label)
                scores.append(float(match[y, x]))
    return _suppressed(np.array(boxes).reshape(-1, 4), np.array(labels, dtype=int), np.array(scores), ways)


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

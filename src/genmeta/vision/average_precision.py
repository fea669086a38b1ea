"""Average precision of detections, by the COCO evaluator.

Lin et al., "Microsoft COCO: common objects in context", 2014 (https://arxiv.org/abs/1405.0312). The evaluator is the
maintained ``faster-coco-eval``; ``tests/vision/test_average_precision.py`` holds it against a slow one of our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from genmeta.core.errors import UsageError


class BoxSet(NamedTuple):
    """The boxes of one image.

    Attributes:
        boxes: ``[M 4]`` xyxy in pixels.
        labels: ``[M]`` class numbers; negative ones are padding and passed over.
        scores: ``[M]`` of detections; ``None`` for the truth.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None


class Precision(NamedTuple):
    """Average precision as fractions in [0, 1], the mean over the classes that have objects; ``nan`` without any.

    Attributes:
        ap50: at an intersection over union of 0.5.
        ap: the mean over 0.50, 0.55, ..., 0.95.
        ap50_of_class: ``[K]`` at 0.5 of each class; ``nan`` for a class without objects.
    """

    ap50: float
    ap: float
    ap50_of_class: np.ndarray


def average_precision(truth: Sequence[BoxSet], found: Sequence[BoxSet], ways: int) -> Precision:
    """Scores the detections in some images against the truth, 101-point interpolated, at most 100 boxes an image.

    Args:
        truth: one for each image.
        found: one for each image, in the same order, with scores.
        ways: number of classes ``K``.

    Raises:
        UsageError: the evaluator is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise UsageError(
            "Average precision needs the package faster-coco-eval. Install it with: pip install 'genmeta[detection]'"
        ) from error
    nothing = np.full(ways, np.nan)
    if not any((image.labels >= 0).any() for image in truth):
        return Precision(float("nan"), float("nan"), nothing)
    frame = {
        "images": [{"id": i + 1, "width": 1, "height": 1} for i in range(len(truth))],
        "categories": [{"id": k + 1, "name": str(k)} for k in range(ways)],
    }
    results = _annotations(found)
    if not results:
        # the evaluator refuses an empty list; the answer is known
        has = np.isin(np.arange(ways), np.concatenate([image.labels for image in truth]))
        return Precision(0.0, 0.0, np.where(has, 0.0, np.nan))
    evaluator = COCOeval_faster(
        COCO({**frame, "annotations": _annotations(truth)}),
        COCO({**frame, "annotations": results}),
        "bbox",
        print_function=_quiet,
    )
    evaluator.params.maxDets = [100]
    evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0.0, 1e10]], ["all"]
    evaluator.evaluate()
    evaluator.accumulate()
    precision = np.asarray(evaluator.eval["precision"])[:, :, :, 0, -1]  # [thresholds recalls K]
    by_class = np.where(precision > -1, precision, np.nan)
    each = by_class.mean(1)  # a class has all of its precisions or none
    present = ~np.isnan(each[0])
    return Precision(float(each[0, present].mean()), float(each[:, present].mean()), each[0])


def _annotations(images: Sequence[BoxSet]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for at, image in enumerate(images):
        for m in np.flatnonzero(image.labels >= 0):
            left, top, right, bottom = (float(value) for value in image.boxes[m])
            box = [left, top, right - left, bottom - top]
            row = {"id": len(rows) + 1, "image_id": at + 1, "category_id": int(image.labels[m]) + 1, "bbox": box}
            row |= {"area": box[2] * box[3], "iscrowd": 0}
            if image.scores is not None:
                row["score"] = float(image.scores[m])
            rows.append(row)
    return rows


def _quiet(*_: object) -> None:
    """The evaluator's remarks are nobody's business here."""

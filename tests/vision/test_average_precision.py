"""The COCO evaluator against a slow implementation written from the definition alone."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from genmeta.core.errors import UsageError
from genmeta.vision.average_precision import BoxSet, average_precision


def iou(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union


def slow_ap(truth: list[BoxSet], found: list[BoxSet], label: int, threshold: float) -> float | None:
    """One class at one threshold: greedy matching by falling score, then 101 points of the envelope."""
    total = sum(int((image.labels == label).sum()) for image in truth)
    if total == 0:
        return None
    hits: list[tuple[float, bool]] = []
    for real, said in zip(truth, found, strict=True):
        open_boxes = [box for box, k in zip(real.boxes, real.labels, strict=True) if k == label]
        assert said.scores is not None
        mine = sorted((-s, i) for i, (s, k) in enumerate(zip(said.scores, said.labels, strict=True)) if k == label)
        for negative, i in mine[:100]:
            overlaps = [iou(said.boxes[i], box) for box in open_boxes]
            best = max(range(len(overlaps)), key=lambda j: (overlaps[j], j), default=None)
            if best is not None and overlaps[best] >= threshold:
                open_boxes.pop(best)
                hits.append((-negative, True))
            else:
                hits.append((-negative, False))
    hits.sort(key=lambda pair: -pair[0])
    right, points = 0, []
    for n, (_, hit) in enumerate(hits, 1):
        right += hit
        points.append((right / total, right / n))
    grid = [max((p for r, p in points if r >= level - 1e-12), default=0.0) for level in np.linspace(0, 1, 101)]
    return float(np.mean(grid))


def slow(truth: list[BoxSet], found: list[BoxSet], ways: int) -> tuple[float, float]:
    def mean(threshold: float) -> float:
        values = [slow_ap(truth, found, k, threshold) for k in range(ways)]
        kept = [v for v in values if v is not None]
        return float(np.mean(kept)) if kept else float("nan")

    return mean(0.5), float(np.mean([mean(t) for t in np.linspace(0.5, 0.95, 10)]))


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 50, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(2, 20, (count, 2))], 1)


def image(boxes: object, labels: object, scores: object = None) -> BoxSet:
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    return BoxSet(boxes, np.asarray(labels, dtype=int), None if scores is None else np.asarray(scores, dtype=float))


@pytest.mark.parametrize("seed", range(8))
def test_agrees_on_random_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ways = int(rng.integers(1, 5))
    truth, found = [], []
    for _ in range(6):
        count = int(rng.integers(0, 5))
        boxes, labels = random_boxes(rng, count), rng.integers(0, ways, count)
        extra = int(rng.integers(0, 8))
        near = np.concatenate([boxes + rng.normal(0, 1.5, boxes.shape), random_boxes(rng, extra)])
        guess = np.concatenate([labels, rng.integers(0, ways, extra)])
        truth.append(BoxSet(boxes, labels))
        found.append(BoxSet(near, guess, rng.permutation(len(near)) / 100 + rng.random() / 200))
    measured = average_precision(truth, found, ways)
    expected = slow(truth, found, ways)
    assert measured.ap50 == pytest.approx(expected[0], abs=1e-9, nan_ok=True)
    assert measured.ap == pytest.approx(expected[1], abs=1e-9, nan_ok=True)


BOX = [10, 10, 20, 20]
HARD = {
    "images without objects, with false alarms": ([image([], []), image([BOX], [0])],
                                                  [image([BOX], [0], [0.9]), image([BOX], [0], [0.8])], 1),
    "nothing found": ([image([BOX], [0])], [image([], [], [])], 1),
    "touching boxes": ([image([BOX, [20, 10, 30, 20]], [0, 0])],
                       [image([[20, 10, 30, 20], BOX, [15, 10, 25, 20]], [0, 0, 0], [0.9, 0.8, 0.85])], 1),
    "two detections of one object": ([image([BOX], [0])], [image([BOX, [10, 10, 20, 19]], [0, 0], [0.5, 0.9])], 1),
    "a box without area": ([image([BOX, [5, 5, 5, 9]], [0, 0])],
                           [image([BOX, [5, 5, 5, 9]], [0, 0], [0.9, 0.95])], 1),
    "a class that no image shows": ([image([BOX], [0])], [image([BOX, BOX], [0, 2], [0.9, 0.95])], 3),
    "a class that is never found": ([image([BOX, [30, 30, 40, 45]], [0, 1])], [image([BOX], [0], [0.9])], 2),
    "right box, wrong class": ([image([BOX], [0])], [image([BOX], [1], [0.9])], 2),
    "padding": ([image([BOX, [0, 0, 0, 0]], [0, -1])], [image([BOX, [0, 0, 9, 9]], [0, -1], [0.9, 0.99])], 1),
    "overlap of exactly one half": ([image([[0, 0, 10, 10]], [0])], [image([[0, 0, 10, 5]], [0], [0.9])], 1),
}  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_agrees_on_hard_cases(name: str) -> None:
    truth, found, ways = HARD[name]
    measured, expected = average_precision(truth, found, ways), slow(truth, found, ways)
    assert (measured.ap50, measured.ap) == pytest.approx(expected, abs=1e-9)


def test_no_objects_at_all_have_no_score() -> None:
    score = average_precision([image([], [])], [image([BOX], [0], [0.9])], 2)
    assert np.isnan(score.ap50)
    assert np.isnan(score.ap)
    assert np.isnan(score.ap50_of_class).all()


def test_truth_scores_one_and_classes_are_told_apart() -> None:
    truth = [image([BOX, [30, 30, 40, 45]], [0, 1]), image([[1, 2, 9, 30]], [1])]
    found = [BoxSet(t.boxes, t.labels, np.full(len(t.labels), 0.7)) for t in truth]
    score = average_precision(truth, found, 3)
    assert score.ap50 == 1.0
    assert score.ap == 1.0
    np.testing.assert_array_equal(score.ap50_of_class, [1.0, 1.0, np.nan])


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(UsageError, match=r"genmeta\[detection\]"):
        average_precision([image([BOX], [0])], [image([BOX], [0], [0.9])], 1)

"""The picture of a segmentation task, and scores under their own names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from genmeta.core.errors import UsageError
from genmeta.core.types import IGNORE, Examples
from genmeta.engine.scores import StepScores
from genmeta.reports import accuracy_curves, accuracy_table, figure_svg, segmentation_picture, steps_table

NAMES = ["background", "letters/$", "letters/b"]


def examples(n: int, size: int = 16) -> Examples:
    rng = torch.Generator().manual_seed(n)
    masks = torch.randint(0, 3, (1, n, size, size), generator=rng)
    masks[..., :2] = IGNORE
    return Examples(torch.rand(1, n, 1, size, size, generator=rng), masks)


def test_shows_support_query_truth_answer_and_what_is_wrong() -> None:
    support, query = examples(2), examples(3)
    answer = query.labels[0].clamp_min(0)
    answer[0, 0, 5] = (answer[0, 0, 5] + 1) % 3
    picture = segmentation_picture(support, query, answer, NAMES, queries=2)
    assert isinstance(picture.image, Figure)
    axes = picture.image.axes[0]
    assert len(axes.images) == 2 + 2 * 4
    texts = [text.get_text() for text in axes.texts]
    assert {"$", "b", "query", "truth", "answer", "wrong"} <= set(texts)
    wrong = np.asarray(axes.images[2 + 3].get_array())
    marked = (np.abs(wrong - wrong.mean(-1, keepdims=True)) > 0.05).any(-1)
    assert marked.sum() == 1
    assert marked[0, 5]
    assert "100 % of the labelled pixels of 3 query images are right; 2 of the images are shown" in picture.caption
    assert figure_svg(picture.image, picture.alt, "a").startswith("<svg")


def test_large_images_are_shown_smaller() -> None:
    picture = segmentation_picture(examples(1, 200), examples(1, 200), examples(1, 200).labels[0].clamp_min(0), NAMES)
    assert isinstance(picture.image, Figure)
    assert np.asarray(picture.image.axes[0].images[0].get_array()).shape == (160, 160, 3)


def test_refuses_what_does_not_fit() -> None:
    support, query = examples(2), examples(3)
    with pytest.raises(UsageError, match=r"class number for each pixel .* \[3, 16, 16\], got \[2, 16, 16\]"):
        segmentation_picture(support, query, query.labels[0, :2], NAMES)
    with pytest.raises(UsageError, match=r"There are 2 class names, but class number 2 occurs"):
        segmentation_picture(support, query, query.labels[0], NAMES[:2])
    two = Examples(query.images.expand(2, -1, -1, -1, -1), query.labels.expand(2, -1, -1, -1))
    with pytest.raises(UsageError, match="shows one task"):
        segmentation_picture(two, query, query.labels[0], NAMES)


def test_scores_go_by_their_own_name() -> None:
    values = np.linspace(0.2, 0.8, 10)
    scores = StepScores(values, values, values, values > 0.5, 0.01, metric="miou", extra={"background_iou": values})
    evaluations = {"hypernet": {0: scores, 5: scores}}
    assert accuracy_table(evaluations, (0, 5)).caption.startswith("Mean IoU in percent")
    assert "whose mean mean IoU" not in steps_table(evaluations).caption
    assert "Mean IoU" in accuracy_curves(evaluations).alt
    summary = scores.summary()
    assert summary["miou"] == pytest.approx(50, abs=0.001)
    assert summary["background_iou"] == pytest.approx(50, abs=0.001)
    assert "accuracy" not in summary

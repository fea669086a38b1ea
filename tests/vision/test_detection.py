"""Detection as a visual task."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genmeta.core.types import IGNORE, Boxes
from genmeta.vision import Detection
from genmeta.vision.center_maps import BOX_CHANNELS, center_maps
from genmeta.vision.detection import PRIOR

VISION, SIZE, WAYS = Detection(), 16, 3


def truth() -> Boxes:
    """Two tasks of two images; one image shows nothing."""
    boxes = torch.tensor([[0.05, 0.1, 0.3, 0.4], [0.5, 0.5, 0.9, 0.8], [0.0, 0.0, 0.0, 0.0]]).expand(2, 2, 3, 4).clone()
    boxes[1] += 0.05
    labels = torch.tensor([[1, 2, IGNORE], [2, 1, IGNORE]])[:, None].repeat(1, 2, 1)
    labels[1, 1] = IGNORE
    return Boxes(boxes, labels)


def perfect(targets: Boxes) -> torch.Tensor:
    maps = center_maps(targets.boxes, targets.labels - 1, WAYS - 1, (SIZE, SIZE))
    logits = torch.where(maps.heat >= 1, 20.0, -20.0)
    logits = torch.cat([torch.zeros_like(logits[:, :, :1]), logits], 2)
    return torch.cat([logits, maps.box], 2).permute(0, 1, 3, 4, 2)


def features(channels: int = 8) -> torch.Tensor:
    return torch.randn(2, 2, SIZE, SIZE, channels + BOX_CHANNELS, generator=torch.Generator().manual_seed(0))


def test_the_truth_scores_one_and_costs_nothing() -> None:
    targets = truth()
    scores = VISION.scores(perfect(targets), targets)
    assert scores.main.tolist() == [1.0, 1.0]
    assert scores.extra["ap"].tolist() == [1.0, 1.0]
    assert scores.classes is not None
    np.testing.assert_array_equal(scores.classes, [[np.nan, 1, 1], [np.nan, 1, 1]])
    assert VISION.loss(perfect(targets), targets).max() < 1e-4
    logs = VISION.logs(perfect(targets), targets)
    assert logs["heat_at_centers"] == pytest.approx(1)
    assert logs["box_error"] == pytest.approx(0, abs=1e-6)


def test_padding_teaches_nothing() -> None:
    targets = truth()
    wild = Boxes(torch.where(targets.labels[..., None] == IGNORE, 7.0, targets.boxes), targets.labels)
    outputs = VISION.outputs(features(), torch.randn(2, WAYS, 9, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(VISION.loss(outputs, wild), VISION.loss(outputs, targets))
    for a, b in zip(VISION.tokens(features(), wild, WAYS), VISION.tokens(features(), targets, WAYS), strict=True):
        torch.testing.assert_close(a, b)


def test_relabelled_classes_relabel_the_outputs() -> None:
    targets, rows = truth(), torch.randn(2, WAYS, 9, generator=torch.Generator().manual_seed(1))
    swapped = Boxes(targets.boxes, torch.where(targets.labels > 0, 3 - targets.labels, targets.labels))
    outputs, other = VISION.outputs(features(), rows), VISION.outputs(features(), rows[:, [0, 2, 1]])
    torch.testing.assert_close(other[..., [0, 2, 1, 3, 4, 5, 6]], outputs)
    torch.testing.assert_close(VISION.loss(other, swapped), VISION.loss(outputs, targets))


def test_what_is_added_to_all_rows_changes_nothing() -> None:
    rows = torch.randn(2, WAYS, 9, generator=torch.Generator().manual_seed(1))
    outputs, other = (VISION.outputs(features(), r) for r in (rows, rows + rows[:1, :1].flip(-1)))
    for a, b in zip(VISION.detect(outputs), VISION.detect(other), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_equal_rows_see_background_everywhere() -> None:
    outputs = VISION.outputs(features(), torch.zeros(2, WAYS, 9))
    assert VISION.detect(outputs).scores.max() == pytest.approx(1 / (np.exp(PRIOR) + 2), rel=1e-5)


def test_tokens_are_the_features_at_the_objects() -> None:
    targets, maps = truth(), features()
    tokens = VISION.tokens(maps, targets, WAYS)
    assert tokens.membership is not None
    assert tokens.values.shape == (2, 2 * 3 + 2 * 16, 8)
    kinds = (tokens.membership > 0).sum(1)
    assert kinds[:, 1:].tolist() == [[2, 2], [1, 1]]
    assert bool((kinds[:, 0] == 32).all())
    # a small object's token is the feature of its own cell
    one = Boxes(torch.tensor([[[[0.51, 0.26, 0.55, 0.30]]]]), torch.tensor([[[1]]]))
    token = VISION.tokens(maps[:1, :1], one, WAYS).values[0, 0]
    torch.testing.assert_close(token, maps[0, 0, 4, 8, :8], atol=1e-4, rtol=1e-4)
    assert VISION.tokens(maps, None, WAYS).membership is None


def test_labelled_cells_hold_every_class_and_less_background() -> None:
    known = VISION.labelled(features(), truth(), WAYS)
    assert known.membership is not None
    assert known.membership.shape == (2, 2 * SIZE * SIZE, WAYS)
    assert known.membership[..., 0].max() == pytest.approx(np.exp(-PRIOR))
    assert bool((known.membership[..., 1:].amax(1) == 1).all())


def test_samples_are_pooled_as_chances() -> None:
    rows = torch.randn(4, WAYS, 9, generator=torch.Generator().manual_seed(1))
    outputs = VISION.outputs(features().repeat_interleave(2, 0), rows)
    pooled = VISION.pooled(outputs, 2)
    heat = torch.softmax(outputs[..., :WAYS], -1).unflatten(0, (2, 2)).mean(1)
    torch.testing.assert_close(torch.softmax(pooled[..., :WAYS], -1), heat)
    torch.testing.assert_close(pooled[..., WAYS:], outputs[::2, ..., WAYS:])


def test_a_query_alone_is_found_as_among_others() -> None:
    outputs = VISION.outputs(features(), torch.randn(2, WAYS, 9, generator=torch.Generator().manual_seed(1)))
    for alone, among in zip(VISION.detect(outputs[:, :1]), VISION.detect(outputs), strict=True):
        torch.testing.assert_close(alone, among[:, :1])


def test_the_shared_part_of_the_loss_is_that_of_the_boxes() -> None:
    targets, maps = truth(), features()
    exact = maps.clone()
    exact[..., -BOX_CHANNELS:] = perfect(targets)[..., -BOX_CHANNELS:]
    assert VISION.shared_loss(exact, targets).max() < 1e-6
    assert VISION.shared_loss(maps, targets).min() > 0.05


def test_class_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match="reads boxes"):
        VISION.loss(torch.zeros(1, 1, 4, 4, 7), torch.zeros(1, 1, dtype=torch.int64))

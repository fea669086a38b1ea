"""The picture of a detection task."""

from __future__ import annotations

import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from genmeta.core.errors import UsageError
from genmeta.core.types import IGNORE, Boxes, Examples
from genmeta.reports import detection_picture, figure_svg
from genmeta.vision.peaks import Detections

NAMES = ["letters/$", "letters/b_very_long_name_of_a_class"]


def examples(n: int) -> Examples:
    boxes = torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.5, 0.4, 0.9, 0.9], [0.0, 0.0, 0.0, 0.0]]).expand(1, n, 3, 4)
    labels = torch.tensor([1, 2, IGNORE]).expand(1, n, 3)
    return Examples(torch.rand(1, n, 3, 32, 32, generator=torch.Generator().manual_seed(n)), Boxes(boxes, labels))


def found(n: int) -> Detections:
    boxes = torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.5, 0.4, 0.9, 0.9]]).expand(n, 2, 4)
    return Detections(boxes, torch.tensor([[2, 1]]).expand(n, 2), torch.tensor([[0.83, 0.11]]).expand(n, 2))


def test_shows_boxes_names_scores_and_heat() -> None:
    picture = detection_picture(examples(2), examples(3), found(3), torch.full((3, 2, 8, 8), 0.4), NAMES, queries=2)
    assert isinstance(picture.image, Figure)
    axes = picture.image.axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert sum("83 %" in text for text in texts) == 2
    assert not any("11 %" in text for text in texts)
    assert "heat: $" in texts
    # two support images and two query images with two boxes each; one box found in each query image
    assert sum(isinstance(patch, Rectangle) for patch in axes.patches) == 2 * 2 + 2 * 2 + 2
    assert len(axes.images) == 2 + 2 * (2 + 2)
    assert "2 boxes with a score of 30 % or more in 2 query images" in picture.caption
    assert figure_svg(picture.image, picture.alt, "a").startswith("<svg")


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match=r"Expected detections \[3 D\] and heat maps \[3 2 h w\]"):
        detection_picture(examples(2), examples(3), found(3), torch.zeros(3, 1, 8, 8), NAMES)
    plain = Examples(examples(3).images, torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(UsageError, match="shows one task"):
        detection_picture(plain, examples(3), found(3), torch.zeros(3, 2, 8, 8), NAMES)

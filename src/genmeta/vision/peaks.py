"""From heat maps to boxes: local maxima, the best of them, and the boxes that stand there."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from genmeta.vision.center_maps import USUAL


class Detections(NamedTuple):
    """Boxes found in images, best first; every image has the same number ``D``, the last of them with scores near 0.

    Attributes:
        boxes: ``[*B D 4]`` xyxy, inside the image.
        labels: ``[*B D]`` class numbers.
        scores: ``[*B D]`` in [0, 1], falling.
    """

    boxes: Float[Tensor, "*B D 4"]
    labels: Int64[Tensor, "*B D"]
    scores: Float[Tensor, "*B D"]


def find_peaks(
    heat: Float[Tensor, "*B K H W"],
    box: Float[Tensor, "*B 4 H W"],
    size: tuple[int, int],
    most: int = 50,
) -> Detections:
    """Decodes maps as :func:`genmeta.vision.center_maps.center_maps` draws them.

    A cell is a peak where no neighbour of the 3 × 3 around it is hotter in the same class; no other suppression.

    Args:
        heat: in [0, 1].
        box: as there.
        size: ``(height, width)`` of the image in pixels, or ones for boxes as shares of the image.
        most: boxes to return for each image, at most ``K · H · W``.
    """
    *batch, ways, height, width = heat.shape
    flat = heat.reshape(-1, ways, height, width)
    peak = flat * (F.max_pool2d(flat, 3, stride=1, padding=1) == flat)
    scores, index = peak.flatten(1).topk(min(most, ways * height * width), dim=1)
    labels, cell = index // (height * width), index % (height * width)
    at = box.reshape(-1, 4, height * width).gather(2, cell[:, None].expand(-1, 4, -1)).transpose(1, 2)
    place = torch.stack([cell % width, cell // width], -1) + 0.5
    center = place + at[..., 2:]
    # a side beyond twice the image is an untrained head's, and its exponential might overflow
    side = at[..., :2].clamp(-6.0, math.log(2 / USUAL)).exp() * USUAL
    half = side * heat.new_tensor([width, height]) / 2
    stride = heat.new_tensor([size[1] / width, size[0] / height])
    limits = heat.new_tensor([size[1], size[0], size[1], size[0]])
    corners = torch.cat([(center - half) * stride, (center + half) * stride], -1)
    corners = torch.minimum(corners.clamp_min(0.0), limits)

    def shaped(values: Tensor) -> Tensor:
        return values.reshape(*batch, *values.shape[1:])

    return Detections(shaped(corners), shaped(labels), shaped(scores))

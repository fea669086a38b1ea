"""How a scene is painted: backgrounds, and objects turned, scaled and coloured; masks and boxes come along exactly.

All images of a batch are painted together, layer by layer.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genmeta.data.scene_source import UNLABELLED

#: Opacity from which a pixel belongs to an object.
VISIBLE = 0.5
#: Side of a patch of labels where only some pixels are labelled.
PATCH = 4


def textures(count: int, size: int, random: np.random.Generator) -> Tensor:
    """``[B 3 H W]`` in [0, 1]: two colours mixed by smooth noise of several scales and, in half of them, by stripes."""
    noise = torch.zeros(count, 1, size, size)
    for cells in (3, 6, 12, 24):
        coarse = _uniform(random, count, 1, cells, cells) - 0.5
        strength = _uniform(random, count, 1, 1, 1) * (3.0 / cells) ** 0.5
        noise += strength * F.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)
    axis = torch.linspace(-1, 1, size)
    angle, wave = 3.1416 * _uniform(random, count, 1, 1), 4 + 20 * _uniform(random, count, 1, 1)
    across = axis[None, None] * torch.cos(angle) + axis[None, :, None] * torch.sin(angle)
    striped = (_uniform(random, count, 1, 1) < 0.5).float() * 0.5 * _uniform(random, count, 1, 1)
    mix = (0.5 + noise + (striped * torch.sin(wave * across))[:, None]).clamp(0, 1)
    first, second = _uniform(random, count, 3, 1, 1), _uniform(random, count, 3, 1, 1)
    second = first + 0.6 * (second - first)  # nearer than two colours at random: objects shall stand out
    grain = 0.04 * torch.from_numpy(random.standard_normal((count, 1, size, size), dtype=np.float32))
    return (first + (second - first) * mix + grain).clamp(0, 1)


def colours(background: Tensor, random: np.random.Generator) -> Tensor:
    """``[B 3]`` a colour for each image, at least 0.3 brighter or darker than the mean of the background."""
    count = len(background)
    luma = torch.tensor([0.299, 0.587, 0.114])
    mean = (background.mean((2, 3)) * luma).sum(1)
    colour = _uniform(random, count, 3)
    gap = 0.3 + 0.3 * _uniform(random, count)
    up = (_uniform(random, count) < 0.5) & (mean + gap < 1) | (mean - gap < 0)
    wanted = torch.where(up, mean + gap, mean - gap).clamp(0, 1)
    return (colour + (wanted - (colour * luma).sum(1))[:, None]).clamp(0, 1)


def place(cut_outs: Tensor, scale: Tensor, angle: Tensor, centre: Tensor, size: int) -> Tensor:
    """Cut-outs ``[B c s s]`` scaled, turned and moved onto canvases ``[B c H W]``.

    Args:
        cut_outs: the objects.
        scale: ``[B]`` side of the object as a share of the image's.
        angle: ``[B]`` radians.
        centre: ``[B 2]`` x and y, shares of the image.
        size: side of the canvas, in pixels.
    """
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    shift = -(2 * centre - 1)
    theta = torch.stack(
        [
            torch.stack([cos, -sin, cos * shift[:, 0] - sin * shift[:, 1]], 1),
            torch.stack([sin, cos, sin * shift[:, 0] + cos * shift[:, 1]], 1),
        ],
        1,
    )
    # an object drawn smaller than it was cut out is averaged first, or its thin parts would fall between the pixels
    shrink = max(1, int(cut_outs.shape[-1] / max(1.0, size * float(scale.max()))))
    if shrink > 1:
        cut_outs = F.avg_pool2d(cut_outs, shrink)
    grid = F.affine_grid(theta, [len(cut_outs), 1, size, size], align_corners=False)
    return F.grid_sample(cut_outs, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def scribble(masks: np.ndarray, fraction: float, random: np.random.Generator) -> None:
    """Takes the labels of ``[T N H W]`` masks away in place, but for square patches that make up ``fraction``."""
    height, width = masks.shape[2:]
    cells = (-(-height // PATCH), -(-width // PATCH))
    kept = random.random((*masks.shape[:2], *cells)) < fraction
    masks[~kept.repeat(PATCH, 2).repeat(PATCH, 3)[:, :, :height, :width]] = UNLABELLED


def boxes_of(instances: Tensor, count: int) -> np.ndarray:
    """``[B count 4]`` boxes around the pixels numbered ``0..count-1`` in ``[B H W]``; zeros where there are none."""
    boxes = np.zeros((len(instances), count, 4), np.float32)
    for k in range(count):
        mask: np.ndarray = (instances == k).numpy()
        columns, rows = np.any(mask, axis=1), np.any(mask, axis=2)
        seen = np.any(rows, axis=1)
        width, height = columns.shape[1], rows.shape[1]
        x0, y0 = columns.argmax(1), rows.argmax(1)
        x1, y1 = width - columns[:, ::-1].argmax(1), height - rows[:, ::-1].argmax(1)
        boxes[:, k] = np.where(seen[:, None], np.stack([x0, y0, x1, y1], 1), 0)
    return boxes


def _uniform(random: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(random.random(shape, dtype=np.float32))

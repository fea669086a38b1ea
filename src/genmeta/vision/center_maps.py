"""Boxes as dense maps of fixed size: Gaussian heat maps of object centres, sizes, offsets; and their loss.

Anchor-free detection as in Zhou, Wang and Krähenbühl, "Objects as points" (CenterNet), 2019
(https://arxiv.org/abs/1904.07850); few-shot, with class kernels written from the support set, as in Pérez-Rúa, Zhu,
Hospedales and Xiang, "Incremental few-shot object detection" (ONCE), 2020 (https://arxiv.org/abs/2003.04668).
Deviations: the Gaussians are as wide and high as their boxes, and sizes and offsets are learned near the centre rather
than at one cell (both as in Liu et al., "Training-time-friendly network for real-time object detection", 2020,
https://arxiv.org/abs/1909.00700), so that a peak one cell off still has the right box; sizes are learned as logs, so
that an error counts relative to the box.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

#: Channels that say where a box lies: width and height (logs, relative to :data:`USUAL`), offset in x and y (cells).
BOX_CHANNELS = 4
#: The side that a box channel of 0 means, as a share of the image's.
USUAL = 0.25
#: Standard deviation of a heat map's Gaussian, as a fraction of the box's side.
SPREAD = 0.54 / 6
#: Heat above which a cell learns the size and the offset of its object.
NEAR = 0.4


class CenterMaps(NamedTuple):
    """What a detector of centres should say, cell by cell.

    Attributes:
        heat: ``[T N K H W]`` in [0, 1], 1 at the cell of an object's centre.
        box: ``[T N 4 H W]`` of the object that is hottest in a cell: log width and log height, as shares of the image
            and relative to :data:`USUAL`; x and y from the cell's own centre to the object's, in cells.
        near: ``[T N H W]`` weight of a cell in the loss of ``box``, 1 at the centre of an object, 0 away from any.
        objects: ``[T]`` number of objects.
    """

    heat: Float[Tensor, "T N K H W"]
    box: Float[Tensor, "T N 4 H W"]
    near: Float[Tensor, "T N H W"]
    objects: Float[Tensor, " T"]


def center_maps(
    boxes: Float[Tensor, "T N M 4"],
    labels: Int64[Tensor, "T N M"],
    ways: int,
    grid: tuple[int, int],
) -> CenterMaps:
    """Draws boxes as maps: ``heat_k(y, x) = max_{m of class k} exp(−(x − x_m)² / 2σ_x² − (y − y_m)² / 2σ_y²)``.

    ``(x_m, y_m)`` is the cell of the centre and ``σ`` is :data:`SPREAD` of the box's side.

    Args:
        boxes: xyxy as shares of the image's width and height, padded to ``M`` boxes for each image.
        labels: class numbers ``0..ways-1``; −1 for padding. A box without area is passed over.
        ways: ``K``.
        grid: ``(H, W)`` in cells.
    """
    height, width = grid
    each, real = spots(boxes, (labels >= 0) & (labels < ways), grid)  # [T N M H W]
    cells = boxes * boxes.new_tensor([width, height, width, height])
    size = cells[..., 2:] - cells[..., :2]
    center = (cells[..., 2:] + cells[..., :2]) / 2
    xs = torch.arange(width, device=boxes.device, dtype=boxes.dtype)
    ys = torch.arange(height, device=boxes.device, dtype=boxes.dtype)
    member = F.one_hot(labels.clamp(0, ways - 1), ways).to(each.dtype) * real[..., None]
    tasks, images, most = labels.shape
    if most == 0:
        each = each.new_zeros(tasks, images, 1, height, width)
        member = each.new_zeros(tasks, images, 1, ways)
        center, size = center.new_zeros(tasks, images, 1, 2), size.new_ones(tasks, images, 1, 2)
    heat = torch.stack([(each * member[..., k, None, None]).amax(2) for k in range(ways)], 2)
    hottest, which = each.max(2)  # [T N H W]
    usual = size.new_tensor([USUAL * width, USUAL * height])
    values = torch.cat([(size / usual).clamp_min(1e-3).log(), center], -1)  # [T N M 4]
    box = values.gather(2, which.flatten(2)[..., None].expand(-1, -1, -1, 4)).unflatten(2, (height, width))
    place = torch.stack(torch.broadcast_tensors(xs[None, :] + 0.5, ys[:, None] + 0.5), -1)
    box = torch.cat([box[..., :2], box[..., 2:] - place], -1)
    near = torch.where(hottest >= NEAR, hottest, 0.0)
    return CenterMaps(heat, box.permute(0, 1, 4, 2, 3), near, real.sum((1, 2)).to(boxes.dtype))


def spots(
    boxes: Float[Tensor, "T N M 4"], wanted: Bool[Tensor, "T N M"], grid: tuple[int, int]
) -> tuple[Float[Tensor, "T N M H W"], Bool[Tensor, "T N M"]]:
    """The Gaussian of each object by itself, and which boxes are objects: those ``wanted`` that have some area."""
    height, width = grid
    cells = boxes * boxes.new_tensor([width, height, width, height])
    size = cells[..., 2:] - cells[..., :2]
    center = (cells[..., 2:] + cells[..., :2]) / 2
    real = wanted & (size > 0).all(-1)
    limits = center.new_tensor([width - 1, height - 1])
    at = torch.minimum(center.floor().clamp_min(0), limits)
    sigma = (SPREAD * size).clamp_min(0.15)  # narrower ones touch no second cell anyway
    xs = torch.arange(width, device=boxes.device, dtype=boxes.dtype)
    ys = torch.arange(height, device=boxes.device, dtype=boxes.dtype)
    across = ((xs - at[..., 0, None]) / sigma[..., 0, None]).square()
    down = ((ys - at[..., 1, None]) / sigma[..., 1, None]).square()
    return torch.exp(-(across[..., None, :] + down[..., None]) / 2) * real[..., None, None], real


def heat_loss(
    log_heat: Tensor, log_rest: Tensor, heat: Float[Tensor, "T N K H W"], objects: Float[Tensor, " T"]
) -> Float[Tensor, " T"]:
    """Penalty-reduced focal loss in nats per object.

    ``−1/M Σ (1 − p)² log p  where heat = 1,  (1 − heat)⁴ p² log(1 − p)  elsewhere``

    Args:
        log_heat: ``log p``, ``[T N K H W]``.
        log_rest: ``log(1 − p)``.
        heat: the truth.
        objects: ``M``; where there are none, the sum counts as it is.
    """
    p = log_heat.exp()
    found = -(1 - p).square() * log_heat
    false = -(1 - heat).square().square() * p.square() * log_rest
    return torch.where(heat >= 1.0, found, false).flatten(1).sum(1) / objects.clamp_min(1.0)


def box_loss(box: Float[Tensor, "T N 4 H W"], maps: CenterMaps) -> Float[Tensor, " T"]:
    """Mean absolute error of the box channels, ``Σ near |b − box| / Σ near``."""
    error = (box - maps.box).abs().sum(2) * maps.near
    return error.flatten(1).sum(1) / maps.near.flatten(1).sum(1).clamp_min(1.0)

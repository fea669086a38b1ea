"""Random affine and elastic jitter of whole episodes: cheap variety where a class has few, clean images."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from genmeta.core.errors import unknown

KINDS = ("none", "affine", "elastic")


def jitter(images: Float[Tensor, "T N C H W"], kind: str, rng: torch.Generator) -> Float[Tensor, "T N C H W"]:
    """Distorts every image on its own.

    Args:
        images: ``[T N C H W]``.
        kind: ``affine`` (rotation ±20°, scale 0.8 to 1.2, shear ±0.2, shift ±10 % of the width), ``elastic`` (the same
            and a smooth random displacement of up to about 8 % of the width), or ``none``.
        rng: source of the distortions.
    """
    if kind not in KINDS:
        raise unknown("augmentation", kind, KINDS)
    if kind == "none":
        return images
    flat = images.flatten(0, 1)
    count, _, height, width = flat.shape

    def uniform(*shape: int, within: float) -> Tensor:
        return (torch.rand(shape, generator=rng) * 2 - 1) * within

    angle = uniform(count, within=0.35)
    scale = 1 + uniform(count, 2, within=0.2)
    shear, shift = uniform(count, within=0.2), uniform(count, 2, within=0.2)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rotation = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    stretch = torch.zeros(count, 2, 2)
    stretch[:, 0, 0], stretch[:, 1, 1], stretch[:, 0, 1] = scale[:, 0], scale[:, 1], shear
    theta = torch.cat([rotation @ stretch, shift[..., None]], dim=-1)
    grid = F.affine_grid(theta, [count, 1, height, width], align_corners=False)
    if kind == "elastic":
        coarse = torch.randn(count, 2, 5, 5, generator=rng) * 0.07
        field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
        grid = grid + field.permute(0, 2, 3, 1)
    out = F.grid_sample(flat, grid.to(flat), align_corners=False, padding_mode="border")
    return out.unflatten(0, images.shape[:2])


#: Of each view: turn in radians, width of the window (1 is the whole image), shift, contrast, brightness.
_VIEWS = ((0.0, 1.0, 0.0, 0.0, 1.0, 0.0), (0.12, 0.86, 0.03, -0.03, 0.85, 0.05), (-0.12, 0.92, -0.05, 0.04, 1.2, -0.05))


def fixed_views(images: Float[Tensor, "T N C H W"]) -> list[Float[Tensor, "T N C H W"]]:
    """The images themselves, and two views of each that are the same on every call and for every image.

    Turned, cropped, shifted, brighter or darker; never mirrored, since signs and letters are not what their mirror
    image is. Without randomness the same support set always gives the same model.
    """
    flat = images.flatten(0, 1)
    views = [images]
    for angle, window, x, y, contrast, brightness in _VIEWS[1:]:
        cos, sin = window * math.cos(angle), window * math.sin(angle)
        theta = flat.new_tensor([[cos, -sin, x], [sin, cos, y]]).expand(len(flat), 2, 3)
        grid = F.affine_grid(theta, list(flat.shape), align_corners=False)
        moved = F.grid_sample(flat, grid, align_corners=False, padding_mode="border")
        mean = moved.mean((1, 2, 3), keepdim=True)
        moved = (moved - mean) * contrast + mean + brightness
        # each image keeps to its own darkest and brightest value
        moved = torch.minimum(torch.maximum(moved, flat.amin((1, 2, 3), True)), flat.amax((1, 2, 3), True))
        views.append(moved.unflatten(0, images.shape[:2]))
    return views

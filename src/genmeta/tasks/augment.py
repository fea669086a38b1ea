"""Random jitter of whole episodes: cheap variety where a class has few, clean images, or training few styles."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from genmeta.core.errors import unknown
from genmeta.core.transfer import sent

KINDS = ("none", "affine", "elastic", "style")
#: Share of tasks whose images lose their colours, and share of those that are shown as negatives.
GREY, NEGATIVE = 0.3, 0.25
#: Red, green and blue of grey, and the two directions of colour about it, as rows (YIQ).
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def jitter_task(
    support: Float[Tensor, "T N C H W"], query: Float[Tensor, "T M C H W"], kind: str, rng: torch.Generator
) -> tuple[Float[Tensor, "T N C H W"], Float[Tensor, "T M C H W"]]:
    """:func:`jitter` of a task's images; ``style`` is ``affine``, then one random style for all images of a task.

    A style is a turn of the colours, a saturation, a contrast and a brightness, and for some tasks a negative, so that
    a method that reads a domain in its images meets more of them than the data hold. In the spirit of Jackson et al.,
    "Style augmentation", 2019 (https://arxiv.org/abs/1809.05375); deviation: no network, and one style a task.

    Args:
        support: ``[T N C H W]``.
        query: ``[T M C H W]``.
        kind: one of :data:`KINDS`.
        rng: source of the distortions.
    """
    if kind != "style":
        return jitter(support, kind, rng), jitter(query, kind, rng)
    moved = torch.cat([jitter(support, "affine", rng), jitter(query, "affine", rng)], 1)
    styled = _styled(moved, rng)
    return styled[:, : support.shape[1]], styled[:, support.shape[1] :]


def _styled(images: Tensor, rng: torch.Generator) -> Tensor:
    tasks = images.shape[0]

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(tasks, generator=rng)

    turn, saturation = uniform(-math.pi, math.pi), uniform(0, 1.5) * (uniform(0, 1) >= GREY)
    contrast, brightness = torch.exp(uniform(math.log(0.6), math.log(2.5))), uniform(-0.15, 0.15)
    sign = torch.where(uniform(0, 1) < NEGATIVE, -1.0, 1.0)
    if images.shape[2] == 3:
        to_yiq = torch.tensor(_YIQ)
        change = torch.zeros(tasks, 3, 3)
        change[:, 0, 0] = 1
        cos, sin = saturation * torch.cos(turn), saturation * torch.sin(turn)
        change[:, 1, 1], change[:, 1, 2], change[:, 2, 1], change[:, 2, 2] = cos, -sin, sin, cos
        images = torch.einsum("tcd,tndhw->tnchw", torch.linalg.inv(to_yiq) @ change @ to_yiq, images)
    factor, shift = ((sign * contrast).view(-1, 1, 1, 1, 1), brightness.view(-1, 1, 1, 1, 1))
    return ((images - 0.5) * factor + 0.5 + shift).clamp(0, 1)


def jitter(images: Float[Tensor, "T N C H W"], kind: str, rng: torch.Generator) -> Float[Tensor, "T N C H W"]:
    """Distorts every image on its own.

    Args:
        images: ``[T N C H W]``.
        kind: ``affine`` (rotation ±20°, scale 0.8 to 1.2, shear ±0.2, shift ±10 % of the width), ``elastic`` (the same
            and a smooth random displacement of up to about 8 % of the width), or ``none``.
        rng: source of the distortions.
    """
    if kind not in KINDS[:-1]:
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
    out = F.grid_sample(flat, sent(grid.to(flat.dtype), flat.device), align_corners=False, padding_mode="border")
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

"""Convolution, norm, pooling and activation of one block; with few channels without its map at full size."""

from __future__ import annotations

import torch
from torch import Tensor

from genmeta.core.batching import native, patches
from genmeta.core.batching.convolutions import PATCH, Patches, conv2d
from genmeta.core.batching.fused import EPS
from genmeta.core.batching.layers import Images
from genmeta.core.batching.native import LANES
from genmeta.core.batching.norms import After, Moments, group_norm, support_batch_norm
from genmeta.core.batching.paths import Operation, Path, always


def conv_norm(
    images: Images,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    n_tasks: int,
    groups: int,
    statistics: Moments | None,
    after: After,
    kept: Patches | None = None,
) -> tuple[Images, Moments | None]:
    """A convolution of stride 1, a normalisation and what follows it.

    Args:
        images: ``[T*N C H W]``.
        weight: ``[O C k k]`` common, or ``[T O C k k]`` per task.
        scale: ``[O]`` common, or ``[T O]`` per task.
        shift: like ``scale``.
        n_tasks: ``T``.
        groups: of group norm; 0 for batch norm with the statistics of each task's support set.
        statistics: see :func:`~genmeta.core.batching.support_batch_norm`.
        after: pooling and activation.
        kept: see ``patches`` of :func:`~genmeta.core.batching.conv2d`.

    Returns:
        The result, and the statistics that batch norm used.
    """
    if weight.ndim == 5 and n_tasks == 1:
        weight = weight[0]
    out: tuple[Images, Moments | None] = CONV_NORM(
        images, weight, scale, shift, n_tasks, groups, statistics, after, kept
    )
    return out


def _one_by_one(
    images: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    n_tasks: int,
    groups: int,
    statistics: Moments | None,
    after: After,
    kept: Patches | None,
) -> tuple[Tensor, Moments | None]:
    maps = conv2d(images, weight, n_tasks, 1, kept)
    if groups:
        return group_norm(maps, groups, scale, shift, n_tasks, after), None
    return support_batch_norm(maps, statistics, scale, shift, n_tasks, after)


def _from_patches(
    images: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    n_tasks: int,
    groups: int,
    statistics: Moments | None,
    after: After,
    kept: Patches | None,
) -> tuple[Tensor, Moments | None]:
    """The norm's statistics from those of the patches; see :mod:`genmeta.core.batching.patches`."""
    kept = {} if kept is None else kept
    batch, _, height, width = images.shape
    if (patches.SIDE, 1) not in kept:
        kept[patches.SIDE, 1] = patches.cut(images)
    patched = patches.Patched(kept[patches.SIDE, 1], batch, height, width)
    kernels, channels = weight.flatten(1).t(), len(weight)
    if statistics is None or groups:
        rows, width = (batch, channels // groups) if groups else (n_tasks, 1)
        folded = patches.Folded(*_moments(patched, rows, kept), width, EPS)
        scale, shift = scale.view(-1, channels), shift.view(-1, channels)
        out, taken = patches.normalised(patched, kernels, scale, shift, folded, after.slope)
        if groups:
            return out, None
        mean, variance = taken.unbind()
        return out, (mean, variance)
    mean, variance = (each.double() for each in statistics)
    factor = scale * torch.rsqrt(variance + EPS)
    offset = (shift - mean * factor).to(images.dtype)
    out = patches.pooled(patched, (kernels * factor[:, None]).to(images.dtype), offset, after.slope)
    return out, statistics


def _moments(patched: patches.Patched, rows: int, kept: Patches) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the patches of each row of images, computed once."""
    names = f"mean of {rows} rows", f"covariance of {rows} rows"
    if names[0] not in kept:
        for name, value in zip(names, patches.moments(patched, rows), strict=True):
            kept[name] = value
    return kept[names[0]], kept[names[1]]


def _few_channels(
    images: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, n_tasks: int, groups: int, statistics: object,
    after: After, kept: object,
) -> bool:  # fmt: skip
    side = weight.shape[-1] == patches.SIDE and min(images.shape[-2:]) > 1
    return weight.ndim == 4 and side and len(weight) % LANES == 0 and after.pool and not images.requires_grad


def _compiled_for_few(images: Tensor, weight: Tensor, *_: object) -> bool:
    return weight[0].numel() <= PATCH and native.usable(images)


CONV_NORM = Operation(
    "conv_norm",
    Path("from patches", _few_channels, _compiled_for_few, _from_patches),
    Path("one by one", always, always, _one_by_one),
)

"""Normalisations of the images of a batch of tasks, with the pooling and the activation that follow them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from genmeta.core.batching import fused, native
from genmeta.core.batching.layers import Images
from genmeta.core.batching.paths import Operation, Path, always

#: Mean and variance of each task's support set, ``[T C]`` each.
Moments = tuple[Tensor, Tensor]


class After(NamedTuple):
    """What follows a normalisation.

    Attributes:
        pool: 2×2 max-pool with stride 2.
        slope: then a leaky ReLU of this slope: 0 for ReLU, 1 for none. (Pooling first is the same function, cheaper.)
    """

    pool: bool = False
    slope: float = 1.0


#: Nothing does.
NOTHING = After()


def group_norm(
    images: Images, groups: int, scale: Tensor, shift: Tensor, n_tasks: int, after: After = NOTHING
) -> Images:
    """Group normalisation, ``scale · (x − mean) / std + shift`` with mean and std of each image's channel group.

    Args:
        images: ``[T*N C H W]``.
        groups: number of channel groups.
        scale: ``[C]`` common, or ``[T C]`` per task. A FiLM generator writes these.
        shift: like ``scale``.
        n_tasks: ``T``.
        after: pooling and activation.
    """
    if scale.ndim == 2 and n_tasks == 1:
        scale, shift = scale[0], shift[0]
    out: Tensor = GROUP_NORM(images, groups, scale, shift, n_tasks, after)
    return out


def support_batch_norm(
    images: Images, statistics: Moments | None, scale: Tensor, shift: Tensor, n_tasks: int, after: After = NOTHING
) -> tuple[Images, Moments]:
    """Batch normalisation whose statistics are each task's own support set's, never the query's.

    Args:
        images: ``[T*N C H W]``.
        statistics: ``(mean, variance)``, each ``[T C]``, taken from a support pass; ``None`` to take them from
            ``images``, which then must be support images.
        scale: ``[C]`` or ``[T C]``.
        shift: like ``scale``.
        n_tasks: ``T``.
        after: pooling and activation.

    Returns:
        The normalised images and the statistics that were used.
    """
    out: tuple[Images, Moments] = BATCH_NORM(images, statistics, scale, shift, n_tasks, after)
    return out


def modulate(images: Images, scale: Tensor, shift: Tensor, n_tasks: int, after: After = NOTHING) -> Images:
    """``scale · x + shift``, channel by channel and task by task, then what follows."""
    per_task = images.unflatten(0, (n_tasks, -1))
    if scale.ndim == 1:
        scale, shift = scale[None], shift[None]
    out = torch.addcmul(shift[:, None, :, None, None], per_task, scale[:, None, :, None, None])
    return _follow(out.flatten(0, 1), after)


# -- plain formulations -----------------------------------------------------------------------------------------------


def _follow(images: Images, after: After) -> Images:
    if after.pool:
        images = F.max_pool2d(images, 2)
    if after.slope == 1.0:
        return images
    return F.relu(images) if after.slope == 0.0 else F.leaky_relu(images, after.slope)


def _plain_group_norm(images: Images, groups: int, scale: Tensor, shift: Tensor, n_tasks: int, after: After) -> Images:
    if scale.ndim == 1:
        out: Images = _GroupNorm.apply(images, scale, shift, groups)  # type: ignore[no-untyped-call]
    else:
        out = modulate(F.group_norm(images, groups), scale, shift, n_tasks)
    return _follow(out, after)


class _GroupNorm(torch.autograd.Function):
    """``F.group_norm`` whose backward always computes the images' gradient too.

    With channels-last images on a CPU, torch 2.13's own backward crashes the process when only the scale's and
    shift's gradients are asked for, which is just what a FiLM inner loop does.
    """

    EPS = 1e-5

    @staticmethod
    def forward(ctx: Any, images: Tensor, scale: Tensor, shift: Tensor, groups: int) -> Tensor:
        batch, channels, height, width = images.shape
        sizes = (batch, channels, height * width, groups)
        out, mean, rstd = torch.native_group_norm(images, scale, shift, *sizes, _GroupNorm.EPS)
        ctx.save_for_backward(images, scale, shift, mean, rstd)
        ctx.sizes = sizes
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        images, scale, shift, mean, rstd = ctx.saved_tensors
        if torch.is_grad_enabled():
            # a second derivative will be taken: let autograd write it, from inputs that all ask for a gradient
            inputs = [t if t.requires_grad else t.detach().requires_grad_() for t in (images, scale, shift)]
            out = F.group_norm(inputs[0], ctx.sizes[3], inputs[1], inputs[2], _GroupNorm.EPS)
            return (*torch.autograd.grad(out, inputs, grad, create_graph=True), None)  # type: ignore[return-value]
        layout = (
            torch.channels_last if images.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        )
        grad = grad.contiguous(memory_format=layout)
        backward = torch.ops.aten.native_group_norm_backward
        return (*backward(grad, images, mean, rstd, scale, *ctx.sizes, [True, True, True]), None)


def _plain_batch_norm(
    images: Images, statistics: Moments | None, scale: Tensor, shift: Tensor, n_tasks: int, after: After
) -> tuple[Images, Moments]:
    """Written from mean and rsqrt: the built-in batch norm has wrong second derivatives under function transforms."""
    per_task = images.unflatten(0, (n_tasks, -1))
    if statistics is None:
        variance, mean = torch.var_mean(per_task, dim=(1, 3, 4), correction=0)
        statistics = (mean, variance)
    mean, variance = statistics
    factor = scale * torch.rsqrt(variance + fused.EPS)
    return _follow(modulate(images, factor, shift - mean * factor, n_tasks), after), statistics


# -- one compiled operation -------------------------------------------------------------------------------------------


def _fused_group_norm(images: Images, groups: int, scale: Tensor, shift: Tensor, n_tasks: int, after: After) -> Images:
    batch, channels = images.shape[:2]
    per_row = batch if scale.ndim == 1 else batch // n_tasks
    cells = fused.Cells(1, channels // groups, per_row, after.pool, after.slope)
    return fused.norm_pool(images, scale.view(-1, channels), shift.view(-1, channels), None, cells)[0]


def _fused_batch_norm(
    images: Images, statistics: Moments | None, scale: Tensor, shift: Tensor, n_tasks: int, after: After
) -> tuple[Images, Moments]:
    (batch, channels), span = images.shape[:2], images.shape[0] // n_tasks
    centre = size = None
    if statistics is not None:
        # s · (x − m) + b = s · (x − c) + b + s · (c − m), where c is m as a constant: only s and b need derivatives
        mean, variance = statistics
        centre, size = mean.detach(), scale.detach().expand(n_tasks, channels)
        scale = scale * torch.rsqrt(variance + fused.EPS)
        shift = shift + scale * (centre - mean)
    per_row = batch if scale.ndim == 1 else span
    cells = fused.Cells(span, 1, per_row, after.pool, after.slope)
    flat = None if centre is None else centre.flatten()
    out, moments = fused.norm_pool(images, scale.view(-1, channels), shift.view(-1, channels), flat, cells, size)
    if statistics is None:
        mean, variance = moments.view(2, n_tasks, channels).unbind()
        statistics = mean, variance
    return out, statistics


def _compiled(images: Images, *_: object) -> bool:
    return native.usable(images)


GROUP_NORM = Operation(
    "group_norm",
    Path("fused", always, _compiled, _fused_group_norm),
    Path("plain", always, always, _plain_group_norm),
)
BATCH_NORM = Operation(
    "support_batch_norm",
    Path("fused", always, _compiled, _fused_batch_norm),
    Path("plain", always, always, _plain_batch_norm),
)

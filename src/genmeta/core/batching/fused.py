"""Norm, pooling and activation as one operation with exact first and second derivatives, on the compiled kernels.

The formulas stand in ``kernels.cpp``. A third derivative is refused by autograd.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from genmeta.core.batching import native

EPS = 1e-5


class Cells(NamedTuple):
    """How images fall into cells that share a mean and a variance, and what follows the normalisation.

    Attributes:
        span: images of a cell.
        width: channels of a cell.
        per_row: images that share a row of ``scale`` and ``shift``.
        pool: 2×2 max-pool after the normalisation.
        slope: of the leaky ReLU after that: 0 for ReLU, 1 for none.
    """

    span: int
    width: int
    per_row: int
    pool: bool
    slope: float


def norm_pool(
    images: Tensor, scale: Tensor, shift: Tensor, centre: Tensor | None, cells: Cells, size: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``act(pool(scale · (x − mean) / √(variance + ε) + shift))`` with each cell's own mean and variance.

    Args:
        images: ``[B C H W]``.
        scale: ``[rows C]``.
        shift: ``[rows C]``.
        centre: ``[cells]``, a constant, for ``act(pool(scale · (x − centre) + shift))`` instead.
        cells: how the images fall into cells.
        size: ``[rows C]``, the standard deviation of what is pooled, ``scale`` where that is of normalised images:
            maxima are equal that differ by less than rounding does.

    Returns:
        The result ``[B C H' W']``, and the mean and the variance of every cell, ``[2 blocks*groups]``.
    """
    # brought into the kernels' layout out here, where autograd sees it: what a Function saves must be its own inputs
    images = images.contiguous(memory_format=torch.channels_last)
    scale = scale.contiguous()
    arguments = (images, scale, shift.contiguous(), centre, cells, scale if size is None else size.contiguous())
    out: tuple[Tensor, Tensor] = _NormPool.apply(*arguments)  # type: ignore[no-untyped-call]
    return out


def _call(name: str, images: Tensor, cells: Cells, fixed: bool, *arguments: Tensor | None) -> None:
    batch, channels, height, width = images.shape
    shape = native.Shape(
        batch, height, width, channels, cells.span, cells.width, cells.per_row,
        int(cells.pool), int(fixed), torch.get_num_threads(), cells.slope, EPS,
    )  # fmt: skip
    native.call(name, images.dtype, shape, images, *arguments)


class _NormPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, scale: Tensor, shift: Tensor, centre: Tensor | None, cells: Cells, size: Tensor
    ) -> tuple[Tensor, Tensor]:
        batch, channels, height, width = images.shape
        down = 2 if cells.pool else 1
        out = images.new_empty(batch, height // down, width // down, channels)
        where = torch.empty(out.shape, dtype=torch.uint8)
        moments = torch.empty(3, (batch // cells.span) * (channels // cells.width), dtype=torch.float64)
        mean, variance, rstd = moments.unbind()
        fixed = centre is not None
        if centre is not None:
            mean.copy_(centre.detach())
            moments[1:].fill_(1)
        _call("forward", images, cells, fixed, scale, shift, size, mean, rstd, variance, out, where)
        ctx.set_materialize_grads(False)
        ctx.cells, ctx.fixed = cells, fixed
        ctx.save_for_backward(images, scale, moments, where)
        taken = moments[:2].to(images.dtype, copy=True)
        if fixed:
            ctx.mark_non_differentiable(taken)
        return out.permute(0, 3, 1, 2), taken

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, grad_moments: Tensor | None) -> Any:
        images, scale, moments, where = ctx.saved_tensors
        if grad is None:
            grad = images.new_zeros(where.shape).permute(0, 3, 1, 2)
        grad = grad.contiguous(memory_format=torch.channels_last)
        arguments = (images, scale, grad, grad_moments, moments, where, ctx.cells, ctx.fixed)
        return (*_NormPoolBackward.apply(*arguments), None, None, None)  # type: ignore[no-untyped-call]


class _NormPoolBackward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        scale: Tensor,
        grad: Tensor,
        grad_moments: Tensor | None,
        moments: Tensor,
        where: Tensor,
        cells: Cells,
        fixed: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        # images are dense in the kernels' memory order, and so is what is like them
        grad_images, grad_scale, grad_shift = torch.empty_like(images), torch.empty_like(scale), torch.empty_like(scale)
        more = (None, None) if grad_moments is None else grad_moments.double().contiguous().unbind()
        mean, _, rstd = moments.unbind()
        _call(
            "backward", images, cells, fixed, scale, mean, rstd, where, grad, *more, grad_images, grad_scale, grad_shift
        )
        ctx.set_materialize_grads(False)
        ctx.cells, ctx.fixed = cells, fixed
        ctx.save_for_backward(images, scale, grad, more[1], moments, where)
        return grad_images, grad_scale, grad_shift

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, h_images: Tensor | None, h_scale: Tensor | None, h_shift: Tensor | None) -> Any:
        images, scale, grad, more_variance, moments, where = ctx.saved_tensors
        hx = torch.zeros_like(images) if h_images is None else h_images
        hx = hx.contiguous(memory_format=torch.channels_last)
        h_scale = torch.zeros_like(scale) if h_scale is None else h_scale.contiguous()
        h_shift = torch.zeros_like(scale) if h_shift is None else h_shift.contiguous()
        d_images, d_scale, d_grad = torch.empty_like(images), torch.empty_like(scale), torch.empty_like(grad)
        wanted = ctx.needs_input_grad[3]
        d_moments = torch.zeros_like(moments[:2]) if wanted else None
        d_each = (None, None) if d_moments is None else d_moments.unbind()
        mean, _, rstd = moments.unbind()
        _call(
            "backward_twice", images, ctx.cells, ctx.fixed, scale, mean, rstd, where, grad, more_variance,
            hx, h_scale, h_shift, d_images, d_scale, d_grad, *d_each,
        )  # fmt: skip
        return d_images, d_scale, d_grad, None if d_moments is None else d_moments.to(images.dtype), *[None] * 4

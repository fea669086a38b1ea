"""The first block of a network, convolution, norm, 2×2 max-pool and leaky ReLU, without its map at full size.

The convolution is a product ``P w`` of patches and kernels, and patches have few numbers. So the mean and the variance
of a channel are known from those of the patches, ``w · mean(P)`` and ``wᵀ cov(P) w``, and the normalisation is another
product, ``P (w · factor) + offset``, whose pooling needs no more memory than its result: ``patches.cpp``. The patches
are constants; in the kernels, scales and shifts first and second derivatives are exact. A third is refused by autograd.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from genmeta.core.batching import native

#: The patch of a kernel of this side is what ``patches.cpp`` reads at a time.
SIDE = 3


class Patched(NamedTuple):
    """Images as the patches of their pixels.

    Attributes:
        patches: ``[N*H*W K]``.
        images: ``N``.
        height: ``H``.
        width: ``W``.
    """

    patches: Tensor
    images: int
    height: int
    width: int


class _Pooling(ctypes.Structure):
    """``Pooling`` of ``patches.cpp``."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("images", "height", "width", "patch", "channels", "per_row")),
        ("threads", ctypes.c_int),
        ("slope", ctypes.c_double),
    ]


def cut(images: Tensor) -> Tensor:
    """Patches ``[N*H*W K]`` of 3×3 pixels around every pixel of images ``[N C H W]``, zeros outside."""
    images = images.detach().contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = images.shape
    out = images.new_empty(batch * height * width, channels * SIDE**2)
    _call("patches_cut", Patched(out, batch, height, width), 1, 1, 1.0, images, out)
    return out


def moments(patched: Patched, rows: int) -> tuple[Tensor, Tensor]:
    """Mean ``[R K]`` and covariance ``[R K K]`` of the patches of each of ``R`` rows of images, in float64."""
    length = patched.patches.shape[-1]
    mean = torch.empty(rows, length, dtype=torch.float64)
    covariance = torch.empty(rows, length, length, dtype=torch.float64)
    _call("patches_moments", patched, rows, 1, 1.0, patched.patches, mean, covariance)
    return mean, covariance


class Folded(NamedTuple):
    """A normalisation with the statistics of the images at hand.

    Attributes:
        mean: of the patches of each row of images that share statistics, ``[R K]``, float64.
        covariance: of them, ``[R K K]``, float64.
        width: channels that share statistics.
        eps: added to variances.
    """

    mean: Tensor
    covariance: Tensor
    width: int
    eps: float


def normalised(
    patched: Patched, kernels: Tensor, scale: Tensor, shift: Tensor, folded: Folded, slope: float
) -> tuple[Tensor, Tensor]:
    """``act(pool(scale · (P kernels − mean) / √(variance + ε) + shift))``.

    Args:
        patched: constants.
        kernels: ``[K C]``.
        scale: ``[S C]``; a row of images takes the one of its ``R / S`` rows.
        shift: like ``scale``.
        folded: whose statistics.
        slope: of the leaky ReLU.

    Returns:
        The result ``[N C H/2 W/2]``, channels-last, and mean and variance of every row and channel, ``[2 R C]``.
    """
    tensors = kernels.contiguous(), scale.contiguous(), shift.contiguous()
    out: tuple[Tensor, Tensor] = _Normalised.apply(*tensors, patched, folded, slope)  # type: ignore[no-untyped-call]
    return out


def pooled(patched: Patched, kernels: Tensor, offset: Tensor, slope: float) -> Tensor:
    """``act(pool(P kernels + offset))``, ``[N C H/2 W/2]``, channels-last.

    Args:
        patched: constants.
        kernels: ``[R K C]``; an image takes the row of its ``N / R`` images.
        offset: ``[R C]``.
        slope: of the leaky ReLU: 0 for ReLU, 1 for none.
    """
    out: Tensor = _Pooled.apply(kernels.contiguous(), offset.contiguous(), patched, slope)  # type: ignore[no-untyped-call]
    return out


def _call(name: str, patched: Patched, rows: int, channels: int, slope: float, *arguments: Tensor) -> None:
    images, height, width = patched[1:]
    length, threads = patched.patches.shape[-1], torch.get_num_threads()
    shape = _Pooling(images, height, width, length, channels, images // rows, threads, slope)
    native.call(name, patched.patches.dtype, shape, *arguments)


class _Folding(ctypes.Structure):
    """``Folding`` of ``patches.cpp``."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("rows", "patch", "channels", "width", "per_row")),
        ("eps", ctypes.c_double),
    ]


def _fold(name: str, folded: Folded, kernels: Tensor, scale: Tensor, *arguments: Tensor | None) -> None:
    (rows, length), (own, channels) = folded.mean.shape, scale.shape
    shape = _Folding(rows, length, channels, folded.width, rows // own, folded.eps)
    native.call(name, kernels.dtype, shape, folded.mean, folded.covariance, kernels, scale, *arguments)


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernels: Tensor, scale: Tensor, shift: Tensor, patched: Patched, folded: Folded, slope: float
    ) -> tuple[Tensor, Tensor]:
        (rows, length), channels = folded.mean.shape, scale.shape[1]
        product, offset = kernels.new_empty(rows, length, channels), kernels.new_empty(rows, channels)
        statistics = torch.empty(2, rows, channels, dtype=torch.float64)
        _fold("fold", folded, kernels, scale, shift, product, offset, *statistics.unbind())
        out = kernels.new_empty(patched.images, patched.height // 2, patched.width // 2, channels)
        where = torch.empty(out.shape, dtype=torch.uint8)
        _call("patches_forward", patched, rows, channels, slope, patched.patches, product, offset, out, where)
        ctx.set_materialize_grads(False)
        ctx.patched, ctx.folded, ctx.slope = patched, folded, slope
        ctx.save_for_backward(kernels, scale, where)
        return out.permute(0, 3, 1, 2), statistics.to(kernels.dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, grad_statistics: Tensor | None) -> Any:
        kernels, scale, where = ctx.saved_tensors
        if grad is None:
            grad = kernels.new_zeros(where.shape).permute(0, 3, 1, 2)
        grad = grad.contiguous(memory_format=torch.channels_last)
        arguments = (kernels, scale, grad, grad_statistics, where, ctx.patched, ctx.folded, ctx.slope)
        return (*_NormalisedBackward.apply(*arguments), None, None, None)  # type: ignore[no-untyped-call]


class _NormalisedBackward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kernels: Tensor,
        scale: Tensor,
        grad: Tensor,
        grad_statistics: Tensor | None,
        where: Tensor,
        patched: Patched,
        folded: Folded,
        slope: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        (rows, length), channels = folded.mean.shape, scale.shape[1]
        product, offset = kernels.new_empty(rows, length, channels), kernels.new_empty(rows, channels)
        _call("patches_backward", patched, rows, channels, slope, patched.patches, where, grad, product, offset)
        more = (None, None) if grad_statistics is None else grad_statistics.double().contiguous().unbind()
        d_kernels, d_scale, d_shift = torch.empty_like(kernels), torch.empty_like(scale), torch.empty_like(scale)
        _fold("fold_backward", folded, kernels, scale, product, offset, *more, d_kernels, d_scale, d_shift)
        ctx.set_materialize_grads(False)
        ctx.patched, ctx.folded, ctx.slope = patched, folded, slope
        ctx.save_for_backward(kernels, scale, product, offset, more[1], where)
        return d_kernels, d_scale, d_shift

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, h_kernels: Tensor | None, h_scale: Tensor | None, h_shift: Tensor | None) -> Any:
        kernels, scale, product, offset, more_spread, where = ctx.saved_tensors
        h_kernels = torch.zeros_like(kernels) if h_kernels is None else h_kernels.contiguous()
        h_scale = torch.zeros_like(scale) if h_scale is None else h_scale.contiguous()
        h_shift = torch.zeros_like(scale) if h_shift is None else h_shift.contiguous()
        d_product, d_offset = torch.empty_like(product), torch.empty_like(offset)
        d_kernels, d_scale, d_grad = torch.empty_like(kernels), torch.empty_like(scale), kernels.new_empty(where.shape)
        rows, channels = offset.shape
        d_statistics = None
        if ctx.needs_input_grad[3]:
            d_statistics = torch.empty(2, rows, channels, dtype=torch.float64)
        _fold(
            "fold_twice", ctx.folded, kernels, scale, product, offset, more_spread, h_kernels, h_scale, h_shift,
            d_product, d_offset, *((None, None) if d_statistics is None else d_statistics.unbind()), d_kernels, d_scale,
        )  # fmt: skip
        arguments = (ctx.patched.patches, d_product, d_offset, where, d_grad)
        _call("patches_at_maxima", ctx.patched, rows, channels, ctx.slope, *arguments)
        d_statistics = None if d_statistics is None else d_statistics.to(kernels.dtype)
        return d_kernels, d_scale, d_grad.permute(0, 3, 1, 2), d_statistics, *[None] * 4


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Tensor, offset: Tensor, patched: Patched, slope: float) -> Tensor:
        rows, channels = offset.shape
        out = kernels.new_empty(patched.images, patched.height // 2, patched.width // 2, channels)
        where = torch.empty(out.shape, dtype=torch.uint8)
        _call("patches_forward", patched, rows, channels, slope, patched.patches, kernels, offset, out, where)
        ctx.patched, ctx.slope, ctx.rows = patched, slope, rows
        ctx.save_for_backward(where)
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return *_to_kernels(ctx, grad), None, None


class _Sums(torch.autograd.Function):
    """Sums of a gradient ``[N C H/2 W/2]`` with the patches where the maxima were, ``[R K C]``, and alone."""

    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, where: Tensor, patched: Patched, slope: float, rows: int
    ) -> tuple[Tensor, Tensor]:
        channels = grad.shape[1]
        kernels, offset = grad.new_empty(rows, patched.patches.shape[-1], channels), grad.new_empty(rows, channels)
        _call("patches_backward", patched, rows, channels, slope, patched.patches, where, grad, kernels, offset)
        ctx.patched, ctx.slope = patched, slope
        ctx.save_for_backward(where)
        return kernels, offset

    @staticmethod
    def backward(ctx: Any, kernels: Tensor, offset: Tensor) -> Any:
        (where,) = ctx.saved_tensors
        arguments = (kernels.contiguous(), offset.contiguous(), where, ctx.patched, ctx.slope)
        return _AtMaxima.apply(*arguments), None, None, None, None  # type: ignore[no-untyped-call]


class _AtMaxima(torch.autograd.Function):
    """``P kernels + offset`` where the maxima were: the adjoint of :class:`_Sums`."""

    @staticmethod
    def forward(ctx: Any, kernels: Tensor, offset: Tensor, where: Tensor, patched: Patched, slope: float) -> Tensor:
        rows, channels = offset.shape
        out = kernels.new_empty(where.shape)
        _call("patches_at_maxima", patched, rows, channels, slope, patched.patches, kernels, offset, where, out)
        ctx.patched, ctx.slope, ctx.rows = patched, slope, rows
        ctx.save_for_backward(where)
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return *_to_kernels(ctx, grad), None, None, None


def _to_kernels(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients in kernels and offset of what was taken where the maxima were."""
    (where,) = ctx.saved_tensors
    grad = grad.contiguous(memory_format=torch.channels_last)
    out: tuple[Tensor, Tensor] = _Sums.apply(grad, where, ctx.patched, ctx.slope, ctx.rows)  # type: ignore[no-untyped-call]
    return out

"""The first block of a network, convolution, norm, 2×2 max-pool and leaky ReLU, without its map at full size.

The convolution is a product ``P w`` of patches and kernels, and patches have few numbers. So the mean and the variance
of a channel are known from those of the patches, ``w · mean(P)`` and ``wᵀ cov(P) w``, and the normalisation is another
product, ``P (w · factor) + offset``, whose pooling needs no more memory than its result: ``patches.cpp``. The patches
are constants; in the kernels, scales and shifts every derivative is exact and of any order.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor

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


def moments(patched: Patched) -> tuple[Tensor, Tensor]:
    """Mean ``[N K]`` and covariance ``[N K K]`` of each image's patches, in float64."""
    length = patched.patches.shape[-1]
    mean, covariance = (
        torch.empty(patched.images, *size, dtype=torch.float64) for size in ((length,), (length, length))
    )
    _call("patches_moments", patched, 1, 1, 1.0, patched.patches, mean, covariance)
    return mean, covariance


def together(mean: Tensor, covariance: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Mean ``[R K]`` and covariance ``[R K K]`` over the images of each of ``R`` rows, from those of the images."""
    mean, covariance = mean.unflatten(0, (rows, -1)), covariance.unflatten(0, (rows, -1))
    centre = mean.mean(1)
    off = mean - centre[:, None]
    return centre, covariance.mean(1) + off.transpose(1, 2) @ off / off.shape[1]


def channel_moments(kernels: Tensor, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance ``[R C]`` of ``P kernels`` for kernels ``[K C]``, from those of the patches of each row."""
    return mean @ kernels, ((covariance @ kernels) * kernels).sum(1)


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
        (where,) = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        return (*_Sums.apply(grad, where, ctx.patched, ctx.slope, ctx.rows), None, None)  # type: ignore[no-untyped-call]


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
        (where,) = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        return (*_Sums.apply(grad, where, ctx.patched, ctx.slope, ctx.rows), None, None, None)  # type: ignore[no-untyped-call]

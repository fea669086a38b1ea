"""3×3 convolution with less arithmetic than the sum has, on the compiled kernels, with exact derivatives of any order.

``winograd.cpp`` has the method. A convolution is linear in the images and in the kernels, and each of its gradients is
one of the same two operations, so two functions that name each other have every derivative.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from genmeta.core.batching import native
from genmeta.core.batching.native import LANES


def fits(images: Tensor, weight: Tensor, stride: int) -> bool:
    """Whether the kernels compute this convolution: 3×3, stride 1, channels that fill vectors."""
    return weight.shape[-2:] == (3, 3) and stride == 1 and weight.shape[-4] % LANES == weight.shape[-3] % LANES == 0


def convolve(images: Tensor, weight: Tensor) -> Tensor:
    """``[B C H W]`` with ``[O C 3 3]`` and a padding of 1, channels-last."""
    images = images.contiguous(memory_format=torch.channels_last)
    out: Tensor = _Convolve.apply(images, weight.contiguous())  # type: ignore[no-untyped-call]
    return out


class _Tiling(ctypes.Structure):
    """``Tiling`` of ``winograd.cpp``."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("images", "height", "width", "channels_in", "channels_out")),
        ("threads", ctypes.c_int),
        ("turned", ctypes.c_int),
    ]


def _call(name: str, images: Tensor, channels: int, turned: bool, *arguments: Tensor | None) -> None:
    batch, own, height, width = images.shape
    tiling = _Tiling(batch, height, width, own, channels, torch.get_num_threads(), turned)
    native.call(name, images.dtype, tiling, images, *arguments)


def _run(images: Tensor, weight: Tensor, turned: bool, more: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """``images * weight``, and ``+ more[0] * more[1]``; with kernels ``turned`` the gradient in the images."""
    batch, _, height, width = images.shape
    shape = batch, weight.shape[1 if turned else 0], height, width
    out = torch.empty(shape, dtype=images.dtype, memory_format=torch.channels_last)
    _call("convolve", images, shape[1], turned, weight, *(more or (None, None)), out)
    return out


def _kernel_gradient(images: Tensor, grad: Tensor) -> Tensor:
    out = images.new_empty(grad.shape[1], images.shape[1], 3, 3)
    _call("kernel_gradient", images, grad.shape[1], False, grad, out)
    return out


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(images, weight)
        return _run(images, weight, turned=False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        images, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        return _Gradients.apply(images, weight, grad, *ctx.needs_input_grad)  # type: ignore[no-untyped-call]


class _Gradients(torch.autograd.Function):
    """The gradients in the images and the kernels, those that are needed."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, grad: Tensor, in_images: bool, in_weight: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(images, weight, grad)
        d_images = _run(grad, weight, turned=True) if in_images else None
        return d_images, _kernel_gradient(images, grad) if in_weight else None

    @staticmethod
    def backward(ctx: Any, h_images: Tensor | None, h_weight: Tensor | None) -> Any:
        images, weight, grad = ctx.saved_tensors
        need_images, need_weight, need_grad = ctx.needs_input_grad[:3]
        if h_images is not None:
            h_images = h_images.contiguous(memory_format=torch.channels_last)
        if h_weight is not None:
            h_weight = h_weight.contiguous()
        if not torch.is_grad_enabled():
            return (*_second(images, weight, grad, h_images, h_weight, ctx.needs_input_grad), None, None)
        # a third derivative will be taken: the same from parts that have derivatives
        d_images = d_weight = None
        if need_images and h_weight is not None:
            d_images = _Gradients.apply(images, h_weight, grad, True, False)[0]  # type: ignore[no-untyped-call]
        if need_weight and h_images is not None:
            d_weight = _Gradients.apply(h_images, weight, grad, False, True)[1]  # type: ignore[no-untyped-call]
        pairs = [(h_images, weight), (images, h_weight)] if need_grad else []
        parts = [_Convolve.apply(x, w) for x, w in pairs if x is not None and w is not None]  # type: ignore[no-untyped-call]
        return d_images, d_weight, sum(parts) if parts else None, None, None


def _second(
    images: Tensor,
    weight: Tensor,
    grad: Tensor,
    h_images: Tensor | None,
    h_weight: Tensor | None,
    needed: tuple[bool, ...],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Derivatives of both gradients in direction ``h``, in the images, the kernels and the outputs' gradient."""
    d_images = d_weight = d_grad = None
    if needed[0] and h_weight is not None:
        d_images = _run(grad, h_weight, turned=True)
    if needed[1] and h_images is not None:
        d_weight = _kernel_gradient(h_images, grad)
    if needed[2] and h_weight is not None:
        d_grad = _run(images, h_weight, False, None if h_images is None else (h_images, weight))
    elif needed[2] and h_images is not None:
        d_grad = _run(h_images, weight, False)
    return d_images, d_weight, d_grad

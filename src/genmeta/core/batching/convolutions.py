"""Convolutions of the images of a batch of tasks, with kernels that are common to all tasks or written for each."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from genmeta.core.batching import native, winograd
from genmeta.core.batching.layers import Images
from genmeta.core.batching.paths import Operation, Path, always

#: Patches of one set of images, ``(kernel size, stride) -> [B*H'*W' C*k*k]``; filled as they are asked for. A learner
#: may keep what else depends on the images alone, under a name.
Patches = dict[tuple[int, int] | str, Tensor]

#: Up to this many numbers in a patch, one matrix product beats the convolution kernel on a CPU.
PATCH = 32


def conv2d(
    images: Images,
    weight: Tensor,
    n_tasks: int,
    stride: int = 1,
    patches: Patches | None = None,
    precision: torch.dtype | None = None,
) -> Images:
    """Convolution without bias, padding that keeps the size at stride 1.

    Args:
        images: ``[T*N C H W]``.
        weight: ``[O C k k]`` common, or ``[T O C k k]`` per task.
        n_tasks: ``T``.
        stride: in pixels.
        patches: those of these images that earlier calls have cut out, to be used again and added to. Pass it for
            images that come back, such as the first layer's in every inner step.
        precision: of the products, e.g. ``torch.bfloat16``; ``None`` for that of the images. What goes in and comes
            out, and every gradient, keeps its own precision.
    """
    if weight.ndim == 5 and n_tasks == 1:
        weight = weight[0]
    if precision is None:
        out: Tensor = CONV2D(images, weight, n_tasks, stride, patches)
        return out
    out = CONV2D(images.to(precision), weight.to(precision), n_tasks, stride, patches)
    return out.to(images.dtype)


def same_conv2d(images: Images, weight: Tensor, bias: Tensor, n_tasks: int, stride: int = 1) -> Images:
    """Convolution with a bias and TensorFlow's ``SAME`` padding, as converted weights expect: an odd pixel goes after.

    A weight with one input channel for images with many is a depthwise convolution, one kernel for each channel.

    Args:
        images: ``[T*N C H W]``.
        weight: ``[O C k k]`` or ``[C 1 k k]`` common; with a leading ``T`` per task.
        bias: ``[O]`` common, or ``[T O]`` per task.
        n_tasks: ``T``.
        stride: in pixels.
    """
    if (weight.ndim == 5 or bias.ndim == 2) and n_tasks > 1:
        each = zip(
            images.unflatten(0, (n_tasks, -1)),
            weight if weight.ndim == 5 else weight.expand(n_tasks, *weight.shape),
            bias if bias.ndim == 2 else bias.expand(n_tasks, -1),
            strict=True,
        )
        return torch.cat([same_conv2d(x, w, b, 1, stride) for x, w, b in each])
    weight, bias = weight[0] if weight.ndim == 5 else weight, bias[0] if bias.ndim == 2 else bias
    size = weight.shape[-1]
    total = [max((math.ceil(side / stride) - 1) * stride + size - side, 0) for side in images.shape[-2:]]
    before = [pixels // 2 for pixels in total]
    if any(pixels % 2 for pixels in total):
        after = [pixels - half for pixels, half in zip(total, before, strict=True)]
        images, before = F.pad(images, (before[1], after[1], before[0], after[0])), [0, 0]
    groups = images.shape[1] // weight.shape[1]
    return F.conv2d(images, weight, bias, stride, before, groups=groups)


def _native(images: Tensor, weight: Tensor, n_tasks: int, stride: int, patches: Patches | None) -> Tensor:
    """Torch's own convolution, with kernels that all tasks share."""
    return _channels_last(F.conv2d(images, weight, stride=stride, padding=weight.shape[-1] // 2))


def _as_product(images: Tensor, weight: Tensor, n_tasks: int, stride: int, patches: Patches | None) -> Tensor:
    """One matrix product of patches and kernels; fast where there are few input channels, grey images above all."""
    (batch, _, height, width), size = images.shape, weight.shape[-1]
    kept = {} if patches is None else patches
    if (size, stride) not in kept:
        columns = F.unfold(images, size, padding=size // 2, stride=stride).transpose(1, 2)
        kept[size, stride] = columns.reshape(-1, columns.shape[-1])
    out = kept[size, stride] @ weight.flatten(1).t()
    heights, widths = ((side + 2 * (size // 2) - size) // stride + 1 for side in (height, width))
    return out.view(batch, heights, widths, -1).permute(0, 3, 1, 2)


def _by_tiles(images: Tensor, weight: Tensor, n_tasks: int, stride: int, patches: Patches | None) -> Tensor:
    """Winograd's minimal filtering: a 3×3 convolution with a quarter of its multiplications and some additions."""
    return winograd.convolve(images, weight)


def _as_groups(images: Tensor, weight: Tensor, n_tasks: int, stride: int, patches: Patches | None) -> Tensor:
    """Tasks become groups of one convolution: a single kernel launch for all of them."""
    grouped = images.unflatten(0, (n_tasks, -1)).transpose(0, 1).flatten(1, 2)
    padding = weight.shape[-1] // 2
    out = F.conv2d(grouped, weight.flatten(0, 1), stride=stride, padding=padding, groups=n_tasks)
    return _channels_last(out.unflatten(1, (n_tasks, -1)).transpose(0, 1).flatten(0, 1))


def _one_by_one(images: Tensor, weight: Tensor, n_tasks: int, stride: int, patches: Patches | None) -> Tensor:
    """An ordinary convolution for each task: on CPUs faster than groups, and far faster than a function transform."""
    per_task = images.unflatten(0, (n_tasks, -1))
    return torch.cat([conv2d(per_task[t], weight[t], 1, stride) for t in range(n_tasks)])


def _common(images: Tensor, weight: Tensor, *_: object) -> bool:
    return weight.ndim == 4


def _tiled(images: Tensor, weight: Tensor, n_tasks: int, stride: int, *_: object) -> bool:
    return weight.ndim == 4 and winograd.fits(images, weight, stride)


def _compiled(images: Tensor, *_: object) -> bool:
    return native.usable(images)


def _written(images: Tensor, weight: Tensor, *_: object) -> bool:
    return weight.ndim == 5


def _off_cpu(images: Tensor, *_: object) -> bool:
    return images.device.type != "cpu"


def _small_patch_on_cpu(images: Tensor, weight: Tensor, *_: object) -> bool:
    return images.device.type == "cpu" and weight[0].numel() <= PATCH


def _channels_last(images: Images) -> Images:
    return images.contiguous(memory_format=torch.channels_last)


CONV2D = Operation(
    "conv2d",
    Path("one product", _common, _small_patch_on_cpu, _as_product),
    Path("tiles", _tiled, _compiled, _by_tiles),
    Path("common kernels", _common, always, _native),
    Path("tasks as groups", _written, _off_cpu, _as_groups),
    Path("task by task", _written, always, _one_by_one),
)

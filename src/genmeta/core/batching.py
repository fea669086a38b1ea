"""The one module that knows how a batch of tasks is computed.

Every layer takes images of ``T`` tasks laid flat, ``[T*N C H W]``, and weights that are either *common* to all tasks
(``[O C k k]``) or *written per task* (``[T O C k k]``). Common weights run once over all images; FiLM scales and
shifts are broadcast; only per-task kernels need more, and there a batch of one task (see ``tasks_per_chunk`` in
:mod:`genmeta.methods.meta_learner`) is again an ordinary convolution. The gradient of a sum of per-task losses with
respect to per-task weights is the stack of per-task gradients, so nothing else in the library needs a task loop,
and no function transform is involved: second derivatives are autograd's own.

Exactness is a law: ``tests/core/test_batching.py`` holds every path against a plain Python loop in float64.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "B C H W"]


def flat(images: Float[Tensor, "T N C H W"]) -> Images:
    """``[T N C H W] -> [T*N C H W]``, channels last in memory (the fast layout for every layer below)."""
    return images.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def conv2d(images: Images, weight: Tensor, n_tasks: int, stride: int = 1) -> Images:
    """Convolution without bias, padding that keeps the size at stride 1.

    Args:
        images: ``[T*N C H W]``.
        weight: ``[O C k k]`` common, or ``[T O C k k]`` per task.
        n_tasks: ``T``.
        stride: in pixels.
    """
    padding = weight.shape[-1] // 2
    if weight.ndim == 5 and n_tasks == 1:
        weight = weight[0]
    if weight.ndim == 4:
        if images.shape[1] == 1 and stride == 1:
            return _one_channel_conv(images, weight, padding)
        return _channels_last(F.conv2d(images, weight, stride=stride, padding=padding))
    per_task = images.unflatten(0, (n_tasks, -1))
    if images.is_cuda:
        # tasks become groups: one kernel launch for all of them
        grouped = per_task.transpose(0, 1).flatten(1, 2)
        out = F.conv2d(grouped, weight.flatten(0, 1), stride=stride, padding=padding, groups=n_tasks)
        return _channels_last(out.unflatten(1, (n_tasks, -1)).transpose(0, 1).flatten(0, 1))
    pieces = [conv2d(per_task[t], weight[t], 1, stride) for t in range(n_tasks)]
    return torch.cat(pieces)


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


def _one_channel_conv(images: Images, weight: Tensor, padding: int) -> Images:
    """A convolution of grey images as one matrix product: on CPUs several times faster than the convolution kernel."""
    batch, _, height, width = images.shape
    out_channels, _, size, _ = weight.shape
    columns = F.unfold(images, size, padding=padding).transpose(1, 2).reshape(-1, size * size)
    out = columns @ weight.reshape(out_channels, -1).t()
    out_height, out_width = height + 2 * padding - size + 1, width + 2 * padding - size + 1
    return out.view(batch, out_height, out_width, out_channels).permute(0, 3, 1, 2)


def _channels_last(images: Images) -> Images:
    return images.contiguous(memory_format=torch.channels_last)


def group_norm(images: Images, groups: int, scale: Tensor, shift: Tensor, n_tasks: int) -> Images:
    """Group normalisation, ``scale · (x − mean) / std + shift`` with mean and std of each image's channel group.

    Args:
        images: ``[T*N C H W]``.
        groups: number of channel groups.
        scale: ``[C]`` common, or ``[T C]`` per task. A FiLM generator writes these.
        shift: like ``scale``.
        n_tasks: ``T``.
    """
    if scale.ndim == 2 and n_tasks == 1:
        scale, shift = scale[0], shift[0]
    if scale.ndim == 1:
        out: Images = _GroupNorm.apply(images, scale, shift, groups)  # type: ignore[no-untyped-call]
        return out
    return modulate(F.group_norm(images, groups), scale, shift, n_tasks)


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


def modulate(images: Images, scale: Tensor, shift: Tensor, n_tasks: int) -> Images:
    """``scale · x + shift``, channel by channel and task by task."""
    per_task = images.unflatten(0, (n_tasks, -1))
    if scale.ndim == 1:
        scale, shift = scale[None], shift[None]
    return torch.addcmul(shift[:, None, :, None, None], per_task, scale[:, None, :, None, None]).flatten(0, 1)


def support_batch_norm(
    images: Images, statistics: tuple[Tensor, Tensor] | None, scale: Tensor, shift: Tensor, n_tasks: int
) -> tuple[Images, tuple[Tensor, Tensor]]:
    """Batch normalisation whose statistics are each task's own support set's, never the query's.

    Args:
        images: ``[T*N C H W]``.
        statistics: ``(mean, variance)``, each ``[T C]``, taken from a support pass; ``None`` to take them from
            ``images``, which then must be support images.
        scale: ``[C]`` or ``[T C]``.
        shift: like ``scale``.
        n_tasks: ``T``.

    Returns:
        The normalised images and the statistics that were used. Written from mean and rsqrt: the built-in batch norm
        has wrong second derivatives under function transforms, and this form has none to get wrong.
    """
    per_task = images.unflatten(0, (n_tasks, -1))
    if statistics is None:
        variance, mean = torch.var_mean(per_task, dim=(1, 3, 4), correction=0)
        statistics = (mean, variance)
    mean, variance = statistics
    factor = scale * torch.rsqrt(variance + 1e-5)
    return modulate(images, factor, shift - mean * factor, n_tasks), statistics


def linear(values: Float[Tensor, "T N D"], weight: Tensor, bias: Tensor) -> Float[Tensor, "T N O"]:
    """``x Wᵀ + b`` with ``weight`` ``[O D]`` or ``[T O D]`` and ``bias`` ``[O]`` or ``[T O]``."""
    if weight.ndim == 2:
        out = values @ weight.t()
    else:
        out = torch.bmm(values, weight.transpose(1, 2))
    return out + (bias if bias.ndim == 1 else bias[:, None, :])


def unit(features: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
    """Each feature vector centred and scaled to length 1.

    Features of a ReLU network are positive and may be of any length, which makes plain gradient steps on class rows
    blow up or crawl. With unit vectors the same step sizes suit every learner, and distances to prototypes lose
    next to nothing.
    """
    centred = features - features.mean(-1, keepdim=True)
    # the small constant keeps the derivative finite for an image without any features
    return centred * torch.rsqrt(centred.square().sum(-1, keepdim=True) + 1e-6)


def class_logits(features: Float[Tensor, "T N D"], rows: Float[Tensor, "T K R"]) -> Float[Tensor, "T N K"]:
    """Scores of each class: a row is ``D`` weights and a bias, ``logit = w · h + b``."""
    return torch.baddbmm(rows[:, None, :, -1], features, rows[:, :, :-1].transpose(1, 2))


def class_means(values: Float[Tensor, "T N D"], membership: Float[Tensor, "T N K"]) -> Float[Tensor, "T K D"]:
    """Mean of the values that belong to each class; zeros for a class without any."""
    total = membership.transpose(1, 2) @ values
    return total / membership.sum(1).clamp_min(1e-6)[..., None]


def mean_probabilities(outputs: Float[Tensor, "TS *N K"], n_tasks: int) -> Float[Tensor, "T *N K"]:
    """Logs of the mean probabilities of the samples of each task; with one sample the outputs as they are."""
    if outputs.shape[0] == n_tasks:
        return outputs
    each = torch.log_softmax(outputs, -1).unflatten(0, (n_tasks, -1))
    return torch.logsumexp(each, 1) - math.log(each.shape[1])


def mean_of_present(values: Float[Tensor, "T N D"], present: Float[Tensor, "T N 1"]) -> Float[Tensor, "T D"]:
    """Mean over the evidence that is there."""
    return (values * present).sum(1) / present.sum(1).clamp_min(1)


def repeat(tensor: Tensor, times: int) -> Tensor:
    """``[T ...] -> [T*S ...]``, each task ``S`` times in a row, so that samples ride along as further tasks."""
    return tensor if times == 1 else tensor.repeat_interleave(times, dim=0)

"""Flat images, rows and features of a batch of tasks: the layers that have one formulation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "B C H W"]


def flat(images: Float[Tensor, "T N C H W"]) -> Images:
    """``[T N C H W] -> [T*N C H W]``, channels last in memory (the fast layout for every layer below)."""
    return images.flatten(0, 1).contiguous(memory_format=torch.channels_last)


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
    # a layer norm divides by the root of the mean square. The small constant, 1e-6 in the sum of squares, keeps the
    # derivative finite for an image without any features
    length = features.shape[-1]
    normal = F.layer_norm(features, (length,), eps=1e-6 / length)
    unit: Tensor = normal * length**-0.5
    return unit


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

"""Steps on scales and shifts by the prototypes of the support set itself, with each image left out of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from genmeta.core.types import Weights

#: Cosines are multiplied by this before the softmax.
SHARPNESS = 10.0
#: (weights, number of a view of the support set) -> features of length 1, ``[T N D]``.
ViewFeatures = Callable[[Weights, int], Tensor]


def left_out_logits(
    prototypes: Float[Tensor, "T N D"], features: Float[Tensor, "T N D"], membership: Float[Tensor, "T N K"]
) -> Float[Tensor, "T N K"]:
    """``cos(f_n, μ_k) ``, where μ of an image's own class is the mean of the *other* images of that class.

    Args:
        prototypes: features that the class means are made of.
        features: features of the same images, in this or another view, that are classified.
        membership: classes. The only image of a class stays in its own mean: give two views then.
    """
    counts, total = membership.sum(1), membership.transpose(1, 2) @ prototypes
    means = F.normalize(total / counts.clamp_min(1e-6)[..., None], dim=-1)
    own_total, own_count = membership @ total, (membership @ counts[..., None])
    alone = own_count < 1.5
    own = torch.where(alone, prototypes, (own_total - prototypes) / (own_count - 1).clamp_min(1e-6))
    own_cosine = (features * F.normalize(own, dim=-1)).sum(-1, keepdim=True)
    cosines = features @ means.transpose(1, 2)
    return torch.where(membership > 0, own_cosine, cosines)


def lonely(membership: Float[Tensor, "T N K"]) -> Tensor:
    """``[T]`` whether some class of a task has one image, so that nothing is left where that image is left out."""
    return (membership.sum(1) < 1.5).any(1)


def support_loss(
    features: ViewFeatures, weights: Weights, step: int, views: int, membership: Tensor
) -> Float[Tensor, " T"]:
    """Cross-entropy of each support image against the prototypes of the others, in one view or across two.

    With one image in some class there are no others: then two views of the set classify each other.
    """
    targets, alone = membership.argmax(-1), lonely(membership)

    def loss(prototypes: Tensor, classified: Tensor) -> Tensor:
        logits = SHARPNESS * left_out_logits(prototypes, classified, membership)
        each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return each.view(targets.shape).mean(1)

    first = features(weights, step % views)
    if not alone.any():
        return loss(first, first)
    second = features(weights, (step + 1) % views)
    return torch.where(alone, (loss(first, second) + loss(second, first)) / 2, loss(first, first))


def prototype_steps(
    features: ViewFeatures,
    start: Weights,
    step_sizes: Weights,
    membership: Float[Tensor, "T N K"],
    *,
    steps: int,
    views: int,
    differentiable: bool,
) -> list[Weights]:
    """``θ_{j+1} = θ_j − α_t · g_t / rms(g_t)`` for each tensor ``t``, first order; the trajectory ``θ₀ … θ_steps``.

    The gradient of each tensor is brought to root mean square 1, so that α says how far its weights move whatever the
    loss. Shysheya et al., "FiT: parameter efficient few-shot transfer learning for personalized and federated image
    classification", 2022 (https://arxiv.org/abs/2206.08671), train FiLM on half-and-half splits of the support set;
    leaving one out uses every image both ways and needs no randomness.

    Args:
        features: of the views of the support images.
        start: θ₀, name -> ``[T *shape]``.
        step_sizes: name -> ``[T 1]``.
        membership: classes of the support images.
        steps: how many.
        views: how many views there are.
        differentiable: keep the graph to the start and the step sizes; the gradients themselves are numbers.
    """
    weights, trajectory = start, [start]
    for step in range(steps):
        with torch.enable_grad():
            at = {name: value.detach().requires_grad_() for name, value in weights.items()}
            total = support_loss(features, at, step, views, membership).sum()
            gradients = torch.autograd.grad(total, list(at.values()))
        moved: Weights = {}
        for (name, value), gradient in zip(weights.items(), gradients, strict=True):
            size = gradient.flatten(1).square().mean(1).sqrt().add(1e-12)
            direction = gradient / size.view(-1, *[1] * (gradient.ndim - 1))
            moved[name] = value - step_sizes[name] * direction
        weights = moved if differentiable else {name: value.detach() for name, value in moved.items()}
        trajectory.append(weights)
    return trajectory


__all__ = ["SHARPNESS", "left_out_logits", "lonely", "prototype_steps", "support_loss"]

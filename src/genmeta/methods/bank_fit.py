"""How the rows of a bank are found: regularised logistic regression, from zero, by a fixed number of steps.

``θ* = argmin Σ CE(W x̃ + b, y) / n + λ/2 ‖W‖²`` on features shifted and scaled by the same numbers for every task, by
accelerated gradient descent (Nesterov, 1983) with step ``1/L``. It always begins at zero and draws nothing at random,
so ``θ*`` is a function of the labelled features alone, and follows the order of the classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

#: Strengths of regularisation to choose from, for features of mean square 1.
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


class Scaling(NamedTuple):
    """``x̃ = (x − mean) / scale`` with ``scale² = E ‖x − mean‖²``, so that a feature vector has mean square 1."""

    mean: Float[Tensor, " D"]
    scale: Float[Tensor, ""]

    @classmethod
    def of(cls, features: Float[Tensor, "T N D"]) -> Scaling:
        """From the features of some tasks."""
        flat = features.flatten(0, 1)
        mean = flat.mean(0)
        return cls(mean, (flat - mean).square().sum(1).mean().sqrt().clamp_min(1e-6))


def fit_rows(
    features: Float[Tensor, "T N D"], shares: Float[Tensor, "T N K"], scaling: Scaling, penalty: float, steps: int
) -> Float[Tensor, "T K R"]:
    """Rows ``[T K D+1]`` of a logistic regression for each task.

    Args:
        features: of labelled locations: images, or places in them.
        shares: of the classes in each; of an image, 1 for its class. What has no label is in no class.
        scaling: of the features.
        penalty: ``λ``.
        steps: how many.
    """
    x = (features - scaling.mean) / scaling.scale
    x = torch.cat([x, x.new_ones(*x.shape[:2], 1)], -1)
    y = shares.to(x)
    mass = y.sum(-1, keepdim=True)
    x = x * (mass > 0)
    n = x.shape[1]
    # the Hessian of softmax is at most 1/2; the trace bounds the largest eigenvalue of the Gram matrix
    gram = x.transpose(1, 2) @ x / n if x.shape[2] <= n else x @ x.transpose(1, 2) / n
    lipschitz = 0.5 * torch.linalg.eigvalsh(gram)[:, -1] + penalty
    size = (1 / lipschitz)[:, None, None]
    decay = torch.full((x.shape[2],), penalty, dtype=x.dtype, device=x.device)
    decay[-1] = 0.0  # a bias is not a matter of size
    rows = ahead = x.new_zeros(x.shape[0], y.shape[2], x.shape[2])
    momentum = 1.0
    for _ in range(steps):
        error = mass * torch.softmax(x @ ahead.transpose(1, 2), -1) - y
        moved = ahead - size * (error.transpose(1, 2) @ x / n + decay * ahead)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = moved + (momentum - 1) / following * (moved - rows)
        rows, momentum = moved, following
    weights = rows[..., :-1] / scaling.scale
    bias = rows[..., -1] - weights @ scaling.mean
    return torch.cat([weights, bias[..., None]], -1)


def held_out_loss(features: Tensor, shares: Tensor, rows: Tensor) -> float:
    """Mean negative log-likelihood of ``shares`` in nats."""
    logits = features @ rows[..., :-1].transpose(1, 2) + rows[..., -1][:, None]
    return (-(shares * torch.log_softmax(logits, -1)).sum() / shares.sum().clamp_min(1e-6)).item()


def choose_penalty(features: Tensor, shares: Tensor, held_out: int, scaling: Scaling, steps: int) -> float:
    """The penalty of :data:`PENALTIES` under which rows best predict labels they were not fitted to.

    Best in log-likelihood, so the rows of the bank are as sure of themselves as they have reason to be: over- or
    under-confident rows would be a different target from the one that the query loss asks for.

    Args:
        features: ``[T N D]``; the last ``held_out`` of each task are predicted, the others fitted.
        shares: ``[T N K]``.
        held_out: how many.
        scaling: of the features.
        steps: of each fit.
    """
    losses = {}
    for penalty in PENALTIES:
        rows = fit_rows(features[:, :-held_out], shares[:, :-held_out], scaling, penalty, steps)
        losses[penalty] = held_out_loss(features[:, -held_out:], shares[:, -held_out:], rows)
    return min(losses, key=lambda penalty: losses[penalty])

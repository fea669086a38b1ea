"""Stein variational gradient descent: particles of a task move together, pulled by the loss, pushed apart by a kernel.

Liu and Wang, "Stein variational gradient descent: a general purpose Bayesian inference algorithm", 2016
(https://arxiv.org/abs/1608.04471); inside a meta-learner: Yoon et al., "Bayesian model-agnostic meta-learning", 2018
(https://arxiv.org/abs/1806.03836).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from genmeta.adapters.base import Adapter, SupportLoss
from genmeta.core.errors import UsageError
from genmeta.core.types import Start, Weights


@dataclass(frozen=True)
class SVGDAdapter(Adapter):
    """``θ_m ← θ_m + α ⊙ 1/M Σ_j [ −k(θ_j, θ_m) ∇L_S(θ_j) + ρ ∇_{θ_j} k(θ_j, θ_m) ]`` for the ``M`` draws of each task.

    ``k`` is the kernel of :func:`rbf_kernel` over all adapted weights of a particle together. With one particle this
    is gradient descent. Deviations: ``L_S`` is a mean over ``N`` examples, so the posterior's own repulsion is
    ``ρ = 1/N`` (times the prior's missing gradient: the learned start stands for the prior); the bandwidth counts as a
    constant when the trajectory is differentiated.

    Attributes:
        repulsion: ρ.
        first_order: treat the support gradients as constants when the trajectory is differentiated.
    """

    repulsion: float = 1.0
    first_order: bool = False

    def __post_init__(self) -> None:
        if self.repulsion < 0:
            raise UsageError(f"repulsion pushes particles apart and must be 0 or more, got {self.repulsion}.")

    def adapt(self, start: Start, loss: SupportLoss, steps: int, *, differentiable: bool) -> list[Weights]:
        second_order = differentiable and not self.first_order
        weights, trajectory = start.weights, [start.weights]
        for _ in range(steps):
            at = {name: weights[name] for name in start.step_sizes}
            with torch.enable_grad():
                if second_order:
                    # views, lest a tensor that was computed from another lend it a second way to the loss
                    at = {n: v.view_as(v) if v.requires_grad else v.detach().requires_grad_() for n, v in at.items()}
                    inputs = at
                else:
                    inputs = {name: value.detach().requires_grad_() for name, value in at.items()}
                total = loss({**weights, **inputs}).sum()
                gradients = torch.autograd.grad(
                    total, list(inputs.values()), create_graph=second_order, allow_unused=True
                )
            used = {name: g for name, g in zip(at, gradients, strict=True) if g is not None}
            moved = {}
            if used:
                with torch.set_grad_enabled(differentiable):
                    particles = _joined({name: at[name] for name in used}, start.samples)
                    direction = svgd_direction(particles, _joined(used, start.samples), self.repulsion)
                    pieces = direction.flatten(0, 1).split([value[0].numel() for value in used.values()], 1)
                    for (name, value), piece in zip(used.items(), pieces, strict=True):
                        moved[name] = weights[name] + start.step_sizes[name] * piece.reshape(value.shape)
            weights = {**weights, **moved}
            if not differentiable:
                weights = {name: value.detach() for name, value in weights.items()}
            trajectory.append(weights)
        return trajectory


def rbf_kernel(particles: Float[Tensor, "T M P"]) -> tuple[Float[Tensor, "T M M"], Float[Tensor, " T"]]:
    """``k(x, y) = exp(−‖x − y‖² / h)`` among the particles of a task, and ``h = median ‖x − y‖² / log(M + 1)``.

    The median runs over different particles, task by task; ``M + 1``, as in the authors' code, serves one particle too.
    """
    count = particles.shape[1]
    centred = particles - particles.mean(1, keepdim=True)  # distances are the same, rounding is not
    squares = centred.square().sum(-1)
    distances = (squares[:, :, None] + squares[:, None, :] - 2 * centred @ centred.transpose(1, 2)).clamp_min(0)
    rows, columns = torch.triu_indices(count, count, 1, device=particles.device)
    if count == 1:
        bandwidth = torch.ones_like(squares[:, 0])
    else:
        bandwidth = distances.detach()[:, rows, columns].median(1).values / math.log(count + 1)
    bandwidth = bandwidth.clamp_min(1e-10)
    return torch.exp(-distances / bandwidth[:, None, None]), bandwidth


def svgd_direction(
    particles: Float[Tensor, "T M P"], gradients: Float[Tensor, "T M P"], repulsion: float = 1.0
) -> Float[Tensor, "T M P"]:
    """``φ(θ_m) = 1/M Σ_j [ −k(θ_j, θ_m) g_j + ρ ∇_{θ_j} k(θ_j, θ_m) ]``, where to move each particle.

    Args:
        particles: ``θ``.
        gradients: ``g``, of the loss (the negative logarithm of the target density) at each particle.
        repulsion: ρ.
    """
    kernel, bandwidth = rbf_kernel(particles)
    attraction = -kernel @ gradients
    apart = (2 / bandwidth)[:, None, None] * (kernel.sum(-1, keepdim=True) * particles - kernel @ particles)
    return (attraction + repulsion * apart) / particles.shape[1]


def _joined(tensors: Weights, samples: int) -> Tensor:
    """Name -> ``[T*M ...]`` to one vector per particle, ``[T M P]``."""
    return torch.cat([value.flatten(1) for value in tensors.values()], 1).unflatten(0, (-1, samples))

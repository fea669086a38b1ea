"""Steps on a latent code first, then on the weights that were decoded from it.

Rusu et al., "Meta-learning with latent embedding optimization", 2019 (https://arxiv.org/abs/1807.05960).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from genmeta.adapters.base import Adapter, SupportLoss
from genmeta.adapters.gradient import GradientAdapter
from genmeta.core.types import Start, Weights


@dataclass(frozen=True)
class LatentAdapter(Adapter):
    """``z_{j+1} = z_j − α_z ∇_z [L_S(decode(z_j)) + penalty(z_j)]``, then ``θ_{j+1} = θ_j − α ∇_θ L_S(θ_j)``.

    Where several draws of the weights share a code, as the draws of one Gaussian share its mean, the code follows the
    mean of their losses.

    Attributes:
        latent_steps: how many steps move the code; the rest move the weights. ``None``: all move the code.
        inner: the rule of a step.
    """

    latent_steps: int | None = None
    inner: GradientAdapter = field(default_factory=GradientAdapter)

    def adapt(self, start: Start, loss: SupportLoss, steps: int, *, differentiable: bool) -> list[Weights]:
        latent = start.latent
        if latent is None:
            raise TypeError("steps on a latent need a start that has one")  # a recipe put the wrong parts together
        weights, trajectory = start.weights, [start.weights]
        on_codes = steps if self.latent_steps is None else min(steps, self.latent_steps)
        for step in range(on_codes):
            codes = {name: weights[name] for name in latent.names}

            def objective(at: Weights, weights: Weights = weights, step: int = step) -> Tensor:
                losses = loss({**weights, **latent.decode(at, step)})
                n_codes = next(iter(at.values())).shape[0]
                total = losses.unflatten(0, (n_codes, -1)).mean(1)
                return total if latent.penalty is None else total + latent.penalty(at)

            moved = Start(codes, latent.step_sizes, start.cost)
            codes = self.inner.adapt(moved, objective, 1, differentiable=differentiable)[-1]
            weights = {**weights, **codes, **latent.decode(codes, step + 1)}
            trajectory.append(weights)
        if steps > on_codes:
            rest = start._replace(weights=weights, latent=None)
            trajectory += self.inner.adapt(rest, loss, steps - on_codes, differentiable=differentiable)[1:]
        return trajectory

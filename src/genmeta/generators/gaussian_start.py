"""A Gaussian over the start whose mean and spread are learned, and which adaptation moves as a whole.

Ravi and Beatson, "Amortized Bayesian meta-learning", 2019 (https://openreview.net/forum?id=rkgpy3C5tX).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genmeta.core import batching
from genmeta.core.randomness import forked, normal
from genmeta.core.spec import ParamSpec
from genmeta.core.types import ROWS, Context, Latent, Start, Weights
from genmeta.generators.base import StartWriter
from genmeta.generators.vae import gaussian_kl

MEAN, LOG_SIGMA = "mean.", "log_sigma."


class GaussianStart(StartWriter):
    """``λ₀ = (μ, log σ)``, ``θ = μ + σ ⊙ ε``; adaptation moves ``λ`` down ``E_{q_λ} L_S + β KL(q_λ ‖ q_λ₀)``.

    ``μ`` is the base, ``log σ`` learned per coordinate (one row for all classes). The expectation is over the ``S``
    draws of a task, with fresh noise at every step. In meta-training ``β KL(q_λk ‖ q_λ₀)`` joins the query loss.
    Deviations: ``β`` is free, where the evidence lower bound of a mean loss over ``N`` examples has ``1/N``; the step
    size of ``μ`` is ``α / (1 + |α| β / σ₀²)``, plain ``α`` where ``β`` is small, lest a step overshoot the divergence;
    the query loss leaves the support set out; no hyper-prior over ``λ₀``.

    Args:
        spec: the written weights.
        sigma: initial ``σ`` of shared tensors, in units of a tensor's initial spread.
        row_sigma: initial ``σ`` of rows.
        kl_weight: ``β``.
        moves: what adaptation moves: ``gaussian``, the mean and spread that all draws share, or ``draws``, each draw on
            its own, as in Finn, Xu, Levine, "Probabilistic model-agnostic meta-learning" (PLATIPUS), 2018
            (https://arxiv.org/abs/1806.02817). There the spread is fitted by the query likelihood of the averaged
            draws alone, in place of that paper's divergence from a Gaussian that has seen the query set, and the mean
            takes no gradient step before draws are made.
    """

    def __init__(
        self, spec: ParamSpec, sigma: float, row_sigma: float, kl_weight: float, moves: str = "gaussian"
    ) -> None:
        super().__init__()
        self.kl_weight, self.moves = kl_weight, moves
        self.names = [*(name for name, _ in spec.shared), ROWS]
        initial = []
        for _, shape in spec.shared:
            size = torch.Size(shape)
            unit = 1.0 if len(size) == 1 else (2.0 / size[1:].numel()) ** 0.5
            initial.append(torch.full(size, sigma * unit).log())
        initial.append(torch.full((spec.row_length,), row_sigma).log())
        self.log_sigmas = nn.ParameterList(initial)

    def forward(self, start: Start, context: Context | None, rng: torch.Generator) -> Start:
        samples = start.samples
        fork = forked(rng)
        codes: Weights = {}
        for name, log_sigma in zip(self.names, self.log_sigmas, strict=True):
            mean = start.weights[name][::samples]  # the base is the same for every draw of a task
            codes[MEAN + name] = mean
            codes[LOG_SIGMA + name] = log_sigma.expand_as(mean)

        def decode(at: Weights, step: int) -> Weights:
            noise = fork(step)
            weights = {}
            for name in self.names:
                mean, log_sigma = (batching.repeat(at[part + name], samples) for part in (MEAN, LOG_SIGMA))
                weights[name] = mean + log_sigma.exp() * normal(mean.shape, mean, noise)
            return weights

        if self.moves == "draws":
            return start._replace(weights=decode(codes, 0))

        def divergence(at: Weights) -> Tensor:
            each = []
            for name in self.names:
                now, before = ((c[MEAN + name], c[LOG_SIGMA + name]) for c in (at, codes))
                each.append(gaussian_kl(now, before).flatten(1).sum(1))
            return self.kl_weight * torch.stack(each).sum(0)

        def cost(at: Weights) -> Tensor:
            return batching.repeat(divergence(at), samples)

        step_sizes = {}
        for name, log_sigma in zip(self.names, self.log_sigmas, strict=True):
            alpha = start.step_sizes[name]
            step_sizes[LOG_SIGMA + name] = alpha
            # the divergence bends by β / σ² along a mean: a narrow Gaussian must not be thrown out of its own width
            step_sizes[MEAN + name] = alpha / (1 + alpha.abs() * self.kl_weight * (-2 * log_sigma).exp())
        latent = Latent(tuple(codes), decode, step_sizes, divergence, cost)
        return start._replace(weights={**codes, **decode(codes, 0)}, latent=latent)

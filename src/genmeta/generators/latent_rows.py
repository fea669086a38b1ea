"""Rows decoded from a latent code of each class, with adaptation in the space of codes.

Rusu, Rao, Sygnowski, Vinyals, Pascanu, Osindero and Hadsell, "Meta-learning with latent embedding optimization" (LEO),
2019 (https://arxiv.org/abs/1807.05960).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genmeta.core.randomness import forked, normal
from genmeta.core.types import ROWS, Context, Latent, Start, Weights
from genmeta.generators.base import StartWriter
from genmeta.generators.vae import gaussian_kl

CODE = "latent.z"


class LatentRows(StartWriter):
    """``z_k ~ N(μ_k, σ_k²)``, ``row_k ~ base_k + s N(μ_d(z_k), σ_d(z_k)²)``, ``(μ_d, log σ_d) = z W_d``.

    Cost: ``β KL(q(z | S) ‖ N(0, I)) / n_z + γ ‖sg(z') − z‖² / n_z + ω ‖corr(W_d) − I‖² / n_z²``, means over classes,
    with ``z'`` the adapted code. In evaluation mode ``z = μ`` and rows are decoder means, as in the authors' code.
    Deviations: rows correct a base (``row_base = constant`` leaves it out) with a learned scale ``s``; no dropout, no
    ``L2`` penalty (weight decay is the optimiser's).

    Args:
        code: ``n_z``; the class context holds ``μ`` and ``log σ``, ``2 n_z`` numbers.
        row_length: ``R``.
        latent_lr: step size on codes, learned, times the number of classes as with rows.
        kl_weight: ``β``.
        encoder_weight: ``γ``: pulls the encoder towards where adaptation went.
        orthogonality: ``ω``.
        scale: ``s`` before training.
    """

    def __init__(
        self,
        code: int,
        row_length: int,
        latent_lr: float,
        kl_weight: float,
        encoder_weight: float,
        orthogonality: float,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.kl_weight, self.encoder_weight, self.orthogonality = kl_weight, encoder_weight, orthogonality
        self.decoder = nn.Linear(code, 2 * row_length, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.log_sigma = nn.Parameter(torch.tensor(-2.0))
        self.alpha = nn.Parameter(torch.tensor(float(latent_lr)))

    def forward(self, start: Start, context: Context | None, rng: torch.Generator) -> Start:
        if context is None or context.classes is None:
            raise TypeError("latent rows need the context of a labelled support set")
        mean, log_std = context.classes.chunk(2, -1)
        fork = forked(rng)
        z, base, training = mean, start.weights[ROWS], self.training
        if training:
            z = mean + log_std.exp() * normal(mean.shape, mean, fork("code"))

        def decode(at: Weights, step: int) -> Weights:
            row, log_sigma = self.decoder(at[CODE]).chunk(2, -1)
            if training:
                noise = normal(row.shape, row, fork(step))
                row = row + (self.log_sigma + log_sigma).exp() * noise
            return {ROWS: base + self.log_scale.exp() * row}

        def cost(at: Weights) -> Tensor:
            return self.encoder_weight * (at[CODE].detach() - z).square().mean((1, 2))

        zero = torch.zeros_like(mean)
        divergence = gaussian_kl((mean, log_std), (zero, zero)).mean((1, 2))
        own = self.kl_weight * divergence + self.orthogonality * self.correlation()
        latent = Latent((CODE,), decode, {CODE: self.alpha * base.shape[1]}, None, cost)
        weights = {**start.weights, CODE: z}
        return start._replace(weights={**weights, **decode(weights, 0)}, cost=start.cost + own, latent=latent)

    def correlation(self) -> Tensor:
        """Mean square of ``corr(W_d) − I``: how far the directions that the codes stand for are from orthogonal."""
        directions = nn.functional.normalize(self.decoder.weight.t(), dim=1)
        identity = torch.eye(len(directions), dtype=directions.dtype, device=directions.device)
        return (directions @ directions.t() - identity).square().mean()

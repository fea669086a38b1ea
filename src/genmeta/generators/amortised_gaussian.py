"""An amortised Gaussian: a network reads the context and writes mean and spread of every weight.

Gordon, Bronskill, Bauer, Nowozin and Turner, "Meta-learning probabilistic inference for prediction" (VERSA), 2019
(https://arxiv.org/abs/1805.09921).
"""

from __future__ import annotations

import torch
from torch import Tensor

from genmeta.core.randomness import normal
from genmeta.generators.base import ParameterGenerator, Written
from genmeta.generators.hypernet import HyperNetwork
from genmeta.generators.vae import gaussian_kl


class AmortisedGaussian(ParameterGenerator):
    """``w ~ q(w | c) = N(μ(c), σ(c)²)``, coordinates independent; cost ``β Σ_p max(KL(q_p ‖ N(0, 1)), free_bits)``.

    Training by the likelihood of the query set alone, as VERSA does (``kl_weight = 0``), lets σ collapse; a small
    ``β`` with free bits keeps some spread. The prior is standard normal in the *standardised* coordinates.
    Deviation: one two-layer network, by chunks where there are many weights, instead of one for each of mean and
    variance of weights and biases.

    Args:
        context_size: ``C``.
        length: ``P``.
        hidden: width of the hidden layers.
        chunk: weights per chunk where chunks are needed.
        kl_weight: ``β``.
        free_bits: nats per weight that are not worth saving (Kingma et al., 2016, https://arxiv.org/abs/1606.04934).
        log_sigma: ``log σ`` before training.
    """

    def __init__(
        self,
        context_size: int,
        length: int,
        hidden: int = 256,
        chunk: int = 1024,
        kl_weight: float = 1e-3,
        free_bits: float = 0.1,
        log_sigma: float = -1.0,
    ) -> None:
        super().__init__(context_size, length)
        self.kl_weight, self.free_bits, self.log_sigma = kl_weight, free_bits, log_sigma
        self.network = HyperNetwork(context_size, 2 * length, hidden, chunk, penalty=0.0)

    def moments(self, context: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """``μ`` and ``log σ``, each ``[B P]``; the network itself draws nothing from ``rng``."""
        mean, rho = self.network(context, rng).values.chunk(2, -1)
        return mean, (self.log_sigma + rho).clamp(-10.0, 5.0)

    def forward(self, context: Tensor, rng: torch.Generator) -> Written:
        mean, log_sigma = self.moments(context, rng)
        zero = torch.zeros_like(mean)
        cost = self.kl_weight * gaussian_kl((mean, log_sigma), (zero, zero)).clamp_min(self.free_bits).sum(-1)
        return Written(mean + log_sigma.exp() * normal(mean.shape, mean, rng), cost)

"""A conditional variational autoencoder of weights: latent code, prior from the context, decoder.

Kingma and Welling, "Auto-encoding variational Bayes", 2014 (https://arxiv.org/abs/1312.6114); conditional prior: Sohn,
Lee and Yan, "Learning structured output representation using deep conditional generative models", 2015. Over weights
of tasks: the first stage of Soro et al., "Diffusion-based neural network weights generation" (D2NWG), 2025
(https://arxiv.org/abs/2402.18153). Nearest few-shot method: Rusu et al., "LEO", 2019 (https://arxiv.org/abs/1807.05960).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genmeta.core.randomness import normal
from genmeta.generators.base import Gradient
from genmeta.generators.standardised import FittedGenerator, perceptron


class VariationalGenerator(FittedGenerator):
    """``z ~ p(z | c) = N(μ_p, σ_p²)``, ``u ~ p(u | z, c) = N(decode(z, c), σ²)``; fitted through ``q(z | u, c)``.

    ``fit`` is the negative evidence lower bound in nats:
    ``−E_{q(z|u,c)} log p(u | z, c) + Σ_d max(KL(q_d ‖ p_d), free_bits)``.
    ``draw`` goes through the prior, so that a query loss trains prior and decoder together.

    Args:
        context_size: ``C``.
        length: ``P``.
        latent: length of ``z``.
        hidden: width of the hidden layers.
        free_bits: nats per latent coordinate that are not worth saving; against posterior collapse (Kingma et al.,
            2016, https://arxiv.org/abs/1606.04934).
        temperature: spread of ``z`` in evaluation, in units of the prior's; 0 decodes the prior's mean.
        decoder_noise: share of the decoder's own noise ``σ`` in a draw. By default draws are decoder means, as usual
            with images: the noise of weights that the latent code leaves unexplained only blurs a classifier.
    """

    def __init__(
        self,
        context_size: int,
        length: int,
        latent: int = 32,
        hidden: int = 256,
        free_bits: float = 0.02,
        temperature: float = 1.0,
        decoder_noise: float = 0.0,
    ) -> None:
        super().__init__(context_size, length)
        self.free_bits, self.temperature, self.decoder_noise = free_bits, temperature, decoder_noise
        self.prior = perceptron(context_size, hidden, 2 * latent, last_scale=0.1)
        self.encoder = perceptron(length + context_size, hidden, 2 * latent, last_scale=0.1)
        self.decoder = perceptron(latent + context_size, hidden, length, last_scale=0.1)
        self.log_std = nn.Parameter(torch.zeros(()))

    def fit(
        self, standardised: Tensor, context: Tensor, rng: torch.Generator, gradient: Gradient = torch.zeros_like
    ) -> Tensor:
        posterior = self.encoder(torch.cat([standardised, context], -1)).chunk(2, -1)
        z = _sample(posterior, normal(posterior[0].shape, context, rng))
        kl = gaussian_kl(posterior, self.prior(context).chunk(2, -1)).clamp_min(self.free_bits).sum(-1)
        log_std = self.log_std.clamp_min(-3.0)  # a vanishing σ would let reconstruction outshout everything else
        error = (standardised - self._decode(z, context)) * (-log_std).exp()
        reconstruction = 0.5 * error.square() + log_std + 0.5 * math.log(2 * math.pi)
        return reconstruction.sum(-1) + kl

    def draw(self, context: Tensor, rng: torch.Generator) -> Tensor:
        prior = self.prior(context).chunk(2, -1)
        noise = normal(prior[0].shape, context, rng)
        z = _sample(prior, noise if self.training else self.temperature * noise)
        u = self._decode(z, context)
        if self.decoder_noise:
            u = u + self.decoder_noise * self.log_std.exp() * normal(u.shape, context, rng)
        return u

    def _decode(self, z: Tensor, context: Tensor) -> Tensor:
        return self.decoder(torch.cat([z, context], -1))


#: Mean and logarithm of the standard deviation.
Gaussian = tuple[Tensor, ...]


def _sample(gaussian: Gaussian, noise: Tensor) -> Tensor:
    mean, log_std = gaussian
    return mean + log_std.exp() * noise


def gaussian_kl(first: Gaussian, second: Gaussian) -> Tensor:
    """``KL(N(μ₁, σ₁²) ‖ N(μ₂, σ₂²))`` of each coordinate, in nats; arguments are ``(mean, log std)``."""
    (mean, log_std), (other, other_log_std) = first, second
    ratio = (2 * (log_std - other_log_std)).exp()
    shift = ((mean - other) * (-other_log_std).exp()).square()
    return 0.5 * (ratio + shift - 1) - (log_std - other_log_std)

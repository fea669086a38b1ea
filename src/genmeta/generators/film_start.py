"""A FiLM start and step sizes from a support set: a few directions, mixed by what the support images look like."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmeta.core import batching
from genmeta.core.spec import ParamSpec
from genmeta.core.types import Weights


class WrittenStart(NamedTuple):
    """What is written for a batch of tasks.

    Attributes:
        corrections: name -> ``[T *shape]``, to be added to the base.
        step_sizes: name -> ``[T 1]``, one for each tensor.
        sharpness: ``[T S]``, corrections to the logarithms of the heads' sharpness.
    """

    corrections: Weights
    step_sizes: Weights
    sharpness: Tensor


class FiLMStartGenerator(nn.Module):
    """``z = E(support)``, ``Δθ = B z``, ``α = exp(a + C z)``; ``B`` and ``C`` begin at zero: it begins as a constant.

    The support set is described by the mean and the spread of its class prototypes under the pretrained network, the
    numbers of classes and shots, and how far apart and how tight the classes are. ``B`` has few columns, for sets of
    one domain are many, but domains are few: a small FiLM dictionary, as in Triantafillou et al., "Learning a universal
    template for few-shot dataset generalization" (FLUTE), 2021 (https://arxiv.org/abs/2105.07029), with an encoder in
    the place of a classifier of data sets.

    Args:
        feature_size: ``D``.
        spec: the tensors that are written.
        hidden: width of the encoder.
        directions: columns of ``B``; 0 writes the constant alone.
        alpha: step size before training.
        heads: how many numbers ``S`` of sharpness are corrected.
    """

    def __init__(
        self, feature_size: int, spec: ParamSpec, hidden: int, directions: int, alpha: float, heads: int
    ) -> None:
        super().__init__()
        self.spec, self.directions, self.heads = spec, directions, heads
        self.log_alpha = nn.Parameter(torch.full((len(spec.shared),), math.log(alpha)))
        if directions:
            self.read = nn.Sequential(nn.LayerNorm(2 * feature_size), nn.Linear(2 * feature_size, hidden))
            self.numbers = nn.Linear(4, hidden)
            self.mix = nn.Sequential(nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, directions))
            self.film = nn.Parameter(torch.zeros(spec.shared_length, directions))
            self.steps = nn.Parameter(torch.zeros(len(spec.shared), directions))
            self.trust = nn.Parameter(torch.zeros(heads, directions))

    def forward(self, features: Float[Tensor, "T N D"], membership: Float[Tensor, "T N K"]) -> WrittenStart:
        """Writes from the pretrained features of length 1 of the support images and their classes."""
        log_alpha = self.log_alpha.expand(features.shape[0], -1)
        corrections: Weights = {}
        sharpness = features.new_zeros(features.shape[0], self.heads)
        if self.directions:
            mixture = self.mixture(features, membership)
            corrections = self.spec.split(mixture @ self.film.t())
            log_alpha = log_alpha + mixture @ self.steps.t()
            sharpness = mixture @ self.trust.t()
        names = [name for name, _ in self.spec.shared]
        alpha = dict(zip(names, log_alpha.exp()[..., None].unbind(1), strict=True))
        return WrittenStart(corrections, alpha, sharpness)

    def mixture(self, features: Tensor, membership: Tensor) -> Float[Tensor, "T R"]:
        """``z``: how much of each direction."""
        means = batching.class_means(features, membership)
        spread = means.var(1, correction=0).clamp_min(1e-12).sqrt()
        apart = (means - means.mean(1, keepdim=True)).square().sum(-1).mean(1)
        tight = (features - membership @ means).square().sum(-1).mean(1)
        ways, shots = means.shape[1], features.shape[1] / means.shape[1]
        size = features.new_tensor([math.log(ways), math.log(shots)]).expand(len(features), -1)
        numbers = torch.cat([size, apart[:, None], tight[:, None]], 1)
        described = self.read(torch.cat([means.mean(1), spread], 1)) + self.numbers(numbers)
        mixture: Tensor = self.mix(described)
        return mixture

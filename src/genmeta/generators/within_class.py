"""Rows in the metric of how images scatter around their class's mean, which later sessions of classes can keep."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genmeta.core import batching
from genmeta.core.types import Tokens
from genmeta.generators.row_bases import RowBase, memberships


class WithinClassRow(RowBase):
    """``w_k = 2 τ P μ_k``, ``b_k = −τ μ_kᵀ P μ_k``, ``P ∝ (S / mean S_dd + λ D / n I)⁻¹``: class means in a metric.

    ``S`` is the covariance within classes, pooled over them, ``n`` its degrees of freedom; the diagonal of ``P`` has
    mean 1. Fisher's discriminant, shrunk as in Goswami, Liu, Twardowski and van de Weijer, "FeCAM: Exploiting the
    heterogeneity of class distributions in exemplar-free continual learning", 2023 (https://arxiv.org/abs/2309.14062).
    Deviations: one metric for all classes, without which no row could hold a class; ``λ`` and ``τ`` are learned, and
    the shrinkage fades with ``n``, so that a ``λ`` learned on few images serves many. With one image a class nothing
    scatters, and these are the rows of :class:`~genmeta.generators.PrototypeRow`.
    """

    reads_earlier = True

    def __init__(self, temperature: float = 16.0) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.log_ridge = nn.Parameter(torch.tensor(0.0))

    def forward(self, tokens: Tokens) -> Tensor:
        return self._rows(tokens, self._metric(tokens))

    def later(self, tokens: Tokens) -> RowBase:
        """Writes rows of further classes in the metric of these ones, few images of which would tell another."""
        return _Kept(self, self._metric(tokens))

    def _metric(self, tokens: Tokens) -> Tensor:
        """``P [T D D]``."""
        membership, values = memberships(tokens), tokens.values
        share = membership / membership.sum(-1, keepdim=True).clamp_min(1e-6)
        scatter = (values - share @ batching.class_means(values, membership)) * tokens.present
        freedom = (tokens.present.sum(1) - (membership.sum(1) > 0).sum(-1, keepdim=True)).clamp_min(1)[..., None]
        spread = scatter.square().sum((1, 2), keepdim=True) / (freedom * values.shape[2])
        scatter = scatter * torch.rsqrt(freedom * spread.clamp_min(1e-12))
        ridge = self.log_ridge.exp() * values.shape[2] / freedom
        identity = torch.eye(values.shape[2], dtype=values.dtype, device=values.device)
        if scatter.shape[1] < scatter.shape[2]:  # the smaller of both systems (Woodbury)
            few = torch.eye(scatter.shape[1], dtype=values.dtype, device=values.device)
            inner = torch.linalg.solve(scatter @ scatter.transpose(1, 2) + ridge * few, scatter)
            metric = identity - scatter.transpose(1, 2) @ inner
        else:
            metric = torch.linalg.inv(scatter.transpose(1, 2) @ scatter + ridge * identity)
        return metric / metric.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]

    def _rows(self, tokens: Tokens, metric: Tensor) -> Tensor:
        means = batching.class_means(tokens.values, memberships(tokens))
        weights = means @ metric
        bias = -(weights * means).sum(-1, keepdim=True)
        return self.log_temperature.exp() * torch.cat([2 * weights, bias], -1)


class _Kept(RowBase):
    """Rows in a metric that stands."""

    metric: Tensor

    def __init__(self, base: WithinClassRow, metric: Tensor) -> None:
        super().__init__()
        self._base = base
        self.register_buffer("metric", metric)

    def forward(self, tokens: Tokens) -> Tensor:
        return self._base._rows(tokens, self.metric)

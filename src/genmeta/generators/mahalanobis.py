"""Rows of a Mahalanobis classifier: distances to class means in a metric estimated from the support set.

Bateni, Goyal, Masrani, Wood and Sigal, "Improved few-shot visual classification" (Simple CNAPs), 2020
(https://arxiv.org/abs/1912.03432).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genmeta.core import batching
from genmeta.core.types import Tokens
from genmeta.generators.row_bases import RowBase, memberships


class MahalanobisRow(RowBase):
    """``w_k = τ Σ⁻¹ μ_k``, ``b_k = −½ τ μ_kᵀ Σ⁻¹ μ_k`` with ``Σ = λ S + (1 − λ) I / D``, ``S`` the task's covariance.

    Up to what all classes share, ``logit_k = −½ τ (h − μ_k)ᵀ Σ⁻¹ (h − μ_k)``. Deviations: one covariance for all
    classes of a task, where the paper mixes in each class's own, which would make the logits quadratic in the features
    and no row could hold them; learned ``λ`` and ``τ``; the identity is divided by ``D`` because features have
    length 1. Solved in the smaller ``N × N`` form (Woodbury).

    Args:
        feature_size: ``D``.
    """

    def __init__(self, feature_size: int) -> None:
        super().__init__()
        self.mixing = nn.Parameter(torch.tensor(0.0))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(16.0 / feature_size)))

    def forward(self, tokens: Tokens) -> Tensor:
        features, present, mixing = tokens.values, tokens.present, torch.sigmoid(self.mixing)
        size, n_examples = features.shape[2], present.sum(1, keepdim=True)
        means = batching.class_means(features, memberships(tokens))
        centred = (features - batching.mean_of_present(features, present)[:, None]) * present
        identity_part, data_part = (1 - mixing) / size, mixing / n_examples
        gram = centred @ centred.transpose(1, 2)
        ridge = identity_part / data_part * torch.eye(features.shape[1], dtype=gram.dtype, device=gram.device)
        inner = torch.linalg.solve(gram + ridge, centred @ means.transpose(1, 2))
        weights = (means - inner.transpose(1, 2) @ centred) / identity_part
        bias = -0.5 * (weights * means).sum(-1, keepdim=True)
        return self.log_temperature.exp() * torch.cat([weights, bias], -1)

"""Attention over support evidence: an encoder of classes, and a reader that answers queries from the evidence itself.

Kim et al., "Attentive neural processes", 2019 (https://arxiv.org/abs/1901.05761). Labels enter as "same class or not",
so the number and the order of the classes are free.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmeta.core import batching
from genmeta.core.errors import UsageError
from genmeta.core.types import Context, Tokens


class AttentiveEncoder(nn.Module):
    """Self-attention among examples, attention pooling within each class, then each class sees the others' mean.

    ``t_n = e_n + MLP(Σ_m softmax_m(q_n · k_m / √d + b [same class]) v_m)``,
    ``s_k = Σ_{n in k} softmax_n(u · t_n) t_n``, ``classes_k = s_k + read(s_k, mean s)``; ``task`` is the mean of ``t``.
    The bias ``b`` is learned for each head.

    Args:
        feature_size: ``D`` of the evidence.
        width: size of both contexts.
        heads: of the self-attention.

    Raises:
        UsageError: a width that the heads do not divide.
    """

    def __init__(self, feature_size: int, width: int = 128, heads: int = 4) -> None:
        super().__init__()
        if width < 1 or width % heads:
            raise UsageError(f"A context of size {width} cannot be shared by {heads} heads: take a multiple.")
        self.width, self.heads = width, heads
        self.embed = nn.Sequential(
            nn.LayerNorm(feature_size), nn.Linear(feature_size, width), nn.GELU(), nn.Linear(width, width)
        )
        # a key's bias would add the same to all scores of a query
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.same_class = nn.Parameter(torch.ones(heads))
        self.mix = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.pool = nn.Linear(width, 1, bias=False)
        self.read = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, tokens: Tokens) -> Context:
        """Encodes ``[T N D]`` evidence into ``task [T W]`` and ``classes [T K W]``."""
        embedded = self.embed(tokens.values)
        query, key, value = (
            part(embedded).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        if tokens.membership is not None:
            kinds = (tokens.membership > 0).to(tokens.values.dtype)
            same = kinds @ kinds.transpose(1, 2)
            scores = scores + self.same_class[:, None, None] * same[:, None]
        # a place without evidence is not attended to
        scores = scores + (tokens.present.transpose(1, 2)[:, None] + 1e-30).log()
        attended = torch.softmax(scores, -1) @ value
        mixed = embedded + self.mix(attended.transpose(1, 2).flatten(2))
        if tokens.membership is None:
            return Context(batching.mean_of_present(mixed, tokens.present), None)
        inside = self.pool(mixed) + (tokens.membership + 1e-30).log()
        summary = torch.softmax(inside, 1).transpose(1, 2) @ mixed
        others = summary.mean(1, keepdim=True).expand_as(summary)
        return Context(
            batching.mean_of_present(mixed, tokens.present), summary + self.read(torch.cat([summary, others], -1))
        )


class AttentiveReader(nn.Module):
    """``τ Σ_{n in class k} softmax_n(q(h*) · k(h_n) / √d)`` for each class: what the evidence says of a query image.

    Every query image is read on its own. Several heads are averaged.

    Args:
        feature_size: ``D``.
        width: of queries and keys, all heads together.
        heads: of the attention.
    """

    def __init__(self, feature_size: int, width: int = 128, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(feature_size, bias=False)
        self.query, self.key = (nn.Linear(feature_size, width, bias=False) for _ in range(2))
        self.log_strength = nn.Parameter(torch.zeros(()))

    def forward(self, features: Float[Tensor, "T Q D"], tokens: Tokens) -> Float[Tensor, "T Q K"]:
        """What to add to the logits of the query images."""
        if tokens.membership is None:
            raise TypeError("reading classes off the evidence needs labelled evidence")
        query = self.query(self.norm(features)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key = self.key(self.norm(tokens.values)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        attention = torch.softmax(query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5, -1).mean(1)
        attention = attention * tokens.present.transpose(1, 2)
        attention = attention / attention.sum(-1, keepdim=True).clamp_min(1e-30)
        return self.log_strength.exp() * attention @ (tokens.membership > 0).to(attention.dtype)

"""A relation network: each class is described by how its images compare with all images of the task.

Sung et al., "Learning to compare: relation network for few-shot learning", 2018 (https://arxiv.org/abs/1711.06025), as
the encoder of Rusu et al., "Meta-learning with latent embedding optimization", 2019 (https://arxiv.org/abs/1807.05960).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genmeta.core import batching
from genmeta.core.types import Context, Tokens


class RelationEncoder(nn.Module):
    """``classes_k = mean over n in class k and all m of g(e_n, e_m)``, ``e = W h``; ``task`` is the mean over classes.

    Args:
        feature_size: ``D`` of the evidence.
        width: size of both contexts.
        code: size of ``e``.
        hidden: width of ``g``.
    """

    def __init__(self, feature_size: int, width: int, code: int = 64, hidden: int = 128) -> None:
        super().__init__()
        self.width = width
        self.norm = nn.LayerNorm(feature_size)
        self.embed = nn.Linear(feature_size, code, bias=False)
        # the first layer of g on a pair is a sum of one part for each of the two
        self.first, self.second = nn.Linear(code, hidden), nn.Linear(code, hidden, bias=False)
        self.relate = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.read = nn.Linear(hidden, width)

    def forward(self, tokens: Tokens) -> Context:
        """Encodes ``[T N D]`` evidence into ``task [T W]`` and ``classes [T K W]``."""
        embedded: Tensor = self.embed(self.norm(tokens.values))
        pairs = self.relate(self.first(embedded)[:, :, None] + self.second(embedded)[:, None])
        # the mean over all evidence that is there
        weights = tokens.present[:, None] / tokens.present.sum(1).clamp_min(1)[:, None, None]
        relations = self.read((pairs * weights).sum(2))
        if tokens.membership is None:
            return Context(batching.mean_of_present(relations, tokens.present), None)
        classes = batching.class_means(relations, tokens.membership)
        return Context(torch.mean(classes, 1), classes)

"""Deep sets with attention among classes: ignores the order of examples, follows the order of classes.

Zaheer et al., "Deep sets", 2017 (https://arxiv.org/abs/1703.06114); Lee et al., "Set transformer", 2019
(https://arxiv.org/abs/1810.00825).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genmeta.core import batching
from genmeta.core.types import Context, Tokens


class SetEncoder(nn.Module):
    """``Context`` of the support evidence.

    ``e_n = embed(h_n)``, ``s_k = mean of e_n over class k``, ``classes_k = read(s_k, attention(s)_k, mean of e)``,
    ``task = read_task(mean of e, mean of classes)``. Without labels only ``task`` is given, from ``mean of e`` alone.
    A mean forgets of how much it is one: with ``counts``, ``s_k`` gets a learned vector times ``log(1 + m_k)``, ``m_k``
    the weight of the evidence for class ``k``, so that what is written may differ between one image and five.

    Args:
        feature_size: ``D`` of the evidence.
        width: size of both contexts.
        heads: attention heads among classes.
        reads_task: whether anything reads the task context; if not, it is the plain mean and costs no parameters.
        counts: whether a class's context says how much evidence there is for it.
    """

    def __init__(
        self, feature_size: int, width: int = 128, heads: int = 4, reads_task: bool = True, counts: bool = False
    ) -> None:
        super().__init__()
        self.width = width
        self.embed = nn.Sequential(
            nn.LayerNorm(feature_size), nn.Linear(feature_size, width), nn.GELU(), nn.Linear(width, width)
        )
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.read = nn.Sequential(nn.Linear(3 * width, width), nn.GELU(), nn.Linear(width, width))
        self.read_task = (
            nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, width)) if reads_task else None
        )
        self.amount = nn.Parameter(torch.zeros(width)) if counts else None

    def forward(self, tokens: Tokens) -> Context:
        """Encodes ``[T N D]`` evidence into ``task [T W]`` and ``classes [T K W]``."""
        embedded = self.embed(tokens.values)
        overall = batching.mean_of_present(embedded, tokens.present)
        if tokens.membership is None:
            return Context(self._task(overall, torch.zeros_like(overall)), None)
        summary = batching.class_means(embedded, tokens.membership)
        if self.amount is not None:
            summary = summary + self.amount * tokens.membership.sum(1).log1p()[..., None]
        related, _ = self.attention(summary, summary, summary, need_weights=False)
        classes = summary + self.read(torch.cat([summary, related, _like(overall, summary)], -1))
        return Context(self._task(overall, classes.mean(1)), classes)

    def _task(self, overall: Tensor, classes: Tensor) -> Tensor:
        return overall if self.read_task is None else self.read_task(torch.cat([overall, classes], -1))


def _like(task: Tensor, classes: Tensor) -> Tensor:
    return task[:, None, :].expand_as(classes)

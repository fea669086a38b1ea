"""Reads a domain in what batch norm takes away: the mean and the spread of every channel over its images."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from genmeta.core.batching import Moments
from genmeta.core.types import Context, Tokens
from genmeta.encoders.set_encoder import SetEncoder

#: Channels that are read at most: those of the first norms, where images differ in style rather than in content.
MOST_CHANNELS = 2048


class NormStatisticsEncoder(nn.Module):
    """``task = e(tokens) + r(m / √v, ½ log v)`` with the means ``m`` and variances ``v`` of the norms' channels.

    Behind a batch norm that takes its statistics from the domain, all domains look alike; what tells them apart are
    these statistics. Domains described by channel statistics: Du, Zhen, Shao, Snoek, "MetaNorm: learning to normalize
    few-shot batches across domains", 2021 (https://openreview.net/forum?id=9z_dNsC4B5t). Deviation: they are read,
    not written.

    Args:
        encoder: of the support evidence.
        channels: norm -> its number of channels, in the learner's order.
        hidden: width of the hidden layer of ``r``.
    """

    def __init__(self, encoder: SetEncoder, channels: Mapping[str, int], hidden: int = 128) -> None:
        super().__init__()
        self.encoder, self.width = encoder, encoder.width
        self.names: list[str] = []
        total = 0
        for name, count in channels.items():
            if self.names and total + count > MOST_CHANNELS:
                break
            self.names.append(name)
            total += count
        self.read = nn.Sequential(
            nn.LayerNorm(2 * total), nn.Linear(2 * total, hidden), nn.GELU(), nn.Linear(hidden, self.width)
        )

    def forward(self, tokens: Tokens, statistics: Mapping[str, Moments]) -> Context:
        """Encodes the evidence and the statistics ``(mean, variance)``, ``[T C]`` each, of the domain's images."""
        numbers: list[Tensor] = []
        for name in self.names:
            mean, variance = statistics[name]
            variance = variance + 1e-5
            numbers += [mean * torch.rsqrt(variance), 0.5 * variance.log()]
        context: Context = self.encoder(tokens)
        return Context(context.task + self.read(torch.cat(numbers, -1)), context.classes)

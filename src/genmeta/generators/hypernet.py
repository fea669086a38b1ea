"""The hypernetwork: a deterministic network that writes another network's weights, by chunks where there are many.

Ha, Dai and Le, "HyperNetworks", 2017 (https://arxiv.org/abs/1609.09106): learned chunk embeddings, so that the size of
the generator does not grow with the learner. Chang et al., "Principled weight initialization for hypernetworks", 2020
(https://openreview.net/forum?id=H1lma24tPB): generated weights must start with the variance of a good initialisation;
here they are written as ``base + scale · G(c)`` with the last layer of ``G`` at zero, so they start *at* a good
initialisation (deviation from both papers, for stability).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genmeta.generators.base import ParameterGenerator, Written

#: More weights than this are written by chunks.
DIRECT = 4096


class HyperNetwork(ParameterGenerator):
    """``w = G(c)`` with a two-layer network; above :data:`DIRECT` weights, ``w_j = G(c, embedding_j)`` for chunk ``j``.

    Args:
        context_size: ``C``.
        length: ``P``.
        hidden: width of the hidden layers.
        chunk: weights per chunk where chunks are needed.
        penalty: cost of a written weight, ``penalty · mean(w²)``.
    """

    def __init__(
        self, context_size: int, length: int, hidden: int = 256, chunk: int = 1024, penalty: float = 1e-4
    ) -> None:
        super().__init__(context_size, length)
        self.penalty = penalty
        self.n_chunks = 1 if length <= DIRECT else -(-length // chunk)
        outputs = length if self.n_chunks == 1 else chunk
        self.chunks = nn.Parameter(torch.zeros(self.n_chunks, context_size))
        self.hidden = nn.Sequential(nn.Linear(context_size, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU())
        self.write = nn.Linear(hidden, outputs)
        if self.n_chunks > 1:
            # distinct directions from the start, the same for every seed: chunks are told apart by position
            position = torch.arange(self.n_chunks)[:, None] * torch.logspace(0, -2, context_size)[None, :]
            self.chunks.data.copy_(torch.sin(position))
        nn.init.zeros_(self.write.weight)
        nn.init.zeros_(self.write.bias)

    def forward(self, context: Tensor, rng: torch.Generator) -> Written:
        each = (context[:, None, :] + self.chunks).flatten(0, 1)
        values = self.write(self.hidden(each)).view(context.shape[0], -1)[:, : self.length]
        return Written(values, self.penalty * values.square().mean(1))

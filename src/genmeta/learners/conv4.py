"""Conv4: four blocks of 3×3 convolution, norm, 2×2 max-pool, ReLU; the standard small network of few-shot learning.

Vinyals et al., "Matching networks for one shot learning", 2016 (https://arxiv.org/abs/1606.04080). Deviations: group
norm by default (per image, hence inductive by construction); pooling before the ReLU, which is the same function; no
ReLU after the last block.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genmeta.learners.base import Conv, Learner, LearnerConfig, Norm, Pass

BLOCKS = 4


class Conv4(Learner):
    """Features of ``D = width · (size // 16)²`` numbers. Default width 64."""

    def __init__(self, config: LearnerConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        width = config.width or 64
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"conv": Conv(config.channels if i == 0 else width, width, rng), "norm": Norm(width, config)})
            for i in range(BLOCKS)
        )
        self.feature_size = width * max(config.size // 2**BLOCKS, 1) ** 2

    def forward_pass(self, images: Tensor, run: Pass) -> Tensor:
        x = run.flat(images)
        for i in range(BLOCKS):
            # an image of 8 to 15 pixels has nothing left to pool in the last blocks; and features of either sign:
            # positive ones all point the same way, which gradient steps on rows suffer from
            pool, slope = min(x.shape[-2:]) > 1, 0.0 if i < BLOCKS - 1 else 1.0
            x = run.block(f"blocks.{i}.conv", f"blocks.{i}.norm", x, pool=pool, slope=slope)
        return x.flatten(1).unflatten(0, (images.shape[0], -1))

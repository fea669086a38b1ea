"""ResNet-12: four residual blocks of three 3×3 convolutions, then a global average.

Oreshkin et al., "TADAM", 2018 (https://arxiv.org/abs/1805.10123); widths as in Lee et al., "Meta-learning with
differentiable convex optimization", 2019 (https://arxiv.org/abs/1904.03758). Deviations: group norm by default,
no DropBlock.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmeta.learners.base import Conv, Learner, LearnerConfig, Norm, Pass


class ResNet12(Learner):
    """Features of ``D = 10 · width`` numbers. Default width 64, so blocks of 64, 160, 320 and 640 channels."""

    def __init__(self, config: LearnerConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        width = config.width or 64
        widths = [config.channels, width, width * 5 // 2, width * 5, width * 10]
        self.blocks = nn.ModuleList()
        for before, after in itertools.pairwise(widths):
            block = nn.ModuleDict({"shortcut": Conv(before, after, rng, size=1), "shortcut_norm": Norm(after, config)})
            for i in range(3):
                block[f"conv{i}"] = Conv(before if i == 0 else after, after, rng)
                block[f"norm{i}"] = Norm(after, config)
            self.blocks.append(block)
        self.feature_size = widths[-1]

    def forward_pass(self, images: Tensor, run: Pass) -> Tensor:
        x = run.flat(images)
        for b in range(len(self.blocks)):
            at, shortcut = f"blocks.{b}", x
            for i in range(3):
                x = run.norm(f"{at}.norm{i}", run.conv(f"{at}.conv{i}", x), slope=0.1 if i < 2 else 1.0)
            x = x + run.norm(f"{at}.shortcut_norm", run.conv(f"{at}.shortcut", shortcut))
            x = F.leaky_relu(x, 0.1)
            x = F.max_pool2d(x, 2) if min(x.shape[-2:]) > 1 else x
        return x.mean((2, 3)).unflatten(0, (images.shape[0], -1))

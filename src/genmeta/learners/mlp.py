"""A multilayer perceptron on pixels: two hidden layers, each with norm and ReLU. Small, for tests and comparisons."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genmeta.learners.base import Conv, Learner, LearnerConfig, Norm, Pass

LAYERS = 2


class MLP(Learner):
    """Features of ``D = width`` numbers. Default width 128.

    The layers are 1×1 convolutions over a single "pixel", so that they share the norms and the task batching of the
    convolutional learners.
    """

    def __init__(self, config: LearnerConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        width = config.width or 128
        pixels = config.channels * config.size**2
        self.layers = nn.ModuleList(
            nn.ModuleDict({"conv": Conv(pixels if i == 0 else width, width, rng, size=1), "norm": Norm(width, config)})
            for i in range(LAYERS)
        )
        self.feature_size = width

    def forward_pass(self, images: Tensor, run: Pass) -> Tensor:
        x = run.flat(images.flatten(2)[..., None, None])
        for i in range(LAYERS):
            x = run.norm(f"layers.{i}.norm", run.conv(f"layers.{i}.conv", x), slope=0.0)
        return x.flatten(1).unflatten(0, (images.shape[0], -1))

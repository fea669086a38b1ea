"""U-Net: a feature vector for every 2 × 2 pixels, from three scales put together; small enough for a CPU.

Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation", 2015
(https://arxiv.org/abs/1505.04597). Deviations: strided convolutions instead of pooling, the first already in the first
layer; scales are added after a 1×1 convolution, as in a feature pyramid (Lin et al., 2017,
https://arxiv.org/abs/1612.03144), which costs a fraction of putting channels side by side; group norm.
"""

from __future__ import annotations

import itertools
from typing import ClassVar

import torch
from torch import Tensor, nn

from genmeta.learners.base import Conv, Learner, LearnerConfig, Pass
from genmeta.learners.scales import added, addition, extra_channels, halved, halving


class UNet(Learner):
    """Maps of ``D = 2 · width`` channels at stride 2. Default width 32, so blocks of 32, 64 and 128 channels.

    Attributes:
        scales: blocks on the way down, each at half the resolution of the one before.
        finest: block whose resolution the map has.
    """

    gives = "map"
    scales: ClassVar[int] = 3
    finest: ClassVar[int] = 0

    def __init__(self, config: LearnerConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        width = config.width or 32
        widths = [width * 2**i for i in range(self.scales)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for before, after in zip([config.channels, *widths], widths, strict=False):
            self.down.append(halving(before, after, config, rng))
        for fine, coarse in itertools.pairwise(widths[self.finest :]):
            self.up.append(addition(coarse, fine, config, rng))
        last = widths[self.finest]
        self.feature_size = 2 * last
        self.head = Conv(last, self.feature_size, rng, size=1)
        if config.extra:
            self.extra = extra_channels(last, config, rng)

    def forward_pass(self, images: Tensor, run: Pass) -> Tensor:
        x, scales = run.flat(images), []
        for i in range(self.scales):
            x = halved(f"down.{i}", x, run)
            scales.append(x)
        for i in reversed(range(self.scales - 1 - self.finest)):
            x = added(f"up.{i}", x, scales[self.finest + i], run)
        maps = [run.conv("head", x)]
        if self.config.extra:
            maps.append(run.conv("extra", x))
        out = torch.cat(maps, 1) if len(maps) > 1 else maps[0]
        return out.permute(0, 2, 3, 1).unflatten(0, images.shape[:2])

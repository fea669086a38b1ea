"""Semantic FPN: four scales down to stride 16, added up at stride 2, for masks of objects larger than a few pixels.

The semantic branch of Kirillov, Girshick, He and Dollár, "Panoptic feature pyramid networks", 2019
(https://arxiv.org/abs/1901.02446): every level of the pyramid says its part of the feature in as many channels, and the
parts are enlarged and added. What an object *is* needs a view of the whole of it, hence the coarse scales, and reaches
every pixel of it without passing through the few channels of the finest scale. Deviations: one 1×1 convolution a level
instead of a stack, each sum enlarged in turn; strided convolutions, as in :mod:`genmeta.learners.unet`.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmeta.learners.base import Conv, Learner, LearnerConfig, Pass
from genmeta.learners.scales import added, addition, extra_channels, halved, halving

SCALES = 4


class SemanticFPN(Learner):
    """Maps of ``D = 4 · width`` channels at stride 2. Default width 16, so blocks of 16, 32, 64 and 128 channels."""

    gives = "map"

    def __init__(self, config: LearnerConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        width = config.width or 16
        widths = [width * 2**i for i in range(SCALES)]
        self.feature_size = 4 * width
        self.down, self.up, self.say = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for before, after in itertools.pairwise([config.channels, *widths]):
            self.down.append(halving(before, after, config, rng))
            self.say.append(Conv(after, self.feature_size, rng, size=1))
        for fine, coarse in itertools.pairwise(widths):
            self.up.append(addition(coarse, fine, config, rng))
        if config.extra:
            self.extra = extra_channels(width, config, rng)

    def forward_pass(self, images: Tensor, run: Pass) -> Tensor:
        x, scales = run.flat(images), []
        for i in range(SCALES):
            x = halved(f"down.{i}", x, run)
            scales.append(x)
        out = run.conv(f"say.{SCALES - 1}", x)
        for i in reversed(range(SCALES - 1)):
            size = scales[i].shape[-2:]
            x = added(f"up.{i}", x, scales[i], run)
            out = run.conv(f"say.{i}", x) + F.interpolate(out, size, mode="bilinear", align_corners=False)
        if self.config.extra:
            out = torch.cat([out, run.conv("extra", x)], 1)
        return out.permute(0, 2, 3, 1).unflatten(0, images.shape[:2])

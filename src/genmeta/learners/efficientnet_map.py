"""EfficientNet-Lite0's ImageNet features as a map: three scales side by side, for dense tasks on photos.

Putting the scales of a pretrained network side by side at each pixel is the "hypercolumn" of Hariharan, Arbeláez,
Girshick and Malik, 2015 (https://arxiv.org/abs/1411.5752). Deviation: each scale is centred and of unit length first,
so that all weigh the same. There is nothing to train before the first use.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmeta.core import batching
from genmeta.core.errors import UsageError
from genmeta.learners.base import Conv, Learner, LearnerConfig, Pass
from genmeta.learners.efficientnet_lite import STAGES, EfficientNetLite0

#: Blocks after which a scale is read: the last ones at strides 4, 8 and 16.
READ_AFTER = (3, 5, 11)
#: Stages that these blocks end.
_STAGES = (1, 2, 4)
_BODY = "body."


class EfficientNetLite0Map(Learner):
    """Maps of ``D = 24 + 40 + 112`` channels at stride 4; grey images are shown in all three channels.

    Raises:
        UsageError: a width or a batch norm is asked for, which the published network does not have.
    """

    own_convolutions = True

    gives = "map"
    #: Stages whose maps are read.
    stages = _STAGES

    def __init__(self, config: LearnerConfig, rng: torch.Generator) -> None:
        super().__init__()
        if config.norm == "batch":
            raise UsageError("efficientnet-lite0-map keeps its published norms, got norm='batch'. Leave --norm out.")
        self.config = config
        body = EfficientNetLite0(config, rng)
        body.blocks = nn.ModuleList(list(body.blocks)[: READ_AFTER[-1]])
        del body.head
        self.body = body
        self.feature_size = sum(STAGES[at].channels for at in _STAGES)
        if config.extra:
            self.extra = Conv(self.feature_size, config.extra, rng, size=1)

    def forward_pass(self, images: Tensor, run: Pass) -> Tensor:
        finest, *coarser = self.scales(run, batching.flat(images))
        size = finest.shape[-2:]
        large = [F.interpolate(part, size, mode="bilinear", align_corners=False) for part in coarser]
        out = torch.cat([finest, *large], 1)
        if self.config.extra:
            out = torch.cat([out, run.conv("extra", out)], 1)
        return out.permute(0, 2, 3, 1).unflatten(0, images.shape[:2])

    def scales(self, run: Pass, images: Tensor) -> list[Tensor]:
        """The maps at strides 4, 8 and 16 of ``[B C H W]`` images, ``[B C' h w]``, each pixel of unit length."""
        inner = run.below(self.body, _BODY)
        x = self.body.stem_of(inner, images)
        scales, first = [], 0
        for last in READ_AFTER:
            x = self.body.through(inner, x, first, last)
            scales.append(_unit(x))
            first = last
        return scales


def _unit(maps: Tensor) -> Tensor:
    """Each pixel's channels centred and of length 1."""
    return batching.unit(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

"""A small feature pyramid, to be meta-trained, on EfficientNet-Lite0's ImageNet features, which stand still.

Lin et al., "Feature pyramid networks for object detection", 2017 (https://arxiv.org/abs/1612.03144), on the frozen body
of :mod:`genmeta.learners.efficientnet_map`. Deviations: one map at stride 4 is made of strides 4, 8 and 16, with a norm
after each scale's 1×1 convolution, so that FiLM can weigh the scales for a task.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmeta.core import batching
from genmeta.core.errors import UsageError
from genmeta.learners.base import Conv, Learner, LearnerConfig, Norm, Pass
from genmeta.learners.efficientnet_lite import STAGES
from genmeta.learners.efficientnet_map import EfficientNetLite0Map
from genmeta.learners.scales import extra_channels

_BODY = "body."


class EfficientNetLite0Fpn(Learner):
    """Maps of ``D = 2 · width`` channels at stride 4. Default width 64.

    Meta-training and FiLM move the pyramid; the body's tensors are written only where ``all`` are.

    Raises:
        UsageError: a batch norm is asked for, which the published network does not have.
    """

    gives = "map"

    def __init__(self, config: LearnerConfig, rng: torch.Generator) -> None:
        super().__init__()
        if config.norm != "group":
            raise UsageError(
                f"efficientnet-lite0-fpn has group norm on a body with folded norms, got norm={config.norm!r}. "
                "Leave --norm out."
            )
        self.config = config
        width = config.width or 64
        published = LearnerConfig("efficientnet-lite0-map", config.channels, config.size)
        self.body = EfficientNetLite0Map(published, rng).requires_grad_(False)
        self.lateral = nn.ModuleList(
            nn.ModuleDict({"conv": Conv(STAGES[at].channels, width, rng, size=1), "norm": Norm(width, config)})
            for at in self.body.stages
        )
        self.smooth = nn.ModuleDict({"conv": Conv(width, width, rng), "norm": Norm(width, config)})
        self.feature_size = 2 * width
        self.head = Conv(width, self.feature_size, rng, size=1)
        if config.extra:
            self.extra = extra_channels(width, config, rng)

    def forward_pass(self, images: Tensor, run: Pass) -> Tensor:
        parts = [
            run.norm(f"lateral.{at}.norm", run.conv(f"lateral.{at}.conv", scale), slope=0.0)
            for at, scale in enumerate(self._scales(images, run))
        ]
        total = parts[0]
        for part in parts[1:]:
            total = total + F.interpolate(part, total.shape[-2:], mode="bilinear", align_corners=False)
        x = run.norm("smooth.norm", run.conv("smooth.conv", total), slope=0.0)
        maps = [run.conv("head", x)]
        if self.config.extra:
            maps.append(run.conv("extra", x))
        out = torch.cat(maps, 1) if len(maps) > 1 else maps[0]
        return out.permute(0, 2, 3, 1).unflatten(0, images.shape[:2])

    def _scales(self, images: Tensor, run: Pass) -> list[Tensor]:
        """What the body gives; it stands still but where its own tensors are written."""
        if images.requires_grad or run.writes(_BODY):
            return self.body.scales(run.below(self.body, _BODY), batching.flat(images))

        @functools.cache
        def found() -> list[Tensor]:
            with torch.no_grad():
                return self.body.scales(run.below(self.body, _BODY), batching.flat(images))

        return [run.once(f"{_BODY}{at}", lambda at=at: found()[at]) for at in range(len(self.lateral))]  # type: ignore[misc]

    def written_shapes(self, space: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
        shapes = super().written_shapes(space)
        return shapes if space == "all" else tuple(one for one in shapes if not one[0].startswith(_BODY))

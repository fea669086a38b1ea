"""Learners: the networks whose weights are written. One file each; add yours to :data:`LEARNERS`."""

from __future__ import annotations

import torch

from genmeta.core.errors import UsageError
from genmeta.core.registry import Registry
from genmeta.learners.backbone import build_backbone
from genmeta.learners.base import SPACES, Learner, LearnerConfig, Statistics
from genmeta.learners.conv4 import Conv4
from genmeta.learners.efficientnet_fpn import EfficientNetLite0Fpn
from genmeta.learners.efficientnet_lite import EfficientNetLite0
from genmeta.learners.efficientnet_map import EfficientNetLite0Map
from genmeta.learners.fpn import Fpn
from genmeta.learners.mlp import MLP
from genmeta.learners.resnet12 import ResNet12
from genmeta.learners.semantic_fpn import SemanticFPN
from genmeta.learners.unet import UNet

LEARNERS: Registry[type[Learner]] = Registry("learner")
LEARNERS.register("conv4")(Conv4)
LEARNERS.register("resnet12")(ResNet12)
LEARNERS.register("mlp")(MLP)
LEARNERS.register("unet")(UNet)
LEARNERS.register("semantic-fpn")(SemanticFPN)
LEARNERS.register("fpn")(Fpn)
LEARNERS.register("efficientnet-lite0")(EfficientNetLite0)
LEARNERS.register("efficientnet-lite0-map")(EfficientNetLite0Map)
LEARNERS.register("efficientnet-lite0-fpn")(EfficientNetLite0Fpn)

#: Learners with ImageNet's tensors; those whose tensors all are, whatever the random generator says.
ALL_PRETRAINED = frozenset({"efficientnet-lite0", "efficientnet-lite0-map"})
PRETRAINED = ALL_PRETRAINED | {"efficientnet-lite0-fpn"}


def build_learner(config: LearnerConfig, rng: torch.Generator) -> Learner:
    """Builds a learner with random weights drawn from ``rng``; a pretrained one with its published weights.

    Raises:
        UsageError: an unknown learner, or extra channels asked of one that gives a vector for each image.
    """
    library = ":" in config.name
    if config.extra and (library or LEARNERS[config.name].gives != "map"):
        maps = [name for name in LEARNERS if LEARNERS[name].gives == "map"]
        raise UsageError(
            f"{config.name!r} gives one vector for each image and has no map to put extra={config.extra} channels in. "
            f"Use a learner that gives a feature map: {', '.join(maps)}."
        )
    return build_backbone(config, rng) if library else LEARNERS[config.name](config, rng)


__all__ = [
    "ALL_PRETRAINED",
    "LEARNERS",
    "PRETRAINED",
    "SPACES",
    "Learner",
    "LearnerConfig",
    "Statistics",
    "build_learner",
]

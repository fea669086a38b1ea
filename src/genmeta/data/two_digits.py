"""Images of two handwritten digits, one over the other, each with a label of its own; made from scikit-learn's digits.

The construction of MultiMNIST (Sabour, Frosst and Hinton, "Dynamic routing between capsules", 2017,
https://arxiv.org/abs/1710.09829), on which two tasks compete for one network (Sener and Koltun, "Multi-task learning as
multi-objective optimization", 2018, https://arxiv.org/abs/1810.04650). Deviation: 1,797 digits of 8 × 8 pixels instead
of MNIST's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genmeta.core.errors import UsageError, unknown

#: Side of an image, and of the square at its top left (bottom right) that a digit fills: they overlap.
SIZE, DIGIT = 16, 12
#: Of every ten digits, which are for what; no digit is in two parts.
PARTS = {"train": range(6), "val": range(6, 8), "test": range(8, 10)}


class TwoDigits(NamedTuple):
    """Images and both their labels.

    Attributes:
        images: ``[N 1 H W]`` in [0, 1].
        labels: ``[N 2]`` digit at the top left, digit at the bottom right.
        digits: ``[N 2]`` which of scikit-learn's digits they are.
    """

    images: Tensor
    labels: Tensor
    digits: Tensor


def two_digits(part: str, count: int, *, seed: int = 0) -> TwoDigits:
    """Draws pairs of different digits of one part and lays them over each other, the brighter pixel on top.

    Args:
        part: ``train``, ``val`` or ``test``.
        count: number of images.
        seed: equal seeds give equal images.

    Raises:
        UsageError: no such part, or a count below 1.
    """
    from sklearn.datasets import load_digits

    if part not in PARTS:
        raise unknown("part of the digits", part, PARTS)
    if count < 1:
        raise UsageError(f"Expected 1 or more images of two digits, got {count}.")
    bunch = load_digits()
    place = np.random.default_rng(0).permutation(len(bunch.images)) % 10
    own = np.flatnonzero(np.isin(place, PARTS[part]))
    random = np.random.default_rng(seed)
    first = random.integers(0, len(own), count)
    second = (first + random.integers(1, len(own), count)) % len(own)  # another one
    picks = np.stack([own[first], own[second]], 1)
    large = np.zeros((len(bunch.images), DIGIT, DIGIT), np.uint8)
    for number in np.unique(picks):
        grey = Image.fromarray(np.rint(bunch.images[number] * (255 / 16)).astype(np.uint8))
        large[number] = np.asarray(grey.resize((DIGIT, DIGIT), Image.Resampling.BICUBIC))
    images = np.zeros((count, SIZE, SIZE), np.uint8)
    images[:, :DIGIT, :DIGIT] = large[picks[:, 0]]
    corner = images[:, -DIGIT:, -DIGIT:]
    np.maximum(corner, large[picks[:, 1]], out=corner)
    labels = torch.from_numpy(bunch.target[picks]).long()
    return TwoDigits(torch.from_numpy(images)[:, None].float() / 255, labels, torch.from_numpy(picks))

"""The one form in which classification data reaches the rest of the library: images grouped by class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class ImageClasses:
    """Images grouped by class.

    Attributes:
        name: the data spec that opened it, as the user wrote it.
        images: ``[N H W C]`` uint8, read-only (a memory map), ``C`` 1 or 3, all images of a class beside each other.
            Drawn characters are bright strokes on black.
        offsets: ``[K+1]`` int64; class ``k`` owns ``images[offsets[k]:offsets[k+1]]``.
        class_names: ``K`` names, unique.
        splits: ``"train" | "val" | "test"`` -> sorted indices of classes; disjoint. A split may be empty.
        quarter_turns: the splits in which each class turned by 90, 180 and 270 degrees counts as a class of its own.
        skipped: names of the images that could not be read and were left out, each with its reason.
        remark: why a split is empty, and what to do if it is wanted.
    """

    name: str
    images: np.ndarray
    offsets: np.ndarray
    class_names: tuple[str, ...]
    splits: Mapping[str, np.ndarray]
    quarter_turns: frozenset[str] = frozenset()
    skipped: tuple[str, ...] = field(default=())
    remark: str = ""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        _, height, width, channels = self.images.shape
        return channels, height, width

    def counts(self) -> np.ndarray:
        """``[K]`` number of images of each class."""
        return np.diff(self.offsets)

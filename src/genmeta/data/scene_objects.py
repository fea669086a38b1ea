"""Cut-out objects that scenes are put together from: glyphs, to be coloured, or pictures with transparency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CutOuts:
    """Objects grouped by class.

    Attributes:
        pixels: ``[N s s 4]`` uint8, red, green, blue and opacity; or ``[N s s 1]``, opacity alone, of one colour to be
            chosen.
        offsets: ``[K+1]``; class ``k`` owns ``pixels[offsets[k]:offsets[k+1]]``.
        class_names: of the ``K`` classes.
        splits: split -> sorted indices of classes.
    """

    pixels: np.ndarray
    offsets: np.ndarray
    class_names: tuple[str, ...]
    splits: Mapping[str, np.ndarray]

    def pick(self, classes: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """An object of each class: ``[...]`` indices -> ``[... s s c]``."""
        low, high = self.offsets[classes], self.offsets[classes + 1]
        return self.pixels[(low + random.random(classes.shape) * (high - low)).astype(np.int64)]

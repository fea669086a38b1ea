"""Images with stored class masks, as a source of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from genmeta.data.scene_source import UNLABELLED, Scenes, SceneSource

#: A class is taken to be in an image where it covers this share of it or more.
LEAST_SHARE = 0.002
_NO_LABEL = 255


@dataclass(frozen=True)
class MaskedImages(SceneSource):
    """A fixed set of images; a task is about some of their classes, and everything else is its background.

    Support images are drawn from those that show most of the task's classes, all of them where there are enough such
    images. Query images show one class of the task or more.

    Attributes:
        pixels: ``[N H W C+1]`` uint8, the last channel the mask: class numbers of the files, 255 where unlabelled.
        numbers: ``[K]`` the class number of each class in the masks.
        places: split -> its images.
    """

    name: str
    pixels: np.ndarray
    class_names: tuple[str, ...]
    numbers: np.ndarray
    places: Mapping[str, np.ndarray]
    fingerprint: str
    skipped: tuple[str, ...] = ()
    annotates: frozenset[str] = frozenset(("masks",))

    @property
    def image_shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        _, height, width, channels = self.pixels.shape
        return channels - 1, height, width

    @property
    def splits(self) -> Mapping[str, np.ndarray]:  # type: ignore[override]
        """The classes that some image of the split shows."""
        return {split: np.flatnonzero(self._shown[at].any(0)) for split, at in self.places.items()}

    @cached_property
    def _shown(self) -> np.ndarray:
        """``[N K]`` which image shows which class."""
        masks = np.asarray(self.pixels[..., -1])
        return np.stack([(masks == number).mean((1, 2)) >= LEAST_SHARE for number in self.numbers], 1)

    def fewest_images(self, split: str) -> int:
        counts = self._shown[self.places[split]].sum(0)
        return int(counts[counts > 0].min(initial=len(self.places[split])))

    def draw(self, split: str, classes: np.ndarray, shots: int, queries: int, random: np.random.Generator) -> Scenes:
        at = self.places[split]
        picks = np.stack([self._pick(self._shown[at][:, row], shots, queries, random) for row in classes])
        pixels = self.pixels[at[picks]]
        stored = pixels[..., -1]
        masks = np.zeros(stored.shape, np.int16)
        masks[stored == _NO_LABEL] = UNLABELLED
        for t, row in enumerate(classes):
            for k, number in enumerate(self.numbers[row]):
                masks[t][stored[t] == number] = k + 1
        return Scenes(np.ascontiguousarray(pixels[..., :-1]), masks, None, None)

    @staticmethod
    def _pick(shown: np.ndarray, shots: int, queries: int, random: np.random.Generator) -> np.ndarray:
        """Places of a task's images, those to learn from first."""
        chance = random.random(len(shown))
        count = shown.sum(1)
        support = np.lexsort((chance, -count))[:shots]
        rest = np.setdiff1d(np.arange(len(shown)), support)
        query = rest[np.lexsort((chance[rest], count[rest] == 0))][:queries]
        return np.concatenate([support, query])

"""The one form in which dense data reaches the rest of the library: images of several objects, with masks and boxes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

#: In masks and labels: nobody has said what is here.
UNLABELLED = -1


class Scenes(NamedTuple):
    """Annotated images of ``T`` tasks of ``K`` classes.

    Attributes:
        images: ``[T N H W C]`` uint8.
        masks: ``[T N H W]`` int16: 0 for the background, ``k + 1`` for class ``k`` of the task, :data:`UNLABELLED`;
            ``None`` where the data have no masks.
        boxes: ``[T N M 4]`` float32, ``x0 y0 x1 y1`` in pixels; ``None`` where the data have no boxes.
        labels: ``[T N M]`` int64: class ``k`` of the task, :data:`UNLABELLED` for padding; ``None`` without boxes.
    """

    images: np.ndarray
    masks: np.ndarray | None
    boxes: np.ndarray | None
    labels: np.ndarray | None


class SceneSource(ABC):
    """Images of several objects: made on demand, or read.

    Attributes:
        name: the data spec that opened it, as the user wrote it.
        image_shape: ``(C, H, W)``.
        class_names: of all classes.
        splits: ``"train" | "val" | "test"`` -> sorted indices of the classes that its tasks are about.
        annotates: what there is beside images: ``masks``, ``boxes`` or both.
        fingerprint: changes when the content does.
        skipped: what was left out, each with its reason.
    """

    name: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    splits: Mapping[str, np.ndarray]
    annotates: frozenset[str]
    fingerprint: str
    skipped: tuple[str, ...] = ()

    @abstractmethod
    def fewest_images(self, split: str) -> int:
        """How many different images a task of the split can be sure to find."""

    @abstractmethod
    def draw(self, split: str, classes: np.ndarray, shots: int, queries: int, random: np.random.Generator) -> Scenes:
        """Draws the images of some tasks: the first ``shots`` of each to learn from, then ``queries`` to be asked.

        Args:
            split: whose images.
            classes: ``[T K]`` indices of each task's classes.
            shots: images to learn from; every class of the task is in each of them where the data allow it.
            queries: further images.
            random: equal states give equal images.
        """

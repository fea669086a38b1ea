"""Images with boxes as the source of detection tasks: which images a task learns from and which it is asked about."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from genmeta.data.box_images import BoxImages
from genmeta.data.scene_source import UNLABELLED, Scenes, SceneSource


@dataclass(frozen=True)
class BoxSource(SceneSource):
    """Images that were read, with their boxes.

    A task learns from images chosen so that, where there are such, each of its classes is in one of them, and is asked
    about others that show one of its classes or more. Objects of other classes have no box.

    Attributes:
        data: the images and boxes.
    """

    data: BoxImages
    annotates: frozenset[str] = frozenset(("boxes",))
    _shown: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shown = np.zeros((len(self.data.images), len(self.data.class_names)), dtype=bool)
        owner = np.repeat(np.arange(len(self.data.images)), np.diff(self.data.offsets))
        shown[owner, self.data.labels] = True
        object.__setattr__(self, "_shown", shown)

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.data.name

    @property
    def image_shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        return self.data.image_shape

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.data.class_names

    @property
    def splits(self) -> Mapping[str, np.ndarray]:  # type: ignore[override]
        return self.data.splits

    @property
    def skipped(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.data.skipped

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        digest = hashlib.sha256(f"{self.data.images.shape}".encode())
        digest.update(self.data.boxes.tobytes() + self.data.labels.tobytes() + self.data.offsets.tobytes())
        digest.update(np.ascontiguousarray(self.data.images[:: max(1, len(self.data.images) // 64)]).tobytes())
        return digest.hexdigest()

    def fewest_images(self, split: str) -> int:
        classes = self.splits[split]
        return int(self._shown[:, classes].sum(0).min()) if len(classes) else 0

    def draw(self, split: str, classes: np.ndarray, shots: int, queries: int, random: np.random.Generator) -> Scenes:
        picks = np.stack([self._choose(each, shots, queries, random) for each in classes])
        most = int(np.diff(self.data.offsets).max())
        boxes = np.zeros((*picks.shape, most, 4), np.float32)
        labels = np.full((*picks.shape, most), UNLABELLED, np.int64)
        for t, task in enumerate(picks):
            number = np.full(len(self.class_names), UNLABELLED)
            number[classes[t]] = np.arange(classes.shape[1])
            for n, image in enumerate(task):
                own = slice(self.data.offsets[image], self.data.offsets[image + 1])
                of_task = number[self.data.labels[own]]
                wanted = of_task != UNLABELLED
                boxes[t, n, : wanted.sum()] = self.data.boxes[own][wanted]
                labels[t, n, : wanted.sum()] = of_task[wanted]
        return Scenes(self.data.images[picks], None, boxes, labels)

    def _choose(self, classes: np.ndarray, shots: int, queries: int, random: np.random.Generator) -> np.ndarray:
        """Numbers of different images, ``shots`` to learn from first."""
        shown = self._shown[:, classes]
        pool = random.permutation(np.flatnonzero(shown.any(1)))
        support: list[int] = []
        missing = np.ones(len(classes), dtype=bool)
        while missing.any() and len(support) < shots:
            # in random order, so that argmax takes one of the best at random
            best = int((shown[pool] & missing).sum(1).argmax())
            support.append(int(pool[best]))
            missing &= ~shown[pool[best]]
            pool = np.delete(pool, best)
        return np.concatenate([support, pool[: shots - len(support) + queries]]).astype(np.int64)

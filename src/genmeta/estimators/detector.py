"""``FewShotDetector``: a few images with boxes to a working detector."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from genmeta.core.errors import DataError, UsageError
from genmeta.core.types import IGNORE, Boxes, Examples
from genmeta.data.ingest import ImageLike, as_sequence, read_sized_images
from genmeta.data.pixels import Pixels
from genmeta.engine import Trained
from genmeta.estimators.checks import check_probability
from genmeta.estimators.dense import DenseEstimator
from genmeta.estimators.fitting import BATCH, to_tensor
from genmeta.vision import Detection


class FoundBoxes(NamedTuple):
    """What was found in one image, best first.

    Attributes:
        boxes: ``[D 4]`` left, top, right, bottom, in pixels of the image as it was given.
        labels: ``[D]`` names of the classes.
        scores: ``[D]`` in [0, 1].
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


class FewShotDetector(DenseEstimator):
    """Learns to find objects from a few images with boxes, with weights that a meta-trained generator writes.

    Images are what :class:`~genmeta.estimators.FewShotClassifier` takes; both sides are resized to what the
    checkpoint reads. Objects without a box are background.

    Args:
        model: a checkpoint of a detection method: a name, a path or a run directory, a Hugging Face Hub id; by
            default ``detector``, which comes with the package.
        steps: adaptation steps; by default the checkpoint's own number.
        fine_tune: ``all`` to move the whole network from the generated start, by 50 steps of Adam if ``steps`` does not
            say otherwise: seconds in place of fractions of one, and worth them where images are far from those that
            the checkpoint has learned from. Or ``film``, ``head`` or ``rows``.
        threshold: least score of what is found.
        random_state: seed of what is random in fitting.

    Attributes:
        classes_: ``[K]`` names of the classes, sorted.
        n_support_: ``[K]`` boxes of each.
    """

    of, background, shown = Detection, 1, "images, boxes, labels"

    def __init__(
        self,
        model: str | os.PathLike[str] = "detector",
        *,
        steps: int | None = None,
        fine_tune: str = "",
        threshold: float = 0.3,
        random_state: int = 0,
    ) -> None:
        self.model = model
        self.steps = steps
        self.fine_tune = fine_tune
        self.threshold = threshold
        self.random_state = random_state

    def fit(
        self, images: Iterable[ImageLike], boxes: Sequence[Any], labels: Sequence[Sequence[str]]
    ) -> FewShotDetector:
        """Generates a detector for these classes and adapts it.

        Args:
            images: ``N`` of them.
            boxes: for each image ``[M 4]`` left, top, right, bottom in its pixels; what reaches beyond is clipped.
            labels: for each image ``M`` names.

        Raises:
            UsageError: a setting, a box or a label cannot be used, or the checkpoint is not one of detection.
            DataError: an image cannot be read, a box lies outside its image, or there is no box at all.
            CheckpointError: there is no such checkpoint.
        """
        check_probability("threshold", self.threshold, "score")
        trained = self._checkpoint()
        sequence = as_sequence(images)
        if not len(sequence) == len(boxes) == len(labels):
            raise UsageError(
                f"Expected boxes and labels for each of the {len(sequence)} images, got {len(boxes)} and {len(labels)}."
            )
        support, sizes = read_sized_images(sequence, _pixels(trained))
        cleaned = [_checked(n, b, names, sizes[n]) for n, (b, names) in enumerate(zip(boxes, labels, strict=True))]
        every = [name for _, names in cleaned for name in names]
        if not every:
            raise DataError("There is no box in any image. Give at least one box of each class.")
        self.classes_, counts = np.unique(every, return_counts=True)
        self.n_support_ = counts
        examples = Examples(to_tensor(support, torch.device("cpu"))[None], self._targets(cleaned))
        self._adapt(trained, examples)
        return self

    def predict(self, images: Iterable[ImageLike]) -> list[FoundBoxes]:
        """What is found in each image, each on its own.

        Raises:
            DataError: an image cannot be read.
        """
        self._check_fitted()
        pixels, sizes = read_sized_images(images, _pixels(self._trained))
        vision = cast(Detection, self._trained.meta_learner.vision)
        found: list[FoundBoxes] = []
        for at in range(0, len(pixels), BATCH):
            part = to_tensor(pixels[at : at + BATCH], torch.device("cpu"))[None]
            with torch.no_grad():
                outputs = self._trained.meta_learner.respond(part, self._adapted)
                pooled = self._trained.meta_learner.pooled(outputs, 1)
            boxes, labels, scores = (leaf[0].numpy() for leaf in vision.detect(pooled))
            for n, size in enumerate(sizes[at : at + BATCH]):
                good = scores[n] >= self.threshold
                scale = np.array([*size, *size], dtype=np.float64)
                found.append(FoundBoxes(boxes[n][good] * scale, self.classes_[labels[n][good] - 1], scores[n][good]))
        return found

    def _targets(self, cleaned: Sequence[tuple[np.ndarray, list[str]]]) -> Boxes:
        most = max(len(names) for _, names in cleaned)
        boxes = np.zeros((1, len(cleaned), most, 4), np.float32)
        labels = np.full((1, len(cleaned), most), IGNORE, np.int64)
        for n, (of_image, names) in enumerate(cleaned):
            boxes[0, n, : len(names)] = of_image
            labels[0, n, : len(names)] = np.searchsorted(self.classes_, names) + 1
        return Boxes(torch.from_numpy(boxes), torch.from_numpy(labels))


def _pixels(trained: Trained) -> Pixels:
    learner = trained.meta_learner.learner.config
    return Pixels(learner.size, learner.channels, fit="stretch")


def _checked(number: int, boxes: Any, names: Sequence[str], size: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Boxes of one image as shares of it, inside it, and their names."""
    array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4) if len(boxes) else np.zeros((0, 4))
    if len(array) != len(names) or not np.isfinite(array).all():
        raise UsageError(
            f"Image number {number} has {len(array)} boxes and {len(names)} labels. "
            "Give each box four finite numbers (left, top, right, bottom) and one label."
        )
    inside = np.clip(array / [*size, *size], 0.0, 1.0)
    empty = np.flatnonzero((inside[:, 2:] <= inside[:, :2]).any(1))
    if len(empty):
        raise DataError(
            f"Box {array[empty[0]].tolist()} of image number {number} has no area inside the image of "
            f"{size[0]} x {size[1]} pixels. Boxes are left, top, right, bottom, in pixels."
        )
    return inside, [str(name) for name in names]

"""``FewShotSegmenter``: a few images with masks to a working segmenter."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmeta.core.errors import DataError, UsageError
from genmeta.core.types import IGNORE, Examples
from genmeta.data.ingest import ImageLike, as_sequence, read_sized_images
from genmeta.data.pixels import Pixels
from genmeta.engine import Trained
from genmeta.estimators.dense import DenseEstimator
from genmeta.estimators.fitting import to_tensor
from genmeta.vision import Segmentation
from genmeta.vision.segmentation import at_size_of

#: Images that are answered together; bounds memory, not results.
BATCH = 8


class FewShotSegmenter(DenseEstimator):
    """Learns to segment images from a few with masks, with weights that a meta-trained generator writes.

    Images are what :class:`~genmeta.estimators.FewShotClassifier` takes. A mask holds a class number for each pixel of
    its image: any whole numbers from 0, the smallest of which is usually the background, and −1 where a pixel has no
    label, so that scribbles will do. Images and masks are resized to what the checkpoint reads.

    Args:
        model: a checkpoint of a segmentation method: a name, a path or a run directory, a Hugging Face Hub id; by
            default ``segmenter``, which comes with the package.
        steps: adaptation steps; by default the checkpoint's own number.
        fine_tune: ``all`` to move the whole network from the generated start, by 50 steps of Adam if ``steps`` does not
            say otherwise: seconds in place of fractions of one, and worth them where images are far from those that
            the checkpoint has learned from. Or ``film``, ``head`` or ``rows``.
        size: pixels of the square that images are resized to; by default what the checkpoint was trained at.
        random_state: seed of what is random in fitting.

    Attributes:
        classes_: ``[K]`` the class numbers that the masks hold, sorted.
        n_support_: ``[K]`` labelled pixels of each, as the model reads them.
    """

    of, shown = Segmentation, "images, masks"

    def __init__(
        self,
        model: str | os.PathLike[str] = "segmenter",
        *,
        steps: int | None = None,
        fine_tune: str = "",
        size: int = 0,
        random_state: int = 0,
    ) -> None:
        self.model = model
        self.steps = steps
        self.fine_tune = fine_tune
        self.size = size
        self.random_state = random_state

    def fit(self, images: Iterable[ImageLike], masks: Sequence[Any]) -> FewShotSegmenter:
        """Generates a segmenter for the classes of the masks and adapts it.

        Args:
            images: ``N`` of them.
            masks: for each image ``[H W]`` whole numbers, of the image's own height and width.

        Raises:
            UsageError: a setting cannot be used, or the checkpoint is not one of segmentation.
            DataError: an image cannot be read, a mask does not fit its image or is not one, or all is of one class.
            CheckpointError: there is no such checkpoint.
        """
        trained = self._checkpoint()
        sequence = as_sequence(images)
        if len(sequence) != len(masks):
            raise UsageError(f"Expected a mask for each of the {len(sequence)} images, got {len(masks)}.")
        support, sizes = read_sized_images(sequence, self._reads(trained))
        read = [_mask(n, mask, sizes[n]) for n, mask in enumerate(masks)]
        small = np.stack([_resized(mask, support.shape[1]) for mask in read])
        classes, numbers = np.unique(small[small != IGNORE], return_inverse=True)
        if len(classes) < 2:
            raise DataError(
                f"The masks hold {len(classes)} classes ({', '.join(map(str, classes)) or 'no label at all'}), but 2 "
                "or more are needed: the background and an object. Check that the masks are class numbers."
            )
        targets = np.full(small.shape, IGNORE, np.int64)
        targets[small != IGNORE] = numbers
        self.classes_, self.n_support_ = classes, np.bincount(numbers, minlength=len(classes))
        examples = Examples(to_tensor(support, torch.device("cpu"))[None], torch.from_numpy(targets)[None])
        self._adapt(trained, examples)
        return self

    def predict(self, images: Iterable[ImageLike]) -> list[np.ndarray]:
        """For each image ``[H W]`` the class number of each of its pixels; each image on its own.

        Raises:
            DataError: an image cannot be read.
        """
        return [self.classes_[chances.argmax(-1)] for chances in self.predict_proba(images)]

    def predict_proba(self, images: Iterable[ImageLike]) -> list[np.ndarray]:
        """For each image ``[H W K]`` probabilities of the classes in the order of :attr:`classes_`.

        Raises:
            DataError: an image cannot be read.
        """
        self._check_fitted()
        pixels, sizes = read_sized_images(images, self._reads(self._trained))
        found: list[np.ndarray] = []
        for at in range(0, len(pixels), BATCH):
            part = to_tensor(pixels[at : at + BATCH], torch.device("cpu"))[None]
            with torch.no_grad():
                outputs = self._trained.meta_learner.respond(part, self._adapted)
                pooled = self._trained.meta_learner.pooled(outputs, 1)
            for n in range(pooled.shape[1]):
                width, height = (int(side) for side in sizes[at + n])
                found.append(_at_size(pooled[:, n : n + 1], height, width))
        return found

    def _reads(self, trained: Trained) -> Pixels:
        learner = trained.meta_learner.learner.config
        return Pixels(self.size or learner.size, learner.channels, fit="stretch")


def _at_size(outputs: Tensor, height: int, width: int) -> np.ndarray:
    like = torch.empty(1, 1, height, width, dtype=torch.int64)
    return torch.softmax(at_size_of(outputs, like)[0, 0], -1).numpy()


def _mask(number: int, mask: Any, size: np.ndarray) -> np.ndarray:
    """The mask of an image as whole numbers ``[H W]``."""
    array = np.asarray(mask)
    width, height = (int(side) for side in size)
    if array.shape != (height, width):
        raise DataError(
            f"The mask of image number {number} has shape {list(array.shape)}, but the image is {width} x {height} "
            f"pixels: expected [{height} {width}]."
        )
    if array.dtype.kind not in "biu":
        raise DataError(f"The mask of image number {number} holds {array.dtype}; expected whole class numbers.")
    array = array.astype(np.int64)
    if array.min(initial=0) < IGNORE:
        raise DataError(
            f"The mask of image number {number} holds {array.min()}; class numbers are 0 or more, and {IGNORE} means "
            "that a pixel has no label."
        )
    return array


def _resized(mask: np.ndarray, side: int) -> np.ndarray:
    """The mask at ``side × side`` pixels, each the nearest of the mask's."""
    rows, columns = (((np.arange(side) + 0.5) * length / side).astype(int) for length in mask.shape)
    return mask[rows[:, None], columns]

"""Episodes of classification tasks, sampled without a loop over images."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from genmeta.core.errors import DataError, UsageError, unknown
from genmeta.core.randomness import numpy_rng
from genmeta.core.transfer import sent
from genmeta.core.types import Examples, Task
from genmeta.data.classes import ImageClasses
from genmeta.tasks.augment import KINDS, jitter_task
from genmeta.tasks.base import SPLITS, Range, TaskDistribution
from genmeta.tasks.embedding import Embed, Embedding, Features
from genmeta.tasks.on_device import MOST_BYTES, ImagesOnDevice


class ClassificationTasks(TaskDistribution):
    """K-way tasks from the classes of one split.

    Each task draws ``ways`` classes, then ``shots + queries`` different images of each; class numbers are shuffled, so
    a class is never tied to a number; query images come in random order. Where quarter turns are on, each class turned
    by 90, 180 and 270 degrees counts as a class of its own (Santoro et al., 2016, https://arxiv.org/abs/1605.06065).

    Args:
        data: images by class.
        split: ``train``, ``val`` or ``test``.
        ways: classes of a task, a number or a range such as ``"5-20"`` (drawn once per batch).
        shots: support images of each class, a number or a range.
        queries: query images of each class.
        augment: ``none``, ``affine``, ``elastic`` or ``style``; see :mod:`genmeta.tasks.augment`.
        quarter_turns: count turned classes as classes of their own, even where the data set does not.
        min_images: leaves out classes with fewer images instead of refusing.

    Raises:
        UsageError: an unknown name, or a number that makes no tasks.
        DataError: the split is empty, has too few classes, or a class has too few images.
    """

    def __init__(
        self,
        data: ImageClasses,
        split: str = "train",
        *,
        ways: int | str | Range = 5,
        shots: int | str | Range = 1,
        queries: int = 5,
        augment: str = "none",
        quarter_turns: bool = False,
        min_images: int = 0,
    ) -> None:
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        if augment not in KINDS:
            raise unknown("augmentation", augment, KINDS)
        if queries < 1:
            raise UsageError(f"--queries must be 1 or more, got {queries}.")
        self.name = data.name
        self.data, self.split, self.augment, self.min_images = data, split, augment, min_images
        self.ways, self.shots, self.queries = Range.parse(ways, "ways"), Range.parse(shots, "shots"), queries
        if self.ways.low < 2:
            raise UsageError(
                f"In tasks of one class there is nothing to tell apart, got --ways {ways}. Give 2 or more."
            )
        self.quarter_turns = quarter_turns or split in data.quarter_turns
        self._embedding: Embedding | None = None
        self._look_up: ImagesOnDevice | None = None
        counts = data.counts()
        self.classes = np.asarray([c for c in data.splits[split] if counts[c] >= min_images], dtype=np.int64)
        self._check(counts)

    def _check(self, counts: np.ndarray) -> None:
        name, ways, shots = self.data.name, self.ways, self.shots
        turned = 4 if self.quarter_turns else 1
        if len(self.classes) == 0:
            filled = [s for s in SPLITS if len(self.data.splits[s])]
            raise DataError(
                f"Split {self.split!r} of {name!r} has no classes. Splits with classes: {', '.join(filled)}. "
                f"{self.data.remark}".rstrip()
            )
        if ways.high > len(self.classes) * turned:
            raise DataError(
                f"{ways.high}-way tasks need {ways.high} classes, but split {self.split!r} of {name!r} has "
                f"{len(self.classes) * turned}. Lower --ways."
            )
        need = shots.high + self.queries
        poorest = self.classes[np.argmin(counts[self.classes])]
        if counts[poorest] < need:
            raise DataError(
                f"{ways}-way {shots}-shot with {self.queries} queries needs {need} images of each class, but "
                f"{self.data.class_names[poorest]!r} has {counts[poorest]}. "
                f"Lower shots or queries, or pass min_images={need} (--min-images {need}) to drop such classes."
            )

    @property
    def n_classes(self) -> int:
        """Number of different classes, quarter turns included."""
        return len(self.classes) * (4 if self.quarter_turns else 1)

    def class_name(self, number: int) -> str:
        turn, index = divmod(number, len(self.classes))
        return self.data.class_names[self.classes[index]] + (f" turned {90 * turn}°" if turn else "")

    @property
    def n_images(self) -> int:
        """Number of different images, quarter turns included."""
        return int(self.data.counts()[self.classes].sum()) * (4 if self.quarter_turns else 1)

    @property
    def fewest_images(self) -> int:
        """Number of images of the class that has the fewest."""
        return int(self.data.counts()[self.classes].min())

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        return self.data.image_shape

    def fingerprint(self) -> bytes:
        data = self.data
        how = (self.ways, self.shots, self.augment, self.quarter_turns, self.split)
        text = f"{[str(part) for part in how]} {data.name} {data.images.shape}".encode()
        some = np.ascontiguousarray(data.images[:: max(1, len(data.images) // 64)])
        arrays = (np.ascontiguousarray(data.offsets), np.ascontiguousarray(self.classes), some)
        return text + b"".join(array.tobytes() for array in arrays)

    def with_queries(self, queries: int) -> ClassificationTasks:
        """The same tasks with another number of query images."""
        tasks = copy.copy(self)
        tasks.queries = queries
        tasks._check(self.data.counts())
        return tasks

    def embedded(self, embed: Embed, known: Features | None = None) -> ClassificationTasks:
        """The same tasks, with feature vectors ``[T N D]`` in place of images.

        Args:
            embed: how images become features.
            known: features that are known already; those of further classes are added when they are first drawn.

        Raises:
            UsageError: the images are jittered, so that no feature is needed twice.
        """
        if self.augment != "none":
            raise UsageError(f"Images that change with every task (augment={self.augment!r}) have no fixed features.")
        tasks = copy.copy(self)
        tasks._embedding = Embedding(self.data, embed, {} if known is None else known)
        return tasks

    def on(self, device: torch.device) -> ClassificationTasks:
        """The same tasks with their images on ``device``, where the data fit; features stay where they are."""
        if device.type == "cpu" or self._embedding is not None or self.data.images.nbytes > MOST_BYTES:
            return self
        tasks = copy.copy(self)
        tasks._look_up = ImagesOnDevice(self.data, device)
        return tasks

    def sample(self, n_tasks: int, *, rng: torch.Generator) -> Task:
        """Draws ``n_tasks`` tasks; see :class:`TaskDistribution`."""
        random = numpy_rng(rng)
        ways, shots = self.ways.draw(random), self.shots.draw(random)
        per_class = shots + self.queries
        picks = _distinct(random, n_tasks, self.n_classes, ways)
        classes, turns = self.classes[picks % len(self.classes)], picks // len(self.classes)
        counts = self.data.counts()[classes]
        order = _distinct_below(random, counts, per_class)
        look_up = self._embedding or self._look_up or self._pixels
        pixels = look_up(classes, turns, order)
        labels = torch.arange(ways, device=pixels.device).expand(n_tasks, ways)
        support = _lay_out(pixels[:, :, :shots], labels)
        query = _lay_out(pixels[:, :, shots:], labels)
        places = torch.from_numpy(random.random(query.labels.shape)).argsort(1)
        query = _shuffle(query, sent(places, pixels.device))
        if self.augment != "none":
            shown, asked = jitter_task(support.images, query.images, self.augment, rng)
            support, query = support._replace(images=shown), query._replace(images=asked)
        return Task(support, query, ways, torch.from_numpy(picks))

    def _pixels(self, classes: np.ndarray, turns: np.ndarray, order: np.ndarray) -> Tensor:
        """``[T K n C H W]`` in [0, 1]."""
        where = self.data.offsets[classes][..., None] + order  # [T K n]
        images = self.data.images[where]  # [T K n H W C] uint8
        for turn in (1, 2, 3):
            chosen = turns == turn
            if chosen.any():
                images[chosen] = np.rot90(images[chosen], turn, axes=(2, 3))
        return torch.from_numpy(images).permute(0, 1, 2, 5, 3, 4).float().div_(255)


def _distinct(random: np.random.Generator, rows: int, below: int, count: int) -> np.ndarray:
    """``[rows count]`` numbers below ``below``, different within each row, in random order."""
    if count * 20 < below:
        # far fewer than there are: draw freely and redraw the few rows with a repetition
        picks = random.integers(0, below, (rows, count))
        while (bad := np.diff(np.sort(picks, 1), axis=1).min(1, initial=1) == 0).any():
            picks[bad] = random.integers(0, below, (int(bad.sum()), count))
        return picks
    return random.random((rows, below)).argsort(1)[:, :count]


def _distinct_below(random: np.random.Generator, counts: np.ndarray, count: int) -> np.ndarray:
    """``[... count]`` different numbers below each of ``counts`` ``[...]``, in random order."""
    most = int(counts.max())
    keys = random.random((*counts.shape, most))
    keys[np.arange(most) >= counts[..., None]] = 2.0  # places that a smaller class does not have sort last
    if count == most:
        return keys.argsort(-1)
    chosen = keys.argpartition(count - 1, axis=-1)[..., :count]
    # argpartition leaves the chosen in an order that depends on their places; sort them by their random keys
    return np.take_along_axis(chosen, np.take_along_axis(keys, chosen, -1).argsort(-1), -1)


def _lay_out(pixels: Tensor, labels: Tensor) -> Examples:
    """``[T K n C H W]`` and ``[T K]`` to examples ``[T K*n ...]``."""
    repeated = labels[..., None].expand(*labels.shape, pixels.shape[2])
    return Examples(pixels.flatten(1, 2).contiguous(), repeated.flatten(1).contiguous())


def _shuffle(examples: Examples, order: Tensor) -> Examples:
    rows = torch.arange(order.shape[0], device=order.device)[:, None]
    return Examples(examples.images[rows, order], examples.labels[rows, order])

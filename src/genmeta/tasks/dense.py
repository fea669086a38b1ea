"""Episodes of tasks about what is where in an image: a few annotated images, and further ones to be asked about."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch

from genmeta.core.errors import DataError, UsageError, unknown
from genmeta.core.randomness import numpy_rng
from genmeta.core.types import Examples, Targets, Task
from genmeta.data.scene_source import Scenes, SceneSource
from genmeta.tasks.base import SPLITS, Range, TaskDistribution


class DenseTasks(TaskDistribution):
    """Tasks of ``ways`` classes, ``shots`` support images, each with every class in it, and ``queries`` query images.

    So ``shots`` is the number of annotated examples of each class, as in classification, and the number of images to
    annotate. Which class gets which number is drawn anew for every task.

    Args:
        source: annotated images.
        split: ``train``, ``val`` or ``test``.
        ways: classes of a task, a number or a range such as ``"2-5"`` (drawn once per batch).
        shots: support images, a number or a range.
        queries: query images of a task.

    Raises:
        DataError: the split is empty, has too few classes or images, or lacks the annotation.
    """

    #: What annotation the tasks are made of, ``masks`` or ``boxes``.
    needs: ClassVar[str]

    def __init__(
        self,
        source: SceneSource,
        split: str = "train",
        *,
        ways: int | str | Range = 3,
        shots: int | str | Range = 1,
        queries: int = 3,
    ) -> None:
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        if queries < 1:
            raise UsageError(f"--queries must be 1 or more, got {queries}.")
        self.source, self.name, self.split = source, source.name, split
        self.ways, self.shots, self.queries = Range.parse(ways, "ways"), Range.parse(shots, "shots"), queries
        self.classes = np.asarray(source.splits[split], dtype=np.int64)
        self._check()

    def _check(self) -> None:
        name, split = self.name, self.split
        if self.needs not in self.source.annotates:
            raise DataError(
                f"{name!r} has {' and '.join(sorted(self.source.annotates))}, but {self.needs} are needed. "
                "See genmeta list datasets."
            )
        if len(self.classes) == 0:
            filled = [s for s in SPLITS if len(self.source.splits[s])]
            raise DataError(f"Split {split!r} of {name!r} has no classes. Splits with classes: {', '.join(filled)}.")
        if self.ways.high > len(self.classes):
            raise DataError(
                f"{self.ways.high}-way tasks need {self.ways.high} classes, but split {split!r} of {name!r} has "
                f"{len(self.classes)}. Lower --ways."
            )
        need, there = self.shots.high + self.queries, self.fewest_images
        if there < need:
            raise DataError(
                f"{self.shots}-shot tasks with {self.queries} queries need {need} images, but split {split!r} of "
                f"{name!r} has {there} of its rarest class. Lower shots or queries."
            )

    @property
    def fewest_images(self) -> int:
        return self.source.fewest_images(self.split)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.source.image_shape

    def with_queries(self, queries: int) -> DenseTasks:
        return type(self)(self.source, self.split, ways=self.ways, shots=self.shots, queries=queries)

    def fingerprint(self) -> bytes:
        how = (type(self).__name__, self.ways, self.shots, self.split)
        return f"{[str(part) for part in how]} {self.name} {self.source.fingerprint}".encode()

    @abstractmethod
    def targets(self, scenes: Scenes) -> Targets:
        """What the images show, as the visual task reads it."""

    def class_ids(self, classes: torch.Tensor) -> torch.Tensor:
        """``[T K]`` of a task's classes, from their indices in the data set."""
        return classes

    def sample(self, n_tasks: int, *, rng: torch.Generator) -> Task:
        """Draws ``n_tasks`` tasks; see :class:`TaskDistribution`."""
        random = numpy_rng(rng)
        ways, shots = self.ways.draw(random), self.shots.draw(random)
        picks = self.classes[random.random((n_tasks, len(self.classes))).argsort(1)[:, :ways]]
        scenes = self.source.draw(self.split, picks, shots, self.queries, random)
        images = torch.from_numpy(scenes.images).permute(0, 1, 4, 2, 3).float().div_(255)
        both = Examples(images, self.targets(scenes))
        ids = self.class_ids(torch.from_numpy(picks))
        return Task(both.only(0, shots), both.only(shots), ids.shape[1], ids)

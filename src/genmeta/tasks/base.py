"""What a distribution of tasks is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch

from genmeta.core.errors import UsageError
from genmeta.core.types import Task

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Range:
    """A number, or a range to draw it from: ``5`` or ``5-20``, both ends included."""

    low: int
    high: int

    @classmethod
    def parse(cls, text: str | int | Range, what: str) -> Range:
        """Reads ``5`` or ``5-20``.

        Raises:
            UsageError: ``text`` is neither, is below 1, or runs backwards.
        """
        if isinstance(text, Range):
            return text
        low, dash, high = str(text).partition("-")
        try:
            parsed = cls(int(low), int(high if dash else low))
        except ValueError:
            raise UsageError(f"--{what} takes a number or a range such as 5 or 5-20, got {text!r}.") from None
        if parsed.low < 1 or parsed.high < parsed.low:
            raise UsageError(f"--{what} needs 1 or more and a range that does not run backwards, got {text!r}.")
        return parsed

    def draw(self, rng: np.random.Generator) -> int:
        """A number of the range, uniformly."""
        return int(rng.integers(self.low, self.high + 1))

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


class TaskDistribution(ABC):
    """``p(T)``: something that deals out batches of tasks.

    Attributes:
        name: of the data, as the user wrote it.
        split: ``train``, ``val`` or ``test``.
        ways: classes of a task that the user counts (the background of segmentation is not counted).
        shots: support images of each class.
        queries: query images of each class (dense tasks: of a task).
    """

    name: str
    split: str
    ways: Range
    shots: Range
    queries: int

    @property
    @abstractmethod
    def n_classes(self) -> int:
        """Number of different classes, whatever counts as one; ``Task.class_ids`` are below it."""

    @abstractmethod
    def class_name(self, number: int) -> str:
        """Of a class as ``Task.class_ids`` number it."""

    @property
    @abstractmethod
    def fewest_images(self) -> int:
        """Number of images of the class that has the fewest."""

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""

    @abstractmethod
    def with_queries(self, queries: int) -> TaskDistribution:
        """The same tasks with another number of query images."""

    def on(self, device: torch.device) -> TaskDistribution:
        """The same tasks, drawn where they are used if that is worth it; by default as they are, on the CPU."""
        return self

    @abstractmethod
    def fingerprint(self) -> bytes:
        """What the tasks depend on: equal for equal tasks."""

    @abstractmethod
    def sample(self, n_tasks: int, *, rng: torch.Generator) -> Task:
        """``n_tasks`` tasks with the same ways and shots. The same ``rng`` state gives the same tasks."""

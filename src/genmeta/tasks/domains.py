"""Tasks of a domain: unlabelled images of it as support, images to classify as query; the classes stay the same."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genmeta.core.errors import DataError, UsageError, unknown
from genmeta.core.randomness import numpy_rng
from genmeta.core.types import IGNORE, Examples, Task
from genmeta.data.domains import DomainImages
from genmeta.tasks.augment import KINDS, jitter_task
from genmeta.tasks.base import Range, TaskDistribution

#: One image of every domain and class in so many is kept from training, to choose checkpoints by.
KEEP = 5


class DomainTasks(TaskDistribution):
    """A task is one domain: ``shots`` images of it without labels, and ``queries`` to classify among all classes.

    Class ``k`` is class ``k`` of the data set in every task. Support targets are ``IGNORE``, so that an
    unlabelled protocol cannot look at labels; ``labelled`` gives them.

    Args:
        data: images of several domains.
        domains: which of them, by number.
        part: ``train`` for four fifths of the images; ``val`` for queries from the rest and support from those
            four fifths; ``all`` for a domain never trained on.
        shots: support images of the domain, whatever their classes.
        queries: query images of the domain.
        labelled: tell the support images' classes.
        augment: ``none``, ``affine``, ``elastic`` or ``style``; see :mod:`genmeta.tasks.augment`.

    Raises:
        DataError: a domain has too few images.
    """

    def __init__(
        self,
        data: DomainImages,
        domains: np.ndarray,
        part: str = "train",
        *,
        shots: int = 50,
        queries: int = 50,
        labelled: bool = False,
        augment: str = "none",
    ) -> None:
        if part not in ("train", "val", "all"):
            raise unknown("part of the images", part, ("train", "val", "all"))
        if augment not in KINDS:
            raise unknown("augmentation", augment, KINDS)
        if shots < 1 or queries < 1 or not len(domains):
            raise UsageError(f"Domain tasks need shots, queries and domains, got {shots}, {queries}, {len(domains)}.")
        count = len(data.class_names)
        self.name, self.split, self.queries = data.name, part, queries
        self.ways, self.shots = Range(count, count), Range(shots, shots)
        self.data, self.domains, self.labelled, self.augment = data, np.asarray(domains), labelled, augment
        self._where = [_parts(np.flatnonzero(data.domains == g), part, int(g)) for g in self.domains]
        for g, (shown, asked) in zip(self.domains, self._where, strict=True):
            if len(shown) < shots + (queries if asked is None else 0) or (asked is not None and len(asked) < queries):
                count = len(shown) + (0 if asked is None else len(asked))
                raise DataError(
                    f"Domain {data.domain_names[g]!r} of {data.name!r} has {count} images to draw from (part {part}), "
                    f"too few for {shots} shots and {queries} queries. Lower --shots or --queries."
                )

    @property
    def n_classes(self) -> int:
        return self.ways.low

    def class_name(self, number: int) -> str:
        return self.data.class_names[number]

    @property
    def fewest_images(self) -> int:
        """Number of images of the class that has the fewest in these domains together."""
        inside = np.isin(self.data.domains, self.domains)
        return int(np.bincount(self.data.labels[inside], minlength=self.n_classes).min())

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.data.image_shape

    def with_queries(self, queries: int) -> DomainTasks:
        return DomainTasks(
            self.data,
            self.domains,
            self.split,
            shots=self.shots.low,
            queries=queries,
            labelled=self.labelled,
            augment=self.augment,
        )

    def fingerprint(self) -> bytes:
        how = (self.shots.low, self.labelled, self.augment, self.split, self.domains.tolist())
        text = f"{how} {self.name} {self.data.images.shape}".encode()
        some = np.ascontiguousarray(self.data.images[:: max(1, len(self.data.images) // 64)])
        return text + some.tobytes()

    def sample(self, n_tasks: int, *, rng: torch.Generator) -> Task:
        """Draws domains, different ones where there are enough, then images of each."""
        random = numpy_rng(rng)
        rounds = -(-n_tasks // len(self.domains))
        picks = np.concatenate([random.permutation(len(self.domains)) for _ in range(rounds)])[:n_tasks]
        return self.of(picks, random, rng)

    def of(self, picks: np.ndarray, random: np.random.Generator, rng: torch.Generator) -> Task:
        """One task of each domain in ``picks``, numbers into :attr:`domains`."""
        shown, asked = [], []
        for g in picks:
            own, kept = self._where[g]
            order = random.permutation(own)
            shown.append(order[: self.shots.low])
            rest = order[self.shots.low :] if kept is None else random.permutation(kept)
            asked.append(rest[: self.queries])
        support, query = self._examples(np.stack(shown)), self._examples(np.stack(asked))
        if not self.labelled:
            support = support._replace(targets=torch.full_like(support.labels, IGNORE))
        if self.augment != "none":
            seen, posed = jitter_task(support.images, query.images, self.augment, rng)
            support, query = support._replace(images=seen), query._replace(images=posed)
        ids: Tensor = torch.arange(self.n_classes).expand(len(picks), -1)
        return Task(support, query, self.n_classes, ids)

    def _examples(self, where: np.ndarray) -> Examples:
        pixels = torch.from_numpy(self.data.images[where]).permute(0, 1, 4, 2, 3).float().div_(255)
        return Examples(pixels, torch.from_numpy(self.data.labels[where]).long())


def _parts(where: np.ndarray, part: str, domain: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Images to draw support from, and those to draw queries from; ``None`` for what the support leaves.

    Other places are kept in the next domain: where a class has one image in each, it is trained on in most of them.
    """
    kept = (np.random.default_rng(0).permutation(len(where)) + domain) % KEEP == 0
    if part == "val":
        return where[~kept], where[kept]
    return (where if part == "all" else where[~kept]), None

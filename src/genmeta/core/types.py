"""The nouns that cross floors. Letters: ``T`` tasks, ``N`` examples, ``K`` ways, ``D`` features, ``P`` weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from genmeta.core.randomness import of_tasks

#: Weights of a batch of tasks: tensor name -> ``[T *shape]``; class rows under :data:`ROWS` as ``[T K R]``.
Weights = dict[str, Tensor]

#: Numbers for a log by name. A tensor of one number is read when the log is written, so that no step waits for a GPU.
Logs = dict[str, float | Tensor]

#: The reserved name of the class rows in :data:`Weights`.
ROWS = "rows"


#: In class numbers and in class masks: no label here. Such pixels and boxes teach nothing and count for nothing.
IGNORE = -1


class Boxes(NamedTuple):
    """Objects of images, padded to the same number ``M`` for every image so that tasks can be batched.

    Attributes:
        boxes: ``[T N M 4]`` float, corners ``x0 y0 x1 y1`` as shares of the image's width and height, so that no
            network need know the size of its images; any numbers where the label is padding.
        labels: ``[T N M]`` int64 class numbers in ``1..ways-1`` (0 is the background), or :data:`IGNORE` for padding.
    """

    boxes: Tensor
    labels: Tensor


#: What images show: class numbers ``[T N]``, class masks ``[T N H W]`` (:data:`IGNORE` where unlabelled), or boxes.
Targets = Tensor | Boxes


class Examples(NamedTuple):
    """Images and what they show, for a batch of tasks.

    Attributes:
        images: ``[T N C H W]`` float.
        targets: class numbers ``[T N]`` int64 (classification), class masks ``[T N H W]`` int64 (segmentation), or
            :class:`Boxes` (detection).
    """

    images: Tensor
    targets: Targets

    @property
    def labels(self) -> Tensor:
        """The targets as the one tensor that class numbers and class masks are."""
        if isinstance(self.targets, Boxes):
            raise TypeError("boxes are not one tensor")  # a programming error: the visual task knows its targets
        return self.targets

    def slice(self, start: int, stop: int) -> Examples:
        """The tasks ``start..stop-1``."""
        return self._each(lambda leaf: leaf[start:stop])

    def only(self, start: int, stop: int | None = None) -> Examples:
        """Of every task the examples ``start..stop-1``, by default to the last."""
        return self._each(lambda leaf: leaf[:, start:stop])

    def repeat(self, times: int) -> Examples:
        """Each task ``times`` times in a row, so that samples ride along as further tasks."""
        return self if times == 1 else self._each(lambda leaf: leaf.repeat_interleave(times, dim=0))

    def joined(self, other: Examples) -> Examples:
        """These examples of each task, then those of ``other``."""
        return concatenate([self, other], dim=1)

    def to(self, *args: object, **kwargs: object) -> Examples:
        """Moves images and targets; a dtype changes the images only."""
        images = self.images.to(*args, **kwargs)  # type: ignore[call-overload]
        return Examples(images, _each(self.targets, lambda leaf: leaf.to(images.device)))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Examples:
        return Examples(change(self.images), _each(self.targets, change))


def concatenate(parts: Sequence[Examples], dim: int = 0) -> Examples:
    """Examples put together along the tasks (``dim=0``) or along the examples of each task (``dim=1``)."""
    images, first = torch.cat([part.images for part in parts], dim), parts[0].targets
    if isinstance(first, Boxes):
        leaves = zip(*[part.targets for part in parts if isinstance(part.targets, Boxes)], strict=True)
        return Examples(images, Boxes(*[torch.cat(leaf, dim) for leaf in leaves]))
    return Examples(images, torch.cat([part.labels for part in parts], dim))


def _each(targets: Targets, change: Callable[[Tensor], Tensor]) -> Targets:
    return Boxes(*[change(leaf) for leaf in targets]) if isinstance(targets, Boxes) else change(targets)


class Task(NamedTuple):
    """A batch of ``T`` tasks with the same number of classes.

    Attributes:
        support: the labelled examples a learner may adapt on.
        query: the examples it is scored on; no image is in both.
        ways: number of classes ``K``; the background of segmentation and detection is one of them, class number 0.
        class_ids: ``[T K]`` which class of the data set each class number stands for (its quarter turn included).
        first: place of the batch's first task in the meta-batch that it is a slice of; names the noise of its tasks.
    """

    support: Examples
    query: Examples
    ways: int
    class_ids: Tensor
    first: int = 0

    @property
    def n_tasks(self) -> int:
        """Number of tasks ``T`` in the batch."""
        return self.support.images.shape[0]

    def slice(self, start: int, stop: int) -> Task:
        """The tasks ``start..stop-1``."""
        support, query = self.support.slice(start, stop), self.query.slice(start, stop)
        return Task(support, query, self.ways, self.class_ids[start:stop], self.first + start)

    def noise(self, rng: torch.Generator) -> torch.Generator:
        """The streams of these tasks where ``rng`` is that of a whole meta-batch, ``rng`` itself otherwise."""
        return of_tasks(rng, self.first, self.n_tasks)

    def to(self, *args: object, **kwargs: object) -> Task:
        """Moves every tensor; a dtype changes the images only."""
        support = self.support.to(*args, **kwargs)
        query = self.query.to(*args, **kwargs)
        return Task(support, query, self.ways, self.class_ids.to(support.images.device), self.first)


class Tokens(NamedTuple):
    """Support evidence in the one form every encoder and closed form reads, whatever the visual task.

    Attributes:
        values: ``[T N D]`` a feature vector for each piece of evidence (an image, a part of an object).
        membership: ``[T N K]`` how much evidence ``n`` weighs for class ``k``: 1 or 0 for an image, a number of pixels
            for a part; zero for all classes where there is no evidence, only a place for it. ``None`` without labels.
    """

    values: Float[Tensor, "T N D"]
    membership: Float[Tensor, "T N K"] | None

    @property
    def present(self) -> Float[Tensor, "T N 1"]:
        """1 where there is evidence, 0 where there is only a place for it."""
        if self.membership is None:
            return torch.ones_like(self.values[..., :1])
        return (self.membership.sum(-1, keepdim=True) > 0).to(self.values.dtype)


class Context(NamedTuple):
    """What the support set says.

    Attributes:
        task: ``[T D]`` summary of the whole task.
        classes: ``[T K D]`` summary of each class; ``None`` where there were no labels.
    """

    task: Float[Tensor, "T D"]
    classes: Float[Tensor, "T K D"] | None


class Latent(NamedTuple):
    """A code in :attr:`Start.weights` that adaptation may move in place of the weights written from it.

    Attributes:
        names: the entries of :attr:`Start.weights` that are codes.
        decode: ``(codes, step) -> weights`` written from the codes; noise, where there is any, differs by step.
        step_sizes: of the codes.
        penalty: codes -> ``[T]`` nats added to the support loss of steps on the codes; ``None`` for nothing.
        cost: adapted codes -> ``[T]`` nats, what their way from the start costs in meta-training.
    """

    names: tuple[str, ...]
    decode: Callable[[Weights, int], Weights]
    step_sizes: Weights
    penalty: Callable[[Weights], Tensor] | None
    cost: Callable[[Weights], Tensor]


class Start(NamedTuple):
    """Where adaptation begins.

    Attributes:
        weights: θ₀, name -> ``[T ...]``; with a latent, its codes too.
        step_sizes: α, name -> a tensor that broadcasts against the weights of that name.
        cost: ``[T]`` nats, what the sample cost (a KL divergence, say); 0 for deterministic generators.
        samples: draws ``S`` of the start for each task; those of a task stand in a row, ``T`` above counts all draws.
        latent: how the weights are written from codes, where adaptation moves codes.
    """

    weights: Weights
    step_sizes: Weights
    cost: Float[Tensor, " T"]
    samples: int = 1
    latent: Latent | None = None


class Outcome(NamedTuple):
    """What a learner said of the query images of a batch of tasks.

    Attributes:
        outputs: after the last step, ``[T N K]`` logits for each query image (see the visual task for other forms).
        loss: ``[T]`` query loss of each task in nats, the quantity that trains a generator.
        cost: ``[T]`` nats, carried over from :class:`Start`.
    """

    outputs: Tensor
    loss: Float[Tensor, " T"]
    cost: Float[Tensor, " T"]

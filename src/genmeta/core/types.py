"""The nouns that cross floors. Letters: ``T`` tasks, ``N`` examples, ``K`` ways, ``D`` features, ``P`` weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

#: Weights of a batch of tasks: tensor name -> ``[T *shape]``; class rows under :data:`ROWS` as ``[T K R]``.
Weights = dict[str, Tensor]

#: The reserved name of the class rows in :data:`Weights`.
ROWS = "rows"


class Examples(NamedTuple):
    """Images and what they show, for a batch of tasks.

    Attributes:
        images: ``[T N C H W]`` float.
        targets: ``[T N]`` int64 class numbers in ``0..ways-1`` (classification).
    """

    images: Tensor
    targets: Tensor

    def slice(self, start: int, stop: int) -> Examples:
        """The tasks ``start..stop-1``."""
        return Examples(self.images[start:stop], self.targets[start:stop])

    def joined(self, other: Examples) -> Examples:
        """These examples of each task, then those of ``other``."""
        return Examples(torch.cat([self.images, other.images], 1), torch.cat([self.targets, other.targets], 1))

    def to(self, *args: object, **kwargs: object) -> Examples:
        """Moves images and targets; a dtype changes the images only."""
        images = self.images.to(*args, **kwargs)  # type: ignore[call-overload]
        return Examples(images, self.targets.to(images.device))


class Task(NamedTuple):
    """A batch of ``T`` tasks with the same number of classes.

    Attributes:
        support: the labelled examples a learner may adapt on.
        query: the examples it is scored on; no image is in both.
        ways: number of classes ``K``.
        class_ids: ``[T K]`` which class of the data set each class number stands for (its quarter turn included).
    """

    support: Examples
    query: Examples
    ways: int
    class_ids: Tensor

    @property
    def n_tasks(self) -> int:
        """Number of tasks ``T`` in the batch."""
        return self.support.images.shape[0]

    def slice(self, start: int, stop: int) -> Task:
        """The tasks ``start..stop-1``."""
        return Task(
            self.support.slice(start, stop), self.query.slice(start, stop), self.ways, self.class_ids[start:stop]
        )

    def to(self, *args: object, **kwargs: object) -> Task:
        """Moves every tensor; a dtype changes the images only."""
        support = self.support.to(*args, **kwargs)
        query = self.query.to(*args, **kwargs)
        return Task(support, query, self.ways, self.class_ids.to(support.images.device))


class Tokens(NamedTuple):
    """Support evidence in the one form every encoder and closed form reads, whatever the visual task.

    Attributes:
        values: ``[T N D]`` a feature vector for each piece of evidence (an image, a pixel, a box).
        membership: ``[T N K]`` 1 where evidence ``n`` speaks for class ``k``, else 0; ``None`` without labels.
    """

    values: Float[Tensor, "T N D"]
    membership: Float[Tensor, "T N K"] | None


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
        outputs: ``[T N K]`` logits for each query image after the last step.
        loss: ``[T]`` query loss of each task in nats, the quantity that trains a generator.
        cost: ``[T]`` nats, carried over from :class:`Start`.
    """

    outputs: Float[Tensor, "T N K"]
    loss: Float[Tensor, " T"]
    cost: Float[Tensor, " T"]

"""A hypernetwork that writes a network for each task of a sequence, and does not forget the earlier ones.

``θ_t = h(e_t; φ)``; while task ``t`` is learned, the weights of earlier tasks are held in place by
``β / (t − 1) Σ_{s<t} ‖h(e_s; φ*) − h(e_s; φ)‖²`` with ``φ*`` from before the task. von Oswald, Henning, Grewe,
Sacramento, "Continual learning with hypernetworks", 2020 (https://arxiv.org/abs/1906.00695). Deviations: ``φ`` itself
in the place of a look-ahead of one optimiser step, as the authors' code offers too. What is written for each class is a
mean and a basis, ``x̂ = μ + Wᵀ W (x − μ)``, and an image belongs to the class that rebuilds it best, among the classes
of one task or of all (Oja, "Subspace methods of pattern recognition", 1983): tasks learned apart can then be compared,
which the logits of classifiers learned apart cannot.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from genmeta.core.errors import UsageError
from genmeta.core.randomness import lent_to_torch
from genmeta.core.spec import ParamSpec
from genmeta.core.types import Weights
from genmeta.generators import HyperNetwork


@dataclass(frozen=True)
class ContinualConfig:
    """Settings of a continual hypernetwork.

    Attributes:
        inputs: numbers in an image.
        classes: of a task.
        code: rows of a class's basis ``W``.
        sharpness: of the softmax over negative squared errors, per image.
        embedding: length of a task's embedding ``e_t``.
        generator: width of the hypernetwork.
        chunk: weights written at a time.
        beta: β, strength of the regulariser; 0 for none.
        steps: Adam steps of a task.
        batch: images of a step.
        lr: learning rate.
    """

    inputs: int
    classes: int = 2
    code: int = 8
    sharpness: float = 2.0
    embedding: int = 32
    generator: int = 64
    chunk: int = 512
    beta: float = 0.01
    steps: int = 1000
    batch: int = 64
    lr: float = 1e-3

    def __post_init__(self) -> None:
        if self.beta < 0 or min(self.steps, self.batch, self.inputs, self.classes, self.chunk) < 1 or self.lr <= 0:
            raise UsageError(
                f"A task sequence needs beta of 0 or more, lr above 0 and every size of 1 or more, got {self}."
            )


class ContinualHypernetwork(nn.Module):
    """Task embeddings and the hypernetwork; grows by one embedding with each task.

    Args:
        config: settings.
        rng: initial weights and embeddings, and the order of the images.
    """

    def __init__(self, config: ContinualConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.config, self._rng = config, rng
        shapes = (
            ("mean", (config.classes, config.inputs)),
            ("basis", (config.classes, config.code, config.inputs)),
        )
        self.spec = ParamSpec(shapes, 1)
        with lent_to_torch(rng):
            self.generator = HyperNetwork(
                config.embedding, self.spec.shared_length, config.generator, config.chunk, 0.0
            )
        # every task's weights are corrections to one random initialisation
        self.register_buffer("base", torch.randn(self.spec.shared_length, generator=rng))
        self.embeddings = nn.ParameterList()

    @property
    def n_tasks(self) -> int:
        """Tasks learned so far."""
        return len(self.embeddings)

    def written(self) -> Float[Tensor, "T P"]:
        """Weights of each task, one row a task, in units of their initial spread."""
        values: Tensor = self.base + self.generator(torch.stack(list(self.embeddings)), self._rng).values
        return values

    def weights(self, values: Float[Tensor, "T P"]) -> Weights:
        """Written values as means ``[T K P]`` and bases ``[T K R P]``, in units of their initial spread."""
        written = self.spec.split(values)
        return {"mean": 0.1 * written["mean"], "basis": self.config.inputs**-0.5 * written["basis"]}

    def learn(self, images: Float[Tensor, "N P"], targets: Tensor) -> None:
        """Learns the next task from its images; earlier tasks' images are not needed.

        Args:
            images: flat, values in [0, 1].
            targets: ``[N]`` classes from 0 within the task.
        """
        config, known = self.config, self.n_tasks
        before = self.written().detach() if known else None
        self.embeddings.append(nn.Parameter(torch.randn(config.embedding, generator=self._rng)))
        # earlier embeddings stay as they are: what they mean is what the regulariser protects
        optimiser = torch.optim.Adam([*self.generator.parameters(), self.embeddings[known]], lr=config.lr)
        for _ in range(config.steps):
            batch = torch.randint(0, len(images), (config.batch,), generator=self._rng)
            values = self.written()
            errors = squared_errors(self.weights(values[-1:]), images[batch])[0]
            own = errors.gather(1, targets[batch][:, None]).mean() / config.inputs
            loss = F.cross_entropy(-config.sharpness * errors, targets[batch]) + 10 * own
            if before is not None and config.beta:
                loss = loss + config.beta * (values[:-1] - before).square().sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    @torch.no_grad()
    def answers(self, images: Float[Tensor, "N P"]) -> Float[Tensor, "T N K"]:
        """Logits of every class of every task; those of different tasks can be compared."""
        return -self.config.sharpness * squared_errors(self.weights(self.written()), images)


def squared_errors(weights: Weights, images: Float[Tensor, "N P"]) -> Float[Tensor, "T N K"]:
    """``‖(x − μ) − Wᵀ W (x − μ)‖²`` of every image under every class of every task."""
    centred = images[:, None] - weights["mean"][:, None]  # [T N K P]
    codes = torch.einsum("tnkp,tkrp->tnkr", centred, weights["basis"])
    rebuilt = torch.einsum("tnkr,tkrp->tnkp", codes, weights["basis"])
    return (centred - rebuilt).square().sum(-1)

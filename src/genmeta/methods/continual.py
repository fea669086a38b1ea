"""A hypernetwork that writes a network for each task of a sequence, and does not forget the earlier ones.

``θ_t = h(e_t; φ)``; while task ``t`` is learned, the weights of earlier tasks are held in place by
``β / (t − 1) Σ_{s<t} ‖h(e_s; φ*) − h(e_s; φ)‖²`` with ``φ*`` from before the task. von Oswald, Henning, Grewe,
Sacramento, "Continual learning with hypernetworks", 2020 (https://arxiv.org/abs/1906.00695). Deviations: ``φ`` itself
in the place of a look-ahead of one optimiser step, as the authors' code offers too; task inference by reconstruction:
beside the classifier, the hypernetwork writes a small autoencoder of the task's images, and an image of unknown task
belongs to the task that rebuilds it best.
"""

from __future__ import annotations

import itertools
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
        hidden: width of the classifier and of the autoencoder.
        code: width of the autoencoder's code.
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
    hidden: int = 64
    code: int = 8
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
        sizes = [config.inputs, config.hidden, config.classes]
        autoencoder = [config.inputs, config.hidden, config.code, config.hidden, config.inputs]
        shapes: list[tuple[str, tuple[int, ...]]] = []
        for net, widths in (("classify", sizes), ("rebuild", autoencoder)):
            for i, (a, b) in enumerate(itertools.pairwise(widths)):
                shapes += [(f"{net}.{i}.weight", (b, a)), (f"{net}.{i}.bias", (b,))]
        self.spec = ParamSpec(tuple(shapes), 1)
        with lent_to_torch(rng):
            self.generator = HyperNetwork(
                config.embedding, self.spec.shared_length, config.generator, config.chunk, 0.0
            )
        # every task's weights are corrections to one random initialisation
        self.register_buffer("base", torch.randn(self.spec.shared_length, generator=rng))
        self.embeddings = nn.ParameterList()
        self._units = {name: (2.0 / shape[1]) ** 0.5 if len(shape) == 2 else 0.1 for name, shape in shapes}

    @property
    def n_tasks(self) -> int:
        """Tasks learned so far."""
        return len(self.embeddings)

    def written(self) -> Float[Tensor, "T P"]:
        """Weights of each task, one row a task, in units of their initial spread."""
        values: Tensor = self.base + self.generator(torch.stack(list(self.embeddings)), self._rng).values
        return values

    def weights(self, values: Float[Tensor, "T P"]) -> Weights:
        """Written values as named tensors of their own size."""
        return {name: self._units[name] * tensor for name, tensor in self.spec.split(values).items()}

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
            weights = {name: value[-1] for name, value in self.weights(values).items()}
            logits, rebuilt = self._run(weights, images[batch])
            loss = F.cross_entropy(logits, targets[batch]) + 10 * (rebuilt - images[batch]).square().mean()
            if before is not None and config.beta:
                loss = loss + config.beta * (values[:-1] - before).square().sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    @torch.no_grad()
    def answers(self, images: Float[Tensor, "N P"]) -> tuple[Float[Tensor, "T N K"], Float[Tensor, "T N"]]:
        """Logits under each task's classifier, and the reconstruction error under each task's autoencoder."""
        weights = self.weights(self.written())
        logits, errors = [], []
        for t in range(self.n_tasks):
            own, rebuilt = self._run({name: value[t] for name, value in weights.items()}, images)
            logits.append(own)
            errors.append((rebuilt - images).square().mean(1))
        return torch.stack(logits), torch.stack(errors)

    @staticmethod
    def _run(weights: Weights, images: Tensor) -> tuple[Tensor, Tensor]:
        def through(net: str, layers: int) -> Tensor:
            x = images
            for i in range(layers):
                x = F.linear(x, weights[f"{net}.{i}.weight"], weights[f"{net}.{i}.bias"])
                x = F.relu(x) if i < layers - 1 else x
            return x

        return through("classify", 2), through("rebuild", 4)

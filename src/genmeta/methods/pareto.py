"""A hypernetwork that is told how much each of two tasks matters, and writes the network for that preference.

``θ = base + G(r)`` with a preference ``r`` on the simplex in the place of a support set, trained by
``E_{r ~ Dirichlet} [ r₁ ℓ₁(θ(r)) + r₂ ℓ₂(θ(r)) ]``: Navon, Shamsian, Chechik and Fetaya, "Learning the Pareto front
with hypernetworks", 2021 (https://arxiv.org/abs/2010.04104), PHN-LS. Deviations: written weights are corrections to a
learned base, as everywhere in this library; a small perceptron instead of LeNet. With a constant preference and no
generator the same network is linear scalarisation, its baseline.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from genmeta.core import batching
from genmeta.core.errors import UsageError
from genmeta.core.randomness import lent_to_torch
from genmeta.core.spec import ParamSpec
from genmeta.core.types import Weights
from genmeta.data.two_digits import SIZE, TwoDigits
from genmeta.generators import HyperNetwork
from genmeta.learners import LearnerConfig, build_learner

#: Number of tasks that a preference weighs, and of classes of each.
TASKS, CLASSES = 2, 10
#: Of the logits; features have length 1.
SCALE = 16.0
#: Channel groups of the norms: few, so that a network of few units still has several in each.
GROUPS = 4
#: The rows of each task among the written tensors.
HEADS = tuple(f"head{i}" for i in range(TASKS))


@dataclass(frozen=True)
class ParetoConfig:
    """Settings of a network for two labels.

    Attributes:
        width: of the perceptron.
        context: length of the vector that a preference becomes.
        hidden: width of the hypernetwork.
        chunk: weights written at a time.
        alpha: of the Dirichlet distribution of preferences.
        steps: Adam steps.
        batch: images of a step.
        lr: peak learning rate; it falls to zero along a cosine.
    """

    width: int = 16
    context: int = 32
    hidden: int = 64
    chunk: int = 1024
    alpha: float = 0.5
    steps: int = 200
    batch: int = 128
    lr: float = 1e-2

    def __post_init__(self) -> None:
        if min(self.width, self.context, self.hidden, self.chunk, self.steps, self.batch) < 1:
            raise UsageError(f"A network for two labels needs every size of 1 or more, got {self}.")
        if self.alpha <= 0 or self.lr <= 0:
            raise UsageError(f"alpha and lr must be above 0, got {self.alpha} and {self.lr}.")


class ParetoNetwork(nn.Module):
    """One perceptron and two classifiers, all their weights written for a preference.

    Args:
        config: settings.
        rng: initial weights.
        generated: whether a hypernetwork reads the preference; without it, all preferences have the base's weights.
    """

    def __init__(self, config: ParetoConfig, rng: torch.Generator, *, generated: bool = True) -> None:
        super().__init__()
        self.learner = build_learner(LearnerConfig("mlp", 1, SIZE, config.width, groups=GROUPS), rng)
        row = self.learner.feature_size + 1
        self.heads = nn.ParameterDict({name: nn.Parameter(torch.zeros(CLASSES, row)) for name in HEADS})
        shapes = (*self.learner.written_shapes("all"), *((name, (CLASSES, row)) for name in HEADS))
        self.spec = ParamSpec(shapes, row)
        self.generator: HyperNetwork | None = None
        if generated:
            with lent_to_torch(rng):
                self.read = nn.Sequential(nn.Linear(TASKS, config.context), nn.GELU())
                self.generator = HyperNetwork(
                    config.context, self.spec.shared_length, config.hidden, config.chunk, penalty=0.0
                )

    def weights(self, preferences: Float[Tensor, "R 2"]) -> Weights:
        """The network of each preference, tensor name -> ``[R ...]``."""
        base = {**self.learner.own_weights(), **self.heads}
        weights = {name: tensor.expand(len(preferences), *tensor.shape) for name, tensor in base.items()}
        if self.generator is None:
            return weights
        # deterministic: the generator draws nothing
        context = self.read(2 * TASKS * (preferences - 1 / TASKS))  # centred, and as wide as a normal variable
        written = self.spec.split(self.generator(context, torch.Generator()).values)
        for name, value in written.items():
            # in units of the spread that a tensor of this shape starts with
            unit = 1.0 if value.ndim == 2 else value[0, 0].numel() ** -0.5
            weights[name] = weights[name] + unit * value
        return weights

    def outputs(self, images: Float[Tensor, "N 1 H W"], preferences: Float[Tensor, "R 2"]) -> Float[Tensor, "R N 2 K"]:
        """Logits of both labels under the network of each preference."""
        weights = self.weights(preferences)
        body = {name: value for name, value in weights.items() if name not in HEADS}
        features, _ = self.learner.features(images.expand(len(preferences), *images.shape), body)
        return torch.stack([SCALE * batching.class_logits(features, weights[name]) for name in HEADS], 2)

    def losses(
        self, images: Float[Tensor, "N 1 H W"], labels: Int64[Tensor, "N 2"], preferences: Float[Tensor, "R 2"]
    ) -> Float[Tensor, "R 2"]:
        """Cross-entropy of each task in nats under each preference."""
        outputs = self.outputs(images, preferences)
        truth = labels.expand(len(preferences), *labels.shape)
        each = F.cross_entropy(outputs.flatten(0, 2), truth.flatten(), reduction="none")
        return each.view(truth.shape).mean(1)


def fit(
    network: ParetoNetwork,
    data: TwoDigits,
    config: ParetoConfig,
    rng: torch.Generator,
    preference: Float[Tensor, " 2"] | None = None,
) -> None:
    """Trains a network on preferences drawn anew at every step, or on one alone (linear scalarisation).

    Args:
        network: moved in place.
        data: training images.
        config: settings.
        rng: order of images, and preferences.
        preference: the one; by default they are drawn.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=config.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    for _ in range(config.steps):
        batch = torch.randint(0, len(data.images), (config.batch,), generator=rng)
        ray = draw_preference(config.alpha, rng) if preference is None else preference
        losses = network.losses(data.images[batch], data.labels[batch], ray[None])[0]
        optimiser.zero_grad()
        (ray * losses).sum().backward()
        optimiser.step()
        schedule.step()


def draw_preference(alpha: float, rng: torch.Generator) -> Float[Tensor, " 2"]:
    """From a symmetric Dirichlet distribution on two tasks, which is a Beta distribution of the first."""
    parts = torch._standard_gamma(torch.full((TASKS,), alpha), generator=rng).clamp_min(1e-6)
    return parts / parts.sum()

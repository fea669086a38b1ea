"""The reference: learners, adaptation and objectives for one task at a time, with torch.nn.functional alone.

No reference value comes from :mod:`genmeta.core.batching`; what generators, encoders and row bases do to one task is
taken from the meta-learner's own modules, called with a batch of one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from genmeta.adapters import GradientAdapter, NoAdapter
from genmeta.core.randomness import seeded
from genmeta.core.types import ROWS, Context, Task, Tokens, Weights
from genmeta.generators import GuidedGenerator
from genmeta.learners import Learner, LearnerConfig
from genmeta.learners.base import Conv, Norm, Pass
from genmeta.methods import MetaLearner

Statistics = dict[str, tuple[Tensor, Tensor]]


class TwoBlocks(Learner):
    """A learner that takes every road of the batching: grey images, strides, both norms."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.config = LearnerConfig("two-blocks", channels=1, size=12, width=8, norm=norm, groups=2)
        self.first, self.first_norm = Conv(1, 6, seeded(1)), Norm(6, self.config)
        self.second, self.second_norm = Conv(6, 8, seeded(2)), Norm(8, self.config)
        self.feature_size = 8

    def forward_pass(self, images: Tensor, run: Pass) -> Tensor:
        x = run.norm("first_norm", run.conv("first", run.flat(images)))
        x = run.norm("second_norm", run.conv("second", F.max_pool2d(F.relu(x), 2), stride=2))
        return F.relu(x).mean((2, 3)).unflatten(0, (images.shape[0], -1))


def knows(it: MetaLearner) -> bool:
    """Whether the reference can do what the meta-learner does: a start of the usual parts, and gradient steps."""
    usual = type(it) is MetaLearner and type(it.adapter) in (GradientAdapter, NoAdapter)
    return usual and it.writer is None and it.reader is None


class PlainTask:
    """One task of a batch, under one meta-learner."""

    def __init__(self, meta_learner: MetaLearner, task: Task, t: int) -> None:
        self.it, self.config = meta_learner, meta_learner.learner.config
        self.own = dict(meta_learner.learner.named_parameters())
        self.names = [name for name, _ in meta_learner.spec.shared]
        self.ways = task.ways
        self.support, self.targets = task.support.images[t], task.support.targets[t]
        self.query, self.truth = task.query.images[t], task.query.targets[t]

    # -- the network ------------------------------------------------------------------------------------------------

    def norm(self, x: Tensor, name: str, weights: Weights, given: Statistics, taken: Statistics) -> Tensor:
        scale, shift = weights[f"{name}.scale"], weights[f"{name}.shift"]
        if self.config.norm == "group":
            return F.group_norm(x, self.config.groups, scale, shift)
        if name not in given:
            mean = x.mean((0, 2, 3), keepdim=True)
            given = {name: (mean, (x - mean).square().mean((0, 2, 3), keepdim=True))}
        mean, variance = taken[name] = given[name]
        return (x - mean) / (variance + 1e-5).sqrt() * scale[:, None, None] + shift[:, None, None]

    def features(self, images: Tensor, weights: Weights, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Features ``[N D]`` of :class:`TwoBlocks` under ``weights`` (absent ones: the learner's own)."""
        weights, taken = {**self.own, **weights}, Statistics()
        x = F.conv2d(images, weights["first.weight"], padding=1)
        x = F.max_pool2d(F.relu(self.norm(x, "first_norm", weights, given or {}, taken)), 2)
        x = F.conv2d(x, weights["second.weight"], padding=1, stride=2)
        x = F.relu(self.norm(x, "second_norm", weights, given or {}, taken)).mean((2, 3))
        x = x - x.mean(1, keepdim=True)
        return x / (x.square().sum(1, keepdim=True) + 1e-6).sqrt(), taken

    def logits(self, images: Tensor, weights: Weights, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        features, taken = self.features(images, weights, given)
        rows = weights[ROWS]
        return features @ rows[:, :-1].t() + rows[:, -1], taken

    # -- start, steps, loss -----------------------------------------------------------------------------------------

    def tokens(self, weights: Weights) -> Tokens:
        features, _ = self.features(self.support, weights)
        return Tokens(features[None], F.one_hot(self.targets, self.ways).to(features)[None])

    def start(self, rng: torch.Generator) -> tuple[Weights, Weights, Tensor]:
        """θ₀, α and cost of the one task; no leading dimension on θ₀."""
        it, cost = self.it, torch.zeros((), dtype=torch.float64)
        context: Context | None = it.encoder(self.tokens({})) if it.encoder is not None else None
        weights = {name: self.own[name] for name in self.names}
        if it.shared_generator is not None:
            assert context is not None
            written = it.shared_generator(context.task, rng)
            cost, at = cost + written.cost[0], 0
            for i, name in enumerate(self.names):
                base = self.own[name]
                unit = 1.0 if base.ndim == 1 else (2.0 / base[0].numel()) ** 0.5
                delta = written.values[0, at : at + base.numel()].view(base.shape)
                weights[name], at = base + it.scales[i] * unit * delta, at + base.numel()
        rows = it.row_base(self.tokens(weights))[0]
        if it.row_generator is not None:
            assert context is not None
            assert context.classes is not None
            if isinstance(it.row_generator, GuidedGenerator):
                written = it.row_generator.guided(context.classes[0], rng, self.slope(weights, rows))
            else:
                written = it.row_generator(context.classes[0], rng)
            rows, cost = rows + it.row_scale * written.values, cost + written.cost.mean()
        alpha = {name: self.alpha(context, name) for name in it.step_sizes.shapes}
        return {**weights, ROWS: rows}, alpha, cost

    def slope(self, weights: Weights, rows: Tensor) -> Callable[[Tensor], Tensor]:
        """The gradient of the support loss, times the number of classes, that a guided generator may ask for."""

        def gradient(values: Tensor) -> Tensor:
            with torch.enable_grad():
                at = values.detach().requires_grad_()
                written = {**weights, ROWS: rows.detach() + self.it.row_scale.detach() * at}
                loss = F.cross_entropy(self.logits(self.support, written)[0], self.targets)
                return self.ways * torch.autograd.grad(loss, at)[0]

        return gradient

    def alpha(self, context: Context | None, name: str) -> Tensor:
        """α of one tensor; that of the rows grows with the number of classes."""
        alpha = self.it.step_sizes.alpha(context)[name]
        per_task = alpha.ndim > len(self.it.step_sizes.shapes[name]) and alpha.ndim > 0
        return (alpha[0] if per_task else alpha) * (self.ways if name == ROWS else 1)

    def adapt(self, weights: Weights, alpha: Weights, images: Tensor, targets: Tensor, steps: int) -> list[Weights]:
        """θ₀ … θ_steps by plain gradient steps, differentiable to the order that the adapter asks for."""
        trajectory = [weights]
        if not isinstance(self.it.adapter, GradientAdapter):
            return [weights] * (steps + 1)
        moments = {name: (0.0, 0.0) for name in alpha}
        for step in range(1, steps + 1):
            # copies, so that the gradient at the rows' start is not also the gradient of what the rows were made from
            at = {name: w.clone() if w.requires_grad else w.clone().requires_grad_() for name, w in weights.items()}
            loss = F.cross_entropy(self.logits(images, at)[0], targets)
            gradients = torch.autograd.grad(
                loss, [at[name] for name in alpha], create_graph=not self.it.adapter.first_order, retain_graph=True
            )
            weights = dict(weights)
            for name, gradient in zip(alpha, gradients, strict=True):
                if self.it.adapter.rule == "adam":
                    m, v = moments[name]
                    moments[name] = m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
                    gradient = (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
                weights[name] = weights[name] - alpha[name] * gradient
            trajectory.append(weights)
        return trajectory

    def query_loss(self, at: tuple[int, ...], rng: torch.Generator, kl_weight: float) -> Tensor:
        """The query loss after the given steps, on average, and the cost of the start."""
        weights, alpha, cost = self.start(rng)
        trajectory = self.adapt(weights, alpha, self.support, self.targets, max(at))
        losses = []
        for step in at:
            _, statistics = self.logits(self.support, trajectory[step])
            losses.append(F.cross_entropy(self.logits(self.query, trajectory[step], statistics)[0], self.truth))
        return torch.stack(losses).mean() + kl_weight * cost

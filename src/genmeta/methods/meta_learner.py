"""The general loop, once: encode the support set, generate a start, adapt, answer the queries.

``θ₀, α ~ G(· | encoder(support))``, ``θ_{j+1} = adapt(θ_j, α; support)``, ``outputs = f(query; θ_k)``. Every method of
the library is this class with other parts in the slots.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genmeta.adapters import Adapter
from genmeta.core import batching
from genmeta.core.errors import UsageError
from genmeta.core.spec import ParamSpec
from genmeta.core.types import ROWS, Context, Examples, Outcome, Start, Targets, Task, Tokens, Weights
from genmeta.encoders import NormStatisticsEncoder
from genmeta.generators import (
    ConstantGenerator,
    ConstantRow,
    Gradient,
    GuidedGenerator,
    ParameterGenerator,
    PosteriorGenerator,
    RowBase,
    StartWriter,
    StepSizes,
)
from genmeta.learners import Learner, Statistics
from genmeta.methods.adapted import Adapted, FeatureMemory, State
from genmeta.vision import VisualTask

#: Images of one chunk of tasks where weights are shared by all tasks; bounds memory, not results.
IMAGES_PER_CHUNK = 480
#: The same on a GPU, which few images leave idle: 32 tasks of 5 ways with 1 shot and 15 queries.
IMAGES_PER_CHUNK_ON_GPU = 2560
#: Adaptation steps that may be asked for; their weights are all kept.
MOST_STEPS = 100_000
MOST_SAMPLES = 10_000


@dataclass(frozen=True)
class Parts:
    """What goes into the slots of a :class:`MetaLearner`.

    Attributes:
        learner: the network whose weights are written.
        vision: what its outputs mean.
        spec: which of its weights are written.
        row_base: what a row is before the generator corrects it.
        step_sizes: α.
        adapter: how weights move.
        inner_steps: steps of adaptation in meta-training, and by default afterwards.
        samples: draws of the start per task in meta-training, and by default afterwards (particles of a posterior).
        encoder: support evidence to context; ``None`` where nothing reads a context.
        shared: generator of the shared tensors.
        rows: generator of the class rows.
        writer: rewrites the whole start, for families that are more than independent draws of each tensor.
        reader: adds to the query outputs what it reads in the support evidence directly,
            ``(locations [T L D] of the query images, tokens) -> [T L K]``; each location on its own.
    """

    learner: Learner
    vision: VisualTask
    spec: ParamSpec
    row_base: RowBase
    step_sizes: StepSizes
    adapter: Adapter
    inner_steps: int
    samples: int = 1
    encoder: nn.Module | None = None
    shared: ParameterGenerator | None = None
    rows: ParameterGenerator | None = None
    writer: StartWriter | None = None
    reader: nn.Module | None = None


class MetaLearner(nn.Module):
    """A learner, a visual task, an encoder, generators and an adapter, put together; see :class:`Parts`."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.learner, self.vision, self.spec = parts.learner, parts.vision, parts.spec
        self.row_base, self.step_sizes = parts.row_base, parts.step_sizes
        self.adapter, self.inner_steps, self.samples = parts.adapter, parts.inner_steps, parts.samples
        self.encoder = parts.encoder
        self.shared_generator, self.row_generator = parts.shared, parts.rows
        self.writer, self.reader = parts.writer, parts.reader
        #: Tasks that are computed and back-propagated together; 0 to choose by the kind of weights and the images.
        self.chunk_size = 0
        self._names = tuple(name for name, _ in self.spec.shared)
        #: The shared tensors that differ from task to task: those that are written, and more where steps move more.
        self.moved = self._names
        # θ = base + scale · written, with a learned scale for each tensor, small at first
        self.scales = nn.Parameter(torch.full((len(self._names) + 1,), 0.1))
        if self.shared_generator is None and self.row_generator is None:
            self.scales.requires_grad_(False)

    @property
    def row_scale(self) -> Tensor:
        """``[]``, the strength of what is written on class rows: a view of the last of ``scales``."""
        return self.scales[-1]

    @property
    def tasks_per_chunk(self) -> int:
        """How many tasks are computed together: 1 where kernels differ by task on a CPU, 0 for no limit of kind.

        Kernels of one pixel do not count: a head's are few, and cost less than cutting the batch for them.
        :attr:`chunk_size` overrides it.
        """
        if self.chunk_size:
            return self.chunk_size
        own = self.learner.own_weights()
        on_cpu = self.scales.device.type == "cpu"
        return 1 if on_cpu and any(own[name].ndim == 4 and own[name].shape[-1] > 1 for name in self.moved) else 0

    def chunks(self, task: Task) -> list[Task]:
        """The batch cut into pieces that are computed (and back-propagated) one after the other."""
        if task.support.images.ndim == 3:
            return [task]  # embedded before
        images = task.support.images.shape[1] + task.query.images.shape[1]
        images *= self.samples if self.moved else 1
        images *= image_weight(self, task)
        together = IMAGES_PER_CHUNK if self.scales.device.type == "cpu" else IMAGES_PER_CHUNK_ON_GPU
        size = self.tasks_per_chunk or max(1, together // images)
        return [task.slice(at, at + size) for at in range(0, task.n_tasks, size)]

    # -- start ------------------------------------------------------------------------------------------------------

    def start(
        self,
        support: Examples,
        ways: int,
        rng: torch.Generator,
        *,
        samples: int | None = None,
        row_base: RowBase | None = None,
    ) -> Start:
        """Generates θ₀ and α from the support set.

        Args:
            support: of ``T`` tasks.
            ways: number of classes ``K``.
            rng: noise of the generators.
            samples: draws ``S`` for each task; the result then holds ``T * S`` tasks, those of a task in a row.
                By default the method's own number.
            row_base: of :meth:`later`, where these classes come after others.
        """
        samples = samples or self.samples
        memory = FeatureMemory(self.learner, support.images, self.moved)
        return self._start(support, ways, rng, samples, memory, row_base=row_base)

    def later(self, support: Examples, ways: int) -> RowBase:
        """What the rows of classes that come after those of this support set are built on."""
        if not self.row_base.reads_earlier:
            return self.row_base
        features, _ = self.learner.features(support.images)
        return self.row_base.later(self.vision.tokens(features, support.targets, ways))

    def _start(
        self,
        support: Examples,
        ways: int,
        rng: torch.Generator,
        samples: int,
        memory: FeatureMemory,
        evidence: Examples | None = None,
        kept: Weights | None = None,
        row_base: RowBase | None = None,
    ) -> Start:
        n_tasks = support.images.shape[0]
        context = self._context(support, ways, samples, memory)
        cost = support.images.new_zeros(n_tasks * samples)
        if kept is None:
            weights, shared_cost = self._write_shared(context, n_tasks * samples, rng)
        else:
            weights, shared_cost = {name: kept[name] for name in self.moved}, 0.0
        rewritten = kept is not None or self.shared_generator is not None
        if kept is None and self.writer is not None and self._names:
            base_weights, weights = weights, self.writer.shared(weights, samples)
            rewritten = rewritten or weights is not base_weights
        cost = cost + shared_cost
        if isinstance(self.row_base, ConstantRow):
            rows = self.row_base.row.expand(n_tasks * samples, ways, -1)
        else:
            base = row_base or self.row_base
            rows = self._base_rows(base, support, ways, samples, weights, memory, rewritten)
        if self.row_generator is not None and context is not None and context.classes is not None:
            classes = context.classes.flatten(0, 1)
            if isinstance(self.row_generator, GuidedGenerator):
                features = batching.repeat(memory.features({}, None, graph=True)[0], samples)
                targets = support.repeat(samples).targets
                gradient = self.row_gradient(features, targets, rows)
                written = self.row_generator.guided(classes, rng, gradient)
            elif isinstance(self.row_generator, PosteriorGenerator) and evidence is not None:
                known = self._context(
                    evidence, ways, samples, FeatureMemory(self.learner, evidence.images, self._names)
                )
                written = self.row_generator.match(classes, known.classes.flatten(0, 1), rng)  # type: ignore[union-attr]
            else:
                written = self.row_generator(classes, rng)
            rows = rows + self.row_scale * written.values.unflatten(0, (-1, ways))
            cost = cost + written.cost.unflatten(0, (-1, ways)).mean(1)
        weights[ROWS] = rows
        start = Start(weights, self.step_sizes(context, ways), cost, samples)
        if self.writer is not None:
            start = self.writer(start, context, rng)
        if kept is not None:
            steps = {name: size for name, size in start.step_sizes.items() if name not in self.moved}
            start = start._replace(weights={**start.weights, **weights, ROWS: start.weights[ROWS]}, step_sizes=steps)
        return start

    def row_gradient(self, features: Tensor, targets: Targets, base: Tensor) -> Gradient:
        """The support loss's gradient as a function of what the row generator has written, times the number of classes.

        Args:
            features: of the support images.
            targets: of the support images.
            base: ``[T K R]``, what the written rows correct.
        """
        features, base, scale, ways = features.detach(), base.detach(), self.row_scale.detach(), base.shape[1]

        def gradient(values: Tensor) -> Tensor:
            with torch.enable_grad():
                at = values.detach().requires_grad_()
                rows = base + scale * at.unflatten(0, (-1, ways))
                loss = self.vision.loss(self.vision.outputs(features, rows), targets).sum()
                return ways * torch.autograd.grad(loss, at)[0]

        return gradient

    def _context(self, support: Examples, ways: int, samples: int, memory: FeatureMemory) -> Context | None:
        if self.encoder is None:
            return None
        features, statistics = memory.features({}, None, graph=True)
        tokens = self.vision.tokens(features, support.targets, ways)
        if isinstance(self.encoder, NormStatisticsEncoder):
            context = self.encoder(tokens, statistics)
        else:
            context = self.encoder(tokens)
        classes = None if context.classes is None else batching.repeat(context.classes, samples)
        return Context(batching.repeat(context.task, samples), classes)

    def _write_shared(
        self, context: Context | None, n_tasks: int, rng: torch.Generator
    ) -> tuple[Weights, Tensor | float]:
        own = self.learner.own_weights()
        base = {name: own[name].expand(n_tasks, *own[name].shape) for name in self.moved}
        if self.shared_generator is None or context is None or isinstance(self.shared_generator, ConstantGenerator):
            return base, 0.0
        written = self.shared_generator(context.task, rng)
        deltas = self.spec.split(written.values)
        weights = dict(base)
        for at, name in enumerate(self._names):
            # kernels are written in units of their initial spread, so that one generator serves all layers
            unit = 1.0 if own[name].ndim == 1 else (2.0 / own[name][0].numel()) ** 0.5
            weights[name] = base[name] + self.scales[at] * unit * deltas[name]
        return weights, written.cost

    def _base_rows(
        self,
        base: RowBase,
        support: Examples,
        ways: int,
        samples: int,
        weights: Weights,
        memory: FeatureMemory,
        rewritten: bool,
    ) -> Tensor:
        if rewritten:
            support = support.repeat(samples)
            features, _ = self.learner.features(support.images, weights)
        else:
            # the base weights stand, and every sample shares their features
            features = batching.repeat(memory.features({}, None, graph=True)[0], samples)
            support = support.repeat(samples)
        tokens: Tokens = self.vision.tokens(features, support.targets, ways)
        rows: Tensor = base(tokens)
        return rows

    # -- adapt and answer -------------------------------------------------------------------------------------------

    def adapt(
        self,
        support: Examples,
        ways: int,
        rng: torch.Generator,
        *,
        steps: int | None = None,
        at: tuple[int, ...] | None = None,
        samples: int | None = None,
        differentiable: bool = False,
        evidence: Examples | None = None,
        kept: Weights | None = None,
    ) -> Adapted:
        """Generates a start from the support set and takes steps on it: all that answering needs, without a query.

        Args:
            support: of ``T`` tasks; classes may have different numbers of images.
            ways: number of classes ``K``.
            rng: noise of the generators.
            steps: adaptation steps to take; by default the method's own number.
            at: after which steps :meth:`respond` will be asked; by default after the last.
            samples: draws ``S`` of the start for each task; by default the method's own number.
            differentiable: keep the graph for meta-training.
            evidence: in meta-training, the support and query examples that a latent is drawn given, where the
                generator matches a posterior; adaptation sees the support set alone in any case.
            kept: weights of an earlier adaptation whose shared tensors stay as they are: only rows are written and
                adapted.
        """
        steps = self.inner_steps if steps is None else steps
        if not 0 <= steps <= MOST_STEPS:
            raise UsageError(f"Adaptation takes 0 to {MOST_STEPS} steps, got {steps}.")
        samples = samples or self.samples
        if not 1 <= samples <= MOST_SAMPLES:
            raise UsageError(f"A prediction averages 1 to {MOST_SAMPLES} samples of the start, got {samples}.")
        memory = FeatureMemory(self.learner, support.images, self.moved)
        start = self._start(support, ways, rng, samples, memory, evidence, kept)
        targets, share = support.repeat(samples).targets, samples
        if samples > 1 and self.moved:
            # the draws have features of their own; otherwise they share those of their task
            memory, share = FeatureMemory(self.learner, batching.repeat(support.images, samples), self.moved), 1

        def features(weights: Weights) -> Tensor:
            return batching.repeat(memory.features(weights, None, graph=differentiable)[0], share)

        def loss(weights: Weights) -> Tensor:
            return self.vision.loss(self.vision.outputs(features(weights), weights[ROWS]), targets)

        trajectory = self.adapter.adapt(start, loss, steps, differentiable=differentiable)
        if start.latent is not None:
            start = start._replace(cost=start.cost + start.latent.cost(trajectory[-1]))
        states, codes = {}, start.latent.names if start.latent is not None else ()
        for step in at if at is not None else (steps,):
            weights = {name: value for name, value in trajectory[step].items() if name not in codes}
            statistics: Statistics | None = None
            if self.learner.needs_support_statistics:
                statistics = memory.features(weights, None, graph=differentiable)[1]
            read = self.reader is not None
            tokens = self.vision.tokens(features(weights), targets, ways) if read else None
            states[step] = State(weights, statistics, tokens)
        return Adapted(states, start, trajectory, share)

    def respond(self, images: Tensor, adapted: Adapted, step: int | None = None) -> Tensor:
        """Outputs for images ``[T N C H W]``, each on its own; :meth:`pooled` makes one of the ``S`` of each.

        Args:
            images: of the tasks that were adapted to.
            adapted: from :meth:`adapt`.
            step: one of the steps that :meth:`adapt` was asked for; by default the last of them.
        """
        step = max(adapted.states) if step is None else step
        return self._respond(self._query_memory(images, adapted), adapted, step, differentiable=False)

    def _query_memory(self, images: Tensor, adapted: Adapted) -> FeatureMemory:
        each = adapted.start.samples // adapted.share
        return FeatureMemory(self.learner, batching.repeat(images, each), self.moved)

    def _respond(self, memory: FeatureMemory, adapted: Adapted, step: int, *, differentiable: bool) -> Tensor:
        weights, statistics, tokens = adapted.states[step]
        features, _ = memory.features(weights, statistics, graph=differentiable)
        features = batching.repeat(features, adapted.share)
        read = None
        if self.reader is not None and tokens is not None:
            read = self.reader(self.vision.locations(features), tokens)
        return self.vision.outputs(features, weights[ROWS], read)

    def answers(
        self,
        task: Task,
        steps: int,
        rng: torch.Generator,
        *,
        at: tuple[int, ...] | None = None,
        samples: int | None = None,
        differentiable: bool = False,
        evidence: Examples | None = None,
    ) -> tuple[dict[int, Tensor], Start, list[Weights]]:
        """Query outputs after the given numbers of adaptation steps: :meth:`adapt`, then :meth:`respond`.

        Args:
            task: a batch of ``T`` tasks.
            steps: adaptation steps to take.
            rng: noise of the generators.
            at: after which steps to answer; by default after the last.
            samples: see :meth:`adapt`.
            differentiable: see :meth:`adapt`.
            evidence: see :meth:`adapt`.

        Returns:
            Step -> outputs (``[T*S N K]`` for classification); the start, its cost with what adapting a latent cost;
            and the trajectory ``θ₀ … θ_steps``. :meth:`pooled` makes one prediction of the ``S``.
        """
        adapted = self.adapt(
            task.support,
            task.ways,
            task.noise(rng),
            steps=steps,
            at=at,
            samples=samples,
            differentiable=differentiable,
            evidence=evidence,
        )
        memory = self._query_memory(task.query.images, adapted)
        outputs = {step: self._respond(memory, adapted, step, differentiable=differentiable) for step in adapted.states}
        return outputs, adapted.start, adapted.trajectory

    def pooled(self, outputs: Tensor, n_tasks: int) -> Tensor:
        """One prediction from the samples of each task: ``[T*S N K] -> [T N K]``; see the visual task."""
        return self.vision.pooled(outputs, n_tasks)

    @staticmethod
    def pooled_cost(start: Start) -> Tensor:
        """Mean cost of the draws of each task, ``[T*S] -> [T]``."""
        return start.cost if start.samples == 1 else start.cost.unflatten(0, (-1, start.samples)).mean(1)

    def forward(self, task: Task, rng: torch.Generator) -> Outcome:
        """Adapts with the default number of steps and scores the queries, ready to be differentiated."""
        outputs, start, _ = self.answers(task, self.inner_steps, rng, differentiable=torch.is_grad_enabled())
        last = self.pooled(outputs[self.inner_steps], task.n_tasks)
        return Outcome(last, self.vision.loss(last, task.query.targets), self.pooled_cost(start))


def image_weight(meta_learner: MetaLearner, task: Task) -> int:
    """How many images of 28 × 28 one image of the task counts for in memory.

    Only maps count for more: they keep their pixels to the end, where a vector is soon small.
    """
    return max(1, task.support.images[0, 0, 0].numel() // 28**2) if meta_learner.learner.gives == "map" else 1

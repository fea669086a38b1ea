"""Methods of the domain scenario: ``erm``, ``arm-bn``, ``tent``, ``mldg`` and ``domain-film``, the generator.

All of them classify among the classes of one label set, in a domain from which they are given images without labels.
``domain-film`` reads the domain from these images and writes FiLM scales and shifts for it,
``θ = base + G(mean of e(x))``: CNAPs' encoder and FiLM (Requeima et al., 2019, https://arxiv.org/abs/1906.07697)
without labels, which is the contextual meta-learner of Zhang, Marklund, Dhawan, Gupta, Levine, Finn, "Adaptive risk
minimization: learning to adapt to domain shift", 2021 (https://arxiv.org/abs/2007.02931), with scales and shifts in the
place of context channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from genmeta.adapters import Adapter, GradientAdapter, NoAdapter
from genmeta.core.errors import UsageError
from genmeta.core.registry import Registry
from genmeta.core.types import ROWS, Logs, Task
from genmeta.encoders import NormStatisticsEncoder, SetEncoder
from genmeta.generators import ConstantRow, FiLMGenerator, FixedStepSize
from genmeta.learners import Learner
from genmeta.learners.base import Norm
from genmeta.methods.base import Method, written_spec
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.methods.objectives import Loss, Objective, QueryLoss, Setting
from genmeta.vision import DomainClassification, VisualTask

#: Recipes for a label set that all tasks share; apart from ``METHODS``, whose classes are never tied to numbers.
DOMAIN_METHODS: Registry[Method] = Registry("method of the domain scenario")


@dataclass(frozen=True)
class DomainOptions:
    """Settings of a method of the domain scenario.

    Attributes:
        classes: size of the label set; set from the data.
    """

    classes: int = 10


@dataclass(frozen=True)
class TentOptions(DomainOptions):
    """Settings of entropy minimisation.

    Attributes:
        inner_lr: step size of scales and shifts.
        inner_steps: steps on the entropy of the support images; none in meta-training.
    """

    inner_lr: float = 0.01
    inner_steps: int = 0


@dataclass(frozen=True)
class MLDGOptions(DomainOptions):
    """Settings of MLDG.

    Attributes:
        inner_lr: α, step size of the virtual training step.
        beta: β, weight of the virtual test loss.
    """

    inner_lr: float = 0.01
    beta: float = 1.0


@dataclass(frozen=True)
class DomainFiLMOptions(TentOptions):
    """Settings of the generator.

    Attributes:
        context: size of the encoder's context vectors.
        hidden: width of the generator.
        penalty: cost of a FiLM strength.
    """

    context: int = 128
    hidden: int = 256
    penalty: float = 1e-3


def _build(
    options: DomainOptions,
    learner: Learner,
    vision: VisualTask,
    adapter: Adapter,
    film_lr: float = 0.0,
    generator: FiLMGenerator | None = None,
    encoder: SetEncoder | NormStatisticsEncoder | None = None,
) -> MetaLearner:
    film = generator is not None or film_lr > 0
    spec = written_spec(learner, vision, "film" if film else "rows")
    moved = tuple(name for name, _ in spec.shared) if film_lr else ()
    row_base = ConstantRow(spec.row_length, options.classes)
    meta_learner = MetaLearner(
        Parts(
            learner=learner,
            vision=vision,
            spec=spec,
            row_base=row_base,
            step_sizes=FixedStepSize(spec, moved, film_lr, 0.0),
            adapter=adapter,
            inner_steps=0,
            encoder=encoder,
            shared=generator,
        )
    )
    with torch.no_grad():
        meta_learner.scales.fill_(1.0)  # FiLM has strengths of its own
    return meta_learner


def build_erm(options: DomainOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """One network for all domains."""
    return _build(options, learner, vision, NoAdapter())


def build_arm_bn(options: DomainOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """One network whose batch norm takes its statistics from the domain's support images."""
    _needs_batch_norm("arm-bn", learner)
    return _build(options, learner, vision, NoAdapter())


def build_tent(options: TentOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """As ``arm-bn``, then steps on the entropy of the support images."""
    _needs_batch_norm("tent", learner)
    return _build(options, learner, vision, GradientAdapter(first_order=True), options.inner_lr)


def build_domain_film(
    options: DomainFiLMOptions, learner: Learner, vision: VisualTask, rng: torch.Generator
) -> MetaLearner:
    """FiLM written from the domain's support images; with batch norm, on top of their statistics and from these too."""
    spec = written_spec(learner, vision, "film")
    generator = FiLMGenerator(options.context, spec.shared_length, options.hidden, options.penalty)
    reads = SetEncoder(learner.feature_size, options.context)
    encoder: SetEncoder | NormStatisticsEncoder = reads
    if learner.needs_support_statistics:
        channels = {name: norm.scale.numel() for name, norm in learner.named_modules() if isinstance(norm, Norm)}
        encoder = NormStatisticsEncoder(reads, channels)
    adapter = GradientAdapter(first_order=True)
    return _build(options, learner, vision, adapter, options.inner_lr, generator, encoder)


def _needs_batch_norm(name: str, learner: Learner) -> None:
    if learner.config.norm != "batch":
        raise UsageError(f"{name!r} adapts the statistics of batch norm, but the learner has group norm: --norm batch.")


class MLDGLoss(Objective):
    """``F(θ) + β G(θ − α ∇F(θ))`` with ``F`` the loss on some domains of a batch and ``G`` that on the others.

    Li, Yang, Song, Hospedales, "Learning to generalize: meta-learning for domain generalization", 2018
    (https://arxiv.org/abs/1710.03463). First order: ``∇F`` is a constant of the second term.
    """

    def __init__(self, lr: float, beta: float) -> None:
        super().__init__()
        self.lr, self.beta = lr, beta

    def losses(self, meta_learner: MetaLearner, task: Task, rng: torch.Generator) -> Iterator[Loss]:
        if task.n_tasks < 2:
            raise UsageError("mldg splits the domains of a batch in two: use --tasks-per-batch 2 or more.")
        half = task.n_tasks // 2
        learner, vision = meta_learner.learner, meta_learner.vision
        weights = {**learner.own_weights(), ROWS: meta_learner.row_base.get_parameter("row")}

        def loss(part: Task, at: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            written = {name: value for name, value in at.items() if name != ROWS}
            features = _common(meta_learner, part, written)
            outputs = vision.outputs(features, at[ROWS].expand(part.n_tasks, *at[ROWS].shape))
            return vision.loss(outputs, part.query.targets).mean(), outputs

        seen, unseen = task.slice(0, half), task.slice(half, task.n_tasks)
        train_loss, outputs = loss(seen, weights)
        gradients = torch.autograd.grad(train_loss, list(weights.values()), retain_graph=True)
        stepped = {
            name: value - self.lr * gradient for (name, value), gradient in zip(weights.items(), gradients, strict=True)
        }
        test_loss, _ = loss(unseen, stepped)
        logs: Logs = {"loss": train_loss.detach(), **vision.logs(outputs, seen.query.targets)}
        yield Loss(train_loss + self.beta * test_loss, logs, 1.0)


def _common(meta_learner: MetaLearner, part: Task, weights: dict[str, Tensor]) -> Tensor:
    """Query features under weights common to all tasks: the tasks' images as those of one task."""
    images = part.query.images.flatten(0, 1)[None]
    written = {name: value[None] for name, value in weights.items()}
    return meta_learner.learner.features(images, written)[0][0].unflatten(0, (part.n_tasks, -1))


def _query_loss(meta_learner: MetaLearner, options: DomainOptions, setting: Setting) -> QueryLoss:
    return QueryLoss("last")


def _register(method: Method) -> None:
    DOMAIN_METHODS.register(method.name)(method)


#: What all methods of the scenario have in common.
_method = partial(Method, visions=(DomainClassification.name,), objective=_query_loss)


_register(
    _method(
        name="erm",
        summary="One network trained on all source domains at once.",
        generates="nothing",
        adapts="nothing",
        paper="Gulrajani, Lopez-Paz: In search of lost domain generalization, 2021",
        url="https://arxiv.org/abs/2007.01434",
        expected="hard to beat: DomainBed average 66.6 (published), MLDG 66.7, ARM 66.1",
        options=DomainOptions,
        build=build_erm,
    )
)
_register(
    _method(
        name="arm-bn",
        summary="Batch norm with the statistics of the domain's unlabelled images.",
        generates="norm statistics",
        adapts="nothing",
        paper="Zhang, Marklund, Dhawan, Gupta, Levine, Finn: Adaptive risk minimization, 2021 (ARM-BN)",
        url="https://arxiv.org/abs/2007.02931",
        expected="rotated MNIST, worst domain: 83.3 against 74.5 for erm (published)",
        options=DomainOptions,
        build=build_arm_bn,
    )
)
_register(
    _method(
        name="tent",
        summary="As arm-bn, then gradient steps on the entropy of the domain's unlabelled images.",
        generates="norm statistics",
        adapts="norm scales and shifts",
        paper="Wang, Shelhamer, Liu, Olshausen, Darrell: Tent, 2021",
        url="https://arxiv.org/abs/2006.10726",
        expected="small gains on corruptions, losses on small or mixed batches",
        options=TentOptions,
        build=build_tent,
    )
)
_register(
    _method(
        name="mldg",
        summary="One network, trained so that a step on some domains helps the others.",
        generates="nothing",
        adapts="nothing",
        paper="Li, Yang, Song, Hospedales: Learning to generalize, 2018",
        url="https://arxiv.org/abs/1710.03463",
        expected="level with erm",
        options=MLDGOptions,
        build=build_erm,
        objective=lambda meta_learner, options, setting: MLDGLoss(options.inner_lr, options.beta),
    )
)
_register(
    _method(
        name="domain-film",
        summary="A hypernetwork that reads unlabelled images of a domain and writes FiLM for it.",
        generates="FiLM",
        adapts="nothing by default; FiLM on the entropy",
        paper="This library's composition; nearest: Zhang et al., ARM-CML, 2021; Requeima et al., CNAPs, 2019",
        url="https://arxiv.org/abs/2007.02931",
        expected="rotated MNIST, worst domain: 88.0 for ARM-CML against 74.5 for erm (published)",
        options=DomainFiLMOptions,
        build=build_domain_film,
    )
)

"""What the objectives that learn from a weight bank have in common."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmeta.adapters import GradientAdapter
from genmeta.core.errors import UsageError
from genmeta.core.types import Task
from genmeta.encoders import BlankEncoder, SetEncoder
from genmeta.generators import Gradient, GuidedGenerator, StandardisedGenerator, StepSizes
from genmeta.learners import Learner
from genmeta.methods.bank import BankConfig, BankGroup, WeightBank
from genmeta.methods.base import written_spec
from genmeta.methods.hypernetworks import make_row_base
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.methods.objectives import Loss, Objective, QueryLoss, Setting
from genmeta.vision import VisualTask

#: Meta-steps between two looks at how diverse the generated rows are.
LOOK_EVERY = 20


@dataclass(frozen=True)
class BankOptions:
    """Settings that every method with a weight bank has.

    Attributes:
        row_base: what the generated rows correct: ``prototype``, ``ridge`` or ``constant``.
        context: size of the encoder's context vectors.
        hidden: width of the generator.
        inner_steps: adaptation steps after generation in meta-training; they move the rows.
        inner_lr: step size (its initial value where it is learned or generated).
        first_order: drop second derivatives.
        query_loss: which steps' query loss trains, see :class:`~genmeta.methods.objectives.QueryLoss`.
        task_weight: of the query loss; 0 trains from the bank alone.
        conditional: no: generator and row base see nothing of the support set (an ablation).
        train_body: train the learner's body too; by default it stays as it is, so give it a trained one (``--init``).
        rebuild_every: meta-steps after which the bank is built anew where the body is trained.
        bank_tasks: tasks of the bank.
        bank_labels: labelled images of each class beside the support set, at most.
    """

    row_base: str = "prototype"
    context: int = 128
    hidden: int = 256
    inner_steps: int = 1
    inner_lr: float = 0.5
    first_order: bool = False
    query_loss: str = "both"
    task_weight: float = 1.0
    conditional: bool = True
    train_body: bool = False
    rebuild_every: int = 500
    bank_tasks: int = 256
    bank_labels: int = 15

    def __post_init__(self) -> None:
        if self.rebuild_every < 1:
            raise UsageError(f"rebuild_every must be 1 or more, got {self.rebuild_every}.")
        if self.task_weight < 0:
            raise UsageError(f"task_weight must be 0 or more, got {self.task_weight}.")


def build_rows_only(
    options: BankOptions, learner: Learner, vision: VisualTask, rows: StandardisedGenerator, step_sizes: StepSizes
) -> MetaLearner:
    """A meta-learner whose rows are written by ``rows``, in the units of a bank, on a body that stays as it is."""
    spec = written_spec(learner, vision, "rows")
    learner.requires_grad_(options.train_body)
    conditional = options.conditional
    meta_learner = MetaLearner(
        Parts(
            learner=learner,
            vision=vision,
            spec=spec,
            row_base=make_row_base(options.row_base if conditional else "constant", spec.row_length),
            step_sizes=step_sizes,
            adapter=GradientAdapter(first_order=options.first_order),
            inner_steps=options.inner_steps,
            encoder=make_encoder(learner.feature_size, options.context, conditional),
            rows=rows,
        )
    )
    # the generator's own mean and spread hold the scale of the rows; a second, moving one would bend the bank's units
    meta_learner.scales.requires_grad_(False).fill_(1.0)
    return meta_learner


def make_encoder(feature_size: int, width: int, conditional: bool) -> nn.Module:
    """An encoder of class contexts, or one that sees nothing."""
    return SetEncoder(feature_size, width, reads_task=False) if conditional else BlankEncoder(width)


class BankRows(NamedTuple):
    """A group of the bank as the meta-learner sees it now.

    Attributes:
        group: the tasks.
        context: ``[T*K C]`` of each class.
        real: ``[T*K P]`` the bank's rows as standardised corrections of the row base.
        gradient: of the support loss with respect to written values.
    """

    group: BankGroup
    context: Tensor
    real: Tensor
    gradient: Gradient


class BankObjective(Objective):
    """Query loss on the meta-batch, plus whatever a bank of good rows teaches the generator.

    The bank belongs to the learner as it was at the last rebuild; that learner is kept with the training state, so that
    the bank is a function of the training state and a resumed run has the same one.

    Args:
        learner: of the meta-learner.
        options: of the method.
        setting: of the training.
    """

    def __init__(self, learner: Learner, options: BankOptions, setting: Setting) -> None:
        super().__init__()
        self.options, self.setting = options, setting
        self.query_loss = QueryLoss(options.query_loss)
        self.reference = copy.deepcopy(learner).requires_grad_(False)
        self.config = BankConfig(tasks=options.bank_tasks, labels=options.bank_labels, seed=setting.seed)
        self.step, self.progress = 0, 1.0  # untold of any plan, every weight is what it ends at
        self._bank: WeightBank | None = None
        # part of the training state: a resumed run keeps the units it began with
        self.register_buffer("scaled", torch.tensor(False))
        self.register_load_state_dict_post_hook(_forget)

    def begin(self, step: int, steps: int) -> None:
        self.step, self.progress = step, step / steps

    def bank(self, meta_learner: MetaLearner) -> WeightBank:
        """The bank of this meta-step, built or read if need be."""
        due = self.options.train_body and self.step % self.options.rebuild_every == 0
        if due and self._stale(meta_learner.learner):
            self.reference.load_state_dict(meta_learner.learner.state_dict())
            self._bank = None
            self.get_buffer("scaled").fill_(False)
        if self._bank is None:
            self._bank = WeightBank(self.reference, self.setting.sources, self.config, self.setting.directory)
        if not self.get_buffer("scaled"):
            self._set_statistics(meta_learner, self._bank)
            self.get_buffer("scaled").fill_(True)
        return self._bank

    def _stale(self, learner: Learner) -> bool:
        now = learner.state_dict()
        return any(not torch.equal(value, now[name]) for name, value in self.reference.state_dict().items())

    def _set_statistics(self, meta_learner: MetaLearner, bank: WeightBank) -> None:
        with torch.no_grad():
            corrections = torch.cat([_corrections(meta_learner, _to(group, meta_learner)) for group in bank.groups])
        std = corrections.std(0)
        # a feature that is the same in all images has rows without spread; leave it a little, not a zero to divide by
        floor = 1e-2 * std.square().mean().sqrt() + 1e-6
        _generator(meta_learner).set_statistics(corrections.mean(0), std.clamp_min(floor))

    def rows(self, meta_learner: MetaLearner, rng: torch.Generator) -> BankRows:
        """A group of the bank, its contexts (differentiable) and its rows in the generator's units (plain numbers)."""
        group = _to(self.bank(meta_learner).draw(rng), meta_learner)
        context = meta_learner.encoder(self._tokens(meta_learner, group))  # type: ignore[misc]
        base = meta_learner.row_base(self._tokens(meta_learner, group)).detach()
        real = _generator(meta_learner).standardise(_corrections(meta_learner, group))
        gradient = meta_learner.row_gradient(group.features, group.targets, base)
        return BankRows(group, context.classes.flatten(0, 1), real.detach(), gradient)

    @staticmethod
    def _tokens(meta_learner: MetaLearner, group: BankGroup) -> Any:
        return meta_learner.vision.tokens(group.features, group.targets, group.ways)

    @abstractmethod
    def bank_losses(self, meta_learner: MetaLearner, rows: BankRows, rng: torch.Generator) -> Iterator[Loss]:
        """What the bank teaches: other players' parts, then one part for the learner."""

    def losses(self, meta_learner: MetaLearner, task: Task, rng: torch.Generator) -> Iterator[Loss]:
        taught: Loss | None = None
        for part in self.bank_losses(meta_learner, self.rows(meta_learner, rng), rng):
            if part.player == "learner":
                taught = part
            else:
                yield part
        if self.options.task_weight:
            for part in self.query_loss.losses(meta_learner, task, rng):
                part = part._replace(value=self.options.task_weight * part.value)
                if taught is not None:
                    # with the first chunk of the meta-batch, so that the parts of a step still add up to one step
                    part = part._replace(value=part.value + taught.value, logs={**taught.logs, **part.logs})
                    taught = None
                yield part
        if taught is not None:
            yield taught

    def look(self, meta_learner: MetaLearner, rows: BankRows, rng: torch.Generator) -> dict[str, float]:
        """Every so many steps, how diverse the generated rows are; see :func:`diversity`."""
        if self.step % LOOK_EVERY:
            return {}
        generator = _generator(meta_learner)
        with torch.no_grad():
            draws = torch.stack([centred(draw(generator, rows, rng), rows.group.ways) for _ in range(2)])
        return diversity(draws.unflatten(1, (-1, rows.group.ways)))


def centred(rows: Tensor, ways: int) -> Tensor:
    """Rows ``[T*K P]`` less their mean over the classes of their task.

    A vector added to all rows of a task changes no prediction: bank rows are centred, and what is compared with them
    must be too, or a generator is pushed along a direction that no query loss holds it back from.
    """
    each = rows.unflatten(0, (-1, ways))
    return (each - each.mean(1, keepdim=True)).flatten(0, 1)


def draw(generator: StandardisedGenerator, rows: BankRows, rng: torch.Generator) -> Tensor:
    """Standardised rows for the tasks of a group, one draw."""
    if isinstance(generator, GuidedGenerator):
        return generator.standardise(generator.guided(rows.context, rng, rows.gradient).values)
    return generator.draw(rows.context, rng)


def diversity(draws: Tensor) -> dict[str, float]:
    """How much generated rows differ within a task, from draw to draw, and between tasks.

    Args:
        draws: ``[S T K P]`` standardised rows, ``S`` draws of each class.

    Returns:
        ``within``: share of the rows' variance that is noise, 0 where the generator ignores it (mode collapse).
        ``between``: share of the variance that is between classes, 0 where the generator ignores the support set.
        ``cosine_within`` and ``cosine_between``: mean cosine between two draws for one task, and between the draws for
        two tasks; near 1 says collapse, as above.
    """
    total = draws.flatten(0, 2).var(0, correction=0).sum() + 1e-12
    within = draws.var(0, correction=1).sum(-1).mean()
    flat = draws.flatten(2)  # a whole task's rows
    same = F.cosine_similarity(flat[0], flat[1], dim=-1).mean()
    other = F.cosine_similarity(flat[0], flat[0].roll(1, 0), dim=-1).mean()
    between = draws.mean(0).flatten(0, 1).var(0, correction=0).sum()
    numbers = {"within": within / total, "between": between / total, "cosine_within": same, "cosine_between": other}
    return {f"diversity_{name}": value.item() for name, value in numbers.items()}


def _corrections(meta_learner: MetaLearner, group: BankGroup) -> Tensor:
    """``θ* − base``, ``[T*K R]``, see :func:`centred`."""
    base = meta_learner.row_base(BankObjective._tokens(meta_learner, group))
    return centred((group.rows - base).flatten(0, 1), group.ways)


def _to(group: BankGroup, meta_learner: MetaLearner) -> BankGroup:
    return BankGroup(*(part.to(meta_learner.scales.device) for part in group))


def _generator(meta_learner: MetaLearner) -> StandardisedGenerator:
    if not isinstance(meta_learner.row_generator, StandardisedGenerator):
        raise TypeError("a bank needs a generator with standardised coordinates")
    return meta_learner.row_generator


def _forget(module: BankObjective, keys: Any) -> None:
    """After a training state was loaded, the bank is that of the loaded reference."""
    module._bank = None

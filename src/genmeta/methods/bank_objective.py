"""What the objectives that learn from a weight bank have in common."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genmeta.core.types import Boxes, Task, Tokens
from genmeta.generators import Gradient, GuidedGenerator, StandardisedGenerator
from genmeta.learners import Learner
from genmeta.methods.bank import BankConfig, BankGroup, WeightBank
from genmeta.methods.bank_recipe import BankOptions
from genmeta.methods.diversity import centred, diversity
from genmeta.methods.meta_learner import MetaLearner
from genmeta.methods.objectives import Loss, Objective, QueryLoss, Setting

#: Meta-steps between two looks at how diverse the generated rows are.
LOOK_EVERY = 20


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
            self._bank = WeightBank(
                self.reference, self.setting.sources, self.config, self.setting.directory, meta_learner.vision
            )
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
        context = meta_learner.encoder(evidence(meta_learner, group))  # type: ignore[misc]
        base = meta_learner.row_base(evidence(meta_learner, group)).detach()
        real = _generator(meta_learner).standardise(_corrections(meta_learner, group))
        gradient = meta_learner.row_gradient(group.features, group.targets, base)
        return BankRows(group, context.classes.flatten(0, 1), real.detach(), gradient)

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


def evidence(meta_learner: MetaLearner, group: BankGroup) -> Tokens:
    """The support sets of a group, as encoders read them."""
    return meta_learner.vision.tokens(group.features, group.targets, group.ways)


def draw(generator: StandardisedGenerator, rows: BankRows, rng: torch.Generator) -> Tensor:
    """Standardised rows for the tasks of a group, one draw."""
    if isinstance(generator, GuidedGenerator):
        return generator.standardise(generator.guided(rows.context, rng, rows.gradient).values)
    return generator.draw(rows.context, rng)


def _corrections(meta_learner: MetaLearner, group: BankGroup) -> Tensor:
    """``θ* − base``, ``[T*K R]``, see :func:`centred`."""
    base = meta_learner.row_base(evidence(meta_learner, group))
    return centred((group.rows - base).flatten(0, 1), group.ways)


def _to(group: BankGroup, meta_learner: MetaLearner) -> BankGroup:
    device, targets = meta_learner.scales.device, group.targets
    moved = Boxes(*(part.to(device) for part in targets)) if isinstance(targets, Boxes) else targets.to(device)
    return BankGroup(group.features.to(device), moved, group.rows.to(device))


def _generator(meta_learner: MetaLearner) -> StandardisedGenerator:
    if not isinstance(meta_learner.row_generator, StandardisedGenerator):
        raise TypeError("a bank needs a generator with standardised coordinates")
    return meta_learner.row_generator


def _forget(module: BankObjective, keys: Any) -> None:
    """After a training state was loaded, the bank is that of the loaded reference."""
    module._bank = None

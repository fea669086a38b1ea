"""How every method with a weight bank is put together: rows alone are written, on a body that stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from genmeta.adapters import GradientAdapter
from genmeta.core.errors import UsageError
from genmeta.encoders import BlankEncoder, SetEncoder
from genmeta.generators import StandardisedGenerator, StepSizes
from genmeta.learners import Learner
from genmeta.methods.base import written_spec
from genmeta.methods.hypernetworks import make_row_base
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.vision import VisualTask


@dataclass(frozen=True)
class BankOptions:
    """Settings that every method with a weight bank has.

    Attributes:
        row_base: what the generated rows correct: ``prototype``, ``ridge`` or ``constant``.
        context: size of the encoder's context vectors.
        hidden: width of the generator.
        inner_steps: adaptation steps after generation in meta-training; they move the rows.
        row_lr: step size of the rows (its initial value where it is learned or generated).
        first_order: drop second derivatives.
        samples: draws for each task; their averaged prediction is what the query loss scores, and what evaluation
            uses. With 1 the loss asks each draw to be right alone, which teaches a generator to ignore its noise.
        query_loss: which steps' query loss trains: ``last``, ``both`` (start and last) or ``all``.
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
    row_lr: float = 1.0
    first_order: bool = False
    samples: int = 5
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
        if self.samples < 1:
            raise UsageError(f"samples must be 1 or more, got {self.samples}.")
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
            samples=options.samples,
            encoder=make_encoder(learner.feature_size, options.context, conditional),
            rows=rows,
        )
    )
    # the generator's own mean and spread hold the scale of the rows; a second, moving one would bend the bank's units
    meta_learner.scales.requires_grad_(False).fill_(1.0)
    return meta_learner


def check_decay(decay: float) -> None:
    """Refuses a decay outside [0, 1)."""
    if not 0 <= decay < 1:
        raise UsageError(f"ema must be 0 or more and below 1, got {decay}.")


def make_encoder(feature_size: int, width: int, conditional: bool) -> nn.Module:
    """An encoder of class contexts, or one that sees nothing."""
    return SetEncoder(feature_size, width, reads_task=False) if conditional else BlankEncoder(width)

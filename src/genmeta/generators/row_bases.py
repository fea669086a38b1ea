"""What a class's row is before the generator corrects it: a learned constant, or a closed form of the support set."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmeta.core import batching
from genmeta.core.types import Tokens


class RowBase(nn.Module, ABC):
    """Rows ``[T K R]`` from the support evidence.

    Attributes:
        reads_earlier: whether rows of classes that come in a later session depend on the classes before them.
    """

    reads_earlier = False

    @abstractmethod
    def forward(self, tokens: Tokens) -> Float[Tensor, "T K R"]:
        """The rows, in the order of the classes; ``tokens`` are labelled."""

    def later(self, tokens: Tokens) -> RowBase:
        """What writes the rows of classes that come after these, whose own rows stay as they are."""
        return self


class ConstantRow(RowBase):
    """One learned row for all classes, so that any number of classes can be served.

    The support loss breaks the tie: with equal rows the gradient with respect to the features is zero, so the first
    step moves only the rows, each towards its class's mean feature; the body moves from the second step on.

    Args:
        row_length: ``R``.
        classes: 0, or the size of a label set that all tasks share (the domain scenario): then each class has a
            learned row of its own.
    """

    def __init__(self, row_length: int, classes: int = 0) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.zeros(classes, row_length) if classes else torch.zeros(row_length))

    def forward(self, tokens: Tokens) -> Tensor:
        n_tasks, _, ways = memberships(tokens).shape
        return self.row.expand(n_tasks, ways, -1)


class PrototypeRow(RowBase):
    """``w_k = 2 τ μ_k, b_k = −τ ‖μ_k‖²`` with ``μ_k`` the mean feature of class ``k``: squared distances to prototypes.

    Snell et al., "Prototypical networks for few-shot learning", 2017 (https://arxiv.org/abs/1703.05175). Deviation: a
    learned temperature ``τ``, on features of unit length.
    """

    def __init__(self, temperature: float = 16.0) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def forward(self, tokens: Tokens) -> Tensor:
        return _distance_rows(_means(tokens), self.log_temperature.exp())


class RidgeRow(RowBase):
    """Ridge regression from features to one-hot targets, solved in closed form (Woodbury form, ``N × N``).

    ``W = Xᵀ (X Xᵀ + λ I)⁻¹ Y``, logits ``a W h + b``. Bertinetto et al., "Meta-learning with differentiable
    closed-form solvers", 2019 (https://arxiv.org/abs/1805.08136), R2D2. Learned ``λ``, scale ``a`` and bias ``b``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_ridge = nn.Parameter(torch.tensor(0.0))
        self.log_scale = nn.Parameter(torch.tensor(math.log(5.0)))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, tokens: Tokens) -> Tensor:
        # a place without evidence is a row of zeros, which changes nothing
        targets, present = (memberships(tokens) > 0).to(tokens.values.dtype), tokens.present
        x = torch.cat([tokens.values * present, present], -1)
        gram = x @ x.transpose(1, 2)
        ridge = self.log_ridge.exp() * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        rows = (x.transpose(1, 2) @ torch.linalg.solve(gram + ridge, targets)).transpose(1, 2)
        shift = torch.cat([torch.zeros_like(self.bias).expand(rows.shape[-1] - 1), self.bias[None]])
        return self.log_scale.exp() * rows + shift


def memberships(tokens: Tokens) -> Tensor:
    """``[T N K]``, of labelled evidence."""
    if tokens.membership is None:
        raise TypeError("closed-form rows need labelled evidence")  # a programming error: the caller has the labels
    return tokens.membership


def _means(tokens: Tokens) -> Tensor:
    return batching.class_means(tokens.values, memberships(tokens))


def _distance_rows(means: Tensor, temperature: Tensor) -> Tensor:
    return temperature * torch.cat([2 * means, -means.square().sum(-1, keepdim=True)], -1)

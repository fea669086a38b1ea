"""How long each gradient step is: fixed, learned per parameter, or generated from the support set.

Rows take their step sizes times the number of classes, because the gradient of a mean loss with respect to one class's
row shrinks with the number of classes: so step sizes that were learned 5-way are right 2-way and 20-way.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import nn

from genmeta.core.spec import ParamSpec
from genmeta.core.types import ROWS, Context, Weights

#: A tensor with more weights than this gets one generated step size for all of them.
PER_PARAMETER = 4096


class StepSizes(nn.Module, ABC):
    """Writes α for every adapted tensor.

    Args:
        spec: the written weights.
        adapts: the names that adaptation may move, :data:`~genmeta.core.types.ROWS` among them or not.
        alpha: step size of the shared tensors, or its initial value.
        row_alpha: step size of the rows, or its initial value. Features have length 1, so rows bear, and need, longer
            steps than kernels.
    """

    def __init__(self, spec: ParamSpec, adapts: tuple[str, ...], alpha: float, row_alpha: float) -> None:
        super().__init__()
        shapes = {**dict(spec.shared), ROWS: (spec.row_length,)}
        self.shapes = {name: shapes[name] for name in adapts}
        self.initial = {name: float(row_alpha if name == ROWS else alpha) for name in adapts}

    @abstractmethod
    def alpha(self, context: Context | None) -> Weights:
        """Name -> step sizes that broadcast against ``[T *shape]`` (rows: against ``[T K R]``)."""

    def forward(self, context: Context | None, ways: int) -> Weights:
        """As :meth:`alpha`, with rows scaled for the number of classes."""
        return {name: alpha * (ways if name == ROWS else 1) for name, alpha in self.alpha(context).items()}


class FixedStepSize(StepSizes):
    """One number for the shared tensors and one for the rows: MAML's inner learning rates."""

    def __init__(self, spec: ParamSpec, adapts: tuple[str, ...], alpha: float, row_alpha: float) -> None:
        super().__init__(spec, adapts, alpha, row_alpha)
        self.register_buffer("values", torch.tensor(list(self.initial.values())))

    def alpha(self, context: Context | None) -> Weights:
        return dict(zip(self.shapes, self.get_buffer("values"), strict=True))


class LearnedStepSizes(StepSizes):
    """A learned step size for each parameter, the same for every task: Meta-SGD's α. May turn negative, as there.

    Li et al., "Meta-SGD: learning to learn quickly for few-shot learning", 2017 (https://arxiv.org/abs/1707.09835).
    """

    def __init__(self, spec: ParamSpec, adapts: tuple[str, ...], alpha: float, row_alpha: float) -> None:
        super().__init__(spec, adapts, alpha, row_alpha)
        # parameter names may not hold dots, so the tensors go by position
        self.alphas = nn.ParameterList(torch.full(s, self.initial[name]) for name, s in self.shapes.items())

    def alpha(self, context: Context | None) -> Weights:
        return dict(zip(self.shapes, self.alphas, strict=True))


class GeneratedStepSizes(StepSizes):
    """``α = α_max · sigmoid(ρ₀ + ρ(context))``, ``α_max`` four times the initial step size.

    ρ₀ is learned per parameter, ρ generated from the support set.

    ρ is per parameter for rows and for tensors of up to :data:`PER_PARAMETER` weights, one number for a larger
    tensor. At the start of training ρ is zero, hence a Meta-SGD with constant step sizes. This library's definition
    ("Meta-SGD-HN" has no paper); nearest: Baik et al., "Meta-learning with adaptive hyperparameters", 2020
    (https://arxiv.org/abs/2011.00209).
    """

    def __init__(
        self,
        spec: ParamSpec,
        adapts: tuple[str, ...],
        alpha: float,
        row_alpha: float,
        context_size: int,
        hidden: int = 128,
    ) -> None:
        super().__init__(spec, adapts, alpha, row_alpha)
        self.bias = nn.ParameterList(torch.full(shape, -math.log(3.0)) for shape in self.shapes.values())
        self.hidden = nn.ModuleList()
        self.write = nn.ModuleList()
        for shape in self.shapes.values():
            size = math.prod(shape)
            self.hidden.append(nn.Sequential(nn.Linear(context_size, hidden), nn.GELU()))
            last = nn.Linear(hidden, size if size <= PER_PARAMETER else 1)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.write.append(last)

    def alpha(self, context: Context | None) -> Weights:
        if context is None or context.classes is None:
            raise TypeError("generated step sizes need the context of a labelled support set")
        out: Weights = {}
        parts = zip(self.shapes.items(), self.bias, self.hidden, self.write, strict=True)
        for (name, shape), bias, hidden, write in parts:
            source = context.classes if name == ROWS else context.task
            rho = write(hidden(source))
            if name != ROWS:
                rho = rho.unflatten(1, shape) if rho.shape[1] == math.prod(shape) else rho.view(-1, *[1] * len(shape))
            out[name] = 4 * self.initial[name] * torch.sigmoid(bias + rho)
        return out

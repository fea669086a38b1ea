"""Gradient descent on the support loss, to first or second order.

Finn et al., "Model-agnostic meta-learning", 2017 (https://arxiv.org/abs/1703.03400).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genmeta.adapters.base import Adapter, SupportLoss
from genmeta.core.errors import unknown
from genmeta.core.types import Start, Weights

RULES = ("sgd", "adam")


@dataclass(frozen=True)
class GradientAdapter(Adapter):
    """``θ_{j+1} = θ_j − α ⊙ ∇L_S(θ_j)``; with ``adam``, the gradient is replaced by Adam's normalised one.

    Attributes:
        first_order: treat the inner gradients as constants when the trajectory is differentiated (FOMAML); the
            derivative with respect to α stays exact for the last step.
        rule: ``sgd``, or ``adam`` (Kingma and Ba, 2015; β = 0.9, 0.999) for baselines that train for many steps.
    """

    first_order: bool = False
    rule: str = "sgd"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise unknown("inner update rule", self.rule, RULES)

    def adapt(self, start: Start, loss: SupportLoss, steps: int, *, differentiable: bool) -> list[Weights]:
        second_order = differentiable and not self.first_order
        weights, trajectory = start.weights, [start.weights]
        moments: dict[str, tuple[Tensor, Tensor]] = {}
        for step in range(1, steps + 1):
            with torch.enable_grad():
                at = {name: weights[name] for name in start.step_sizes}
                if not second_order:
                    # a cut copy: the gradient is wanted as a number, the graph behind the start is not
                    at = {name: value.detach().requires_grad_() for name, value in at.items()}
                else:
                    # a view of its own for each tensor: one that was computed from another (rows, from features under
                    # written scales) must not lend it a second way to the loss. After a step all come from one place
                    at = {
                        n: v.detach().requires_grad_() if not v.requires_grad else v.view_as(v) if step == 1 else v
                        for n, v in at.items()
                    }
                total = loss({**weights, **at}).sum()
                gradients = torch.autograd.grad(total, list(at.values()), create_graph=second_order)
            if self.rule == "adam":
                gradients = tuple(_adam(*pair, step, moments) for pair in zip(at, gradients, strict=True))
            here, sizes = [weights[name] for name in at], [start.step_sizes[name] for name in at]
            moved = _Descent.apply(len(here), *here, *gradients, *sizes)
            weights = {**weights, **dict(zip(at, moved, strict=True))}
            if not differentiable:
                weights = {name: value.detach() for name, value in weights.items()}
            trajectory.append(weights)
        return trajectory


class _Descent(torch.autograd.Function):
    """``θ − α ⊙ g`` of all tensors at once: one node of the graph in place of some for each, on the way and back.

    Takes their number, then all ``θ``, all ``g`` and all ``α``, which broadcast.
    """

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        weights, gradients, sizes = tensors[:count], tensors[count : 2 * count], tensors[2 * count :]
        ctx.save_for_backward(*gradients, *sizes)
        ctx.set_materialize_grads(False)
        ctx.count = count
        return tuple(torch.addcmul(w, a, g, value=-1) for w, g, a in zip(weights, gradients, sizes, strict=True))

    @staticmethod
    def backward(ctx: Any, *back: Tensor | None) -> tuple[Tensor | None, ...]:
        count, needed = ctx.count, ctx.needs_input_grad[1:]
        gradients, sizes = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        to_gradients = [
            None if b is None or not need else -(a * b)
            for b, a, need in zip(back, sizes, needed[count : 2 * count], strict=True)
        ]
        to_sizes = [
            None if b is None or not need else -(g * b).sum_to_size(a.shape)
            for b, g, a, need in zip(back, gradients, sizes, needed[2 * count :], strict=True)
        ]
        return None, *back, *to_gradients, *to_sizes


def _adam(name: str, gradient: Tensor, step: int, moments: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
    """Adam's direction; keeps both moments of each tensor in ``moments``."""
    first, second = moments.get(name, (torch.zeros_like(gradient), torch.zeros_like(gradient)))
    first, second = first * 0.9 + gradient * 0.1, second * 0.999 + gradient.square() * 0.001
    moments[name] = (first, second)
    return (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)

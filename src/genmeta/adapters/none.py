"""No adaptation: the start is the answer. What metric-based methods do."""

from __future__ import annotations

from dataclasses import dataclass

from genmeta.adapters.base import Adapter, SupportLoss
from genmeta.core.types import Start, Weights


@dataclass(frozen=True)
class NoAdapter(Adapter):
    """``θ_j = θ₀`` for every ``j``."""

    def adapt(self, start: Start, loss: SupportLoss, steps: int, *, differentiable: bool) -> list[Weights]:
        return [start.weights] * (steps + 1)

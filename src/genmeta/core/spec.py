"""Which weights are written for a task: shared tensors once, class rows once per class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from genmeta.core.errors import UsageError
from genmeta.core.types import ROWS, Weights


@dataclass(frozen=True)
class ParamSpec:
    """The written weights of a learner.

    Attributes:
        shared: ``(name, shape)`` of each tensor that is written once per task (kernels, FiLM scales and shifts).
        row_length: length ``R`` of the row that is written for each class.
    """

    shared: tuple[tuple[str, tuple[int, ...]], ...]
    row_length: int

    def __post_init__(self) -> None:
        names = [name for name, _ in self.shared]
        if len(set(names)) != len(names) or ROWS in names:
            raise UsageError(f"Shared tensors need distinct names other than {ROWS!r}, got {names}.")
        if self.row_length < 1:
            raise UsageError(f"A class row needs at least one weight, got row_length={self.row_length}.")

    @property
    def shared_length(self) -> int:
        """Number of weights ``P`` written once per task."""
        return sum(math.prod(shape) for _, shape in self.shared)

    def split(self, vector: Float[Tensor, "T P"]) -> Weights:
        """Cuts vectors ``[T P]`` into the shared tensors ``[T *shape]``, in the order of :attr:`shared`."""
        if vector.ndim != 2 or vector.shape[1] != self.shared_length:
            raise UsageError(f"Expected vectors of shape [T {self.shared_length}], got {list(vector.shape)}.")
        pieces = vector.split([math.prod(shape) for _, shape in self.shared], dim=1) if self.shared else ()
        return {name: piece.reshape(-1, *shape) for (name, shape), piece in zip(self.shared, pieces, strict=True)}

    def join(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "T P"]:
        """The inverse of :meth:`split`."""
        missing = [name for name, _ in self.shared if name not in tensors]
        if missing or not self.shared:
            raise UsageError(f"Nothing to join: {missing or 'this spec has no shared tensors'}.")
        return torch.cat([tensors[name].reshape(len(tensors[name]), -1) for name, _ in self.shared], dim=1)

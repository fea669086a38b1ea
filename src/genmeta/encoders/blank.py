"""The encoder that reads nothing: for ablations of what a support set is worth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genmeta.core.types import Context, Tokens


class BlankEncoder(nn.Module):
    """A context of zeros, whatever the support set.

    Args:
        width: size of both contexts.
    """

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.width = width

    def forward(self, tokens: Tokens) -> Context:
        """``task [T W]`` and ``classes [T K W]`` (none without labels), all zero."""

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, self.width, dtype=tokens.values.dtype, device=tokens.values.device)

        n_tasks = tokens.values.shape[0]
        classes = None if tokens.membership is None else zeros(n_tasks, tokens.membership.shape[-1])
        return Context(zeros(n_tasks), classes)

"""A token that tells the generator which visual task it writes for."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from genmeta.core.types import Context, Tokens


class TaskToken(nn.Module):
    """``context + e_v`` with a learned token ``e_v`` for each visual task, over the context of any encoder.

    The token stands beside what the support set says in the one form that generators read, so no generator needs to
    know that there are visual tasks. Mahabadi et al., "Parameter-efficient multi-task fine-tuning for transformers via
    shared hypernetworks", 2021 (https://arxiv.org/abs/2106.04489); deviation: the token is added to what a support set
    says instead of being all that the hypernetwork knows.

    Args:
        encoder: support evidence to context.
        width: of its contexts.
        count: number of visual tasks.
    """

    def __init__(self, encoder: nn.Module, width: int, count: int) -> None:
        super().__init__()
        self.encoder, self.width = encoder, width
        self.tokens = nn.Parameter(torch.zeros(count, width))
        self._number = 0

    def told(self, number: int) -> TaskToken:
        """The same encoder, with the same parameters, told another visual task."""
        view = copy.copy(self)
        view._number = number
        return view

    def forward(self, tokens: Tokens) -> Context:
        context: Context = self.encoder(tokens)
        token: Tensor = self.tokens[self._number]
        return Context(context.task + token, None if context.classes is None else context.classes + token)

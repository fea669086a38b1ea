"""Overlap of predicted and true class masks."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genmeta.core.types import IGNORE


def confusion(guess: Int[Tensor, "T Q"], truth: Int[Tensor, "T Q"], ways: int) -> Int[Tensor, "T K K"]:
    """How many pixels of true class ``i`` (rows) were taken for class ``j`` (columns); unlabelled ones do not count."""
    known = truth != IGNORE
    task = torch.arange(len(truth), device=truth.device)[:, None].expand_as(truth)
    place = ((task * ways + truth) * ways + guess)[known]
    return torch.bincount(place, minlength=len(truth) * ways * ways).view(-1, ways, ways)


def iou_of(tables: Int[Tensor, "T K K"]) -> Float[Tensor, "T K"]:
    """``IoU_k = TP_k / (TP_k + FP_k + FN_k)``; ``nan`` where a class is neither there nor predicted."""
    both = tables.diagonal(dim1=1, dim2=2).double()
    either = tables.sum(1) + tables.sum(2) - both
    return torch.where(either > 0, both / either.clamp_min(1), torch.nan)

"""Reads numbers from a device as seldom as possible: who reads one waits for all that was queued before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def runs_ahead(device: torch.device) -> bool:
    """Whether the program runs ahead of the device, so that reading a number from it makes the program wait."""
    return device.type != "cpu"


def read_numbers(values: Sequence[float | Tensor]) -> list[float]:
    """Plain numbers; all tensors (of one number each, on one device) are read together, in one transfer."""
    tensors = [value.detach().double() for value in values if isinstance(value, Tensor)]
    read = iter(torch.stack(tensors).tolist() if tensors else [])
    return [next(read) if isinstance(value, Tensor) else value for value in values]

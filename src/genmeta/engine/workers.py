"""What the processes of a run tell each other: gradients, logs, scores. Alone, each of these is the identity."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from genmeta.core.errors import RunError

T = TypeVar("T")


class Workers:
    """The processes of a run, each with a share of every meta-batch.

    Args:
        rank: number of this process.
        size: how many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def share(self, count: int) -> tuple[int, int]:
        """Start and stop of this process's part of ``count`` things; parts differ by one at most."""
        return self.rank * count // self.size, (self.rank + 1) * count // self.size

    def add(self, parameters: Sequence[nn.Parameter], weight: float, notes: Sequence[float] = ()) -> list[float]:
        """Replaces gradients by their weighted sum over processes, ``Σ_r w_r g_r``, and adds up ``notes``.

        One message holds it all. A parameter that has a gradient nowhere keeps none.

        Args:
            parameters: in the same order everywhere.
            weight: of this process's gradients; the weights of all add up to 1.
            notes: numbers to sum, e.g. a 1 where this process wishes to stop.
        """
        if self.size == 1:
            return list(notes)
        there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32)
        like = parameters[0]
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() * weight for p in parameters]
        flat = torch.cat([*parts, there.to(like), torch.tensor(list(notes)).to(like)])
        with self._connected():
            torch.distributed.all_reduce(flat)
        at = 0
        present = flat[sum(p.numel() for p in parameters) :][: len(parameters)].tolist()
        for p, known in zip(parameters, present, strict=True):
            p.grad = flat[at : at + p.numel()].view_as(p).clone() if known else None
            at += p.numel()
        return flat[at + len(parameters) :].tolist()

    def gather(self, value: T) -> list[T]:
        """Every process's value, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with self._connected():
            torch.distributed.all_gather_object(values, value)
        return values

    def told(self, value: T) -> T:
        """The leader's value, in every process."""
        if self.size == 1:
            return value
        box = [value]
        with self._connected():
            torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def meet(self) -> None:
        """Waits until every process has come this far."""
        self.told(None)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RunError(
                f"Process {self.rank} of {self.size} lost another process of this run, which has died or cannot be "
                f"reached any more ({str(error).splitlines()[0]}). The last saved state is whole: run the same command "
                "with --resume, or let torchrun do it with --max-restarts."
            ) from error


def in_turn(lists: Sequence[Sequence[T]]) -> list[T]:
    """The first of each list, then the second of each, and so on: what processes that took turns did, in order."""
    return [each[i] for i in range(max(map(len, lists))) for each in lists if i < len(each)]


#: No other process.
ALONE = Workers()

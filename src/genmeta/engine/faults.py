"""Losses and gradients that are not finite: which task, which step, and whether the run stops or goes on without."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from genmeta.core.errors import RunError
from genmeta.engine.optimisers import Part
from genmeta.engine.reading import read_numbers

POLICIES = ("stop", "skip")

#: Steps in a row with something skipped in each, after which there is nothing to hope for.
PATIENCE = 100

_TODO = "Lower --lr or the method's inner_lr, or pass --on-nonfinite skip to leave such tasks out."


class Faults:
    """Watches the losses and gradients of a run.

    Args:
        policy: ``stop`` or ``skip``.
        describe: ``(step, from, to) -> text``, which tasks lie between two fractions of a step's tasks.
        late: losses are read when a whole step's are there, by :meth:`settled`, not each before its backward pass.
    """

    def __init__(
        self, policy: str, describe: Callable[[int, float, float], str] | None = None, *, late: bool = False
    ) -> None:
        self.policy, self._describe = policy, describe or _fractions
        self.skipped = 0  # over the whole run, in all processes
        self.found = 0.0  # in this step, in this process
        self._unstepped = 0  # in this step, alike in all processes
        self._at, self._in_a_row = 0.0, 0
        self._late = late
        self._unread: dict[int, tuple[float, float, Tensor]] = {}  # number of a part -> where it lies, its loss
        self._left_out: set[int] = set()
        self._parts = 0

    def begin(self) -> None:
        """A step begins."""
        self.found, self._unstepped = 0.0, 0
        self._left_out = set()
        self._again()

    def _again(self) -> None:
        self._at, self._parts, self._unread = 0.0, 0, {}

    def accept(self, step: int, part: Part) -> bool:
        """Whether a part is to be back-propagated, as far as that is known now.

        Raises:
            RunError: its loss is not finite, and the policy is to stop.
        """
        before, number = self._at, self._parts
        self._parts += 1
        if part.player == "learner":
            self._at += part.share
        if number in self._left_out:
            return False
        if self._late:
            self._unread[number] = before, self._at, part.value.detach()
            return True
        return self._judged(step, before, self._at, part.value.item())

    def settled(self, step: int) -> bool:
        """Whether all losses of a step are known to be finite or left out; otherwise the step is to be computed again.

        Raises:
            RunError: one is not finite, and the policy is to stop.
        """
        values = read_numbers([value for *_, value in self._unread.values()])
        for (number, (before, after, _)), value in zip(list(self._unread.items()), values, strict=True):
            if not self._judged(step, before, after, value):
                self._left_out.add(number)
        known = not self._left_out.intersection(self._unread)
        if not known:
            self._again()
        return known

    def _judged(self, step: int, before: float, after: float, value: float) -> bool:
        if math.isfinite(value):
            return True
        if self.policy == "stop":
            raise RunError(f"The loss of {self._describe(step, before, after)} is {value}. {_TODO}")
        self.found += 1
        return False

    def gradient(
        self,
        step: int,
        parameters: Sequence[nn.Parameter],
        losses: Callable[[int], Iterator[Part]],
        module: nn.Module,
    ) -> None:
        """A gradient that was not finite was not stepped on.

        The step is computed again, part by part, to find out whose gradient it was.

        Raises:
            RunError: the policy is to stop.
        """
        self._unstepped += 1
        if self.policy != "stop":
            return
        at, culprit = 0.0, f"step {step}"
        for part in losses(step):
            after = at + (part.share if part.player == "learner" else 0.0)
            module.zero_grad()
            part.value.backward()
            if not all(torch.isfinite(p.grad).all() for p in parameters if p.grad is not None):
                culprit = self._describe(step, at, after)
                break
            at = after
        raise RunError(f"The gradient of {culprit} is not finite, though the loss is. {_TODO}")

    def end(self, step: int, found: float) -> None:
        """A step ends, with ``found`` losses left out in all processes.

        Raises:
            RunError: that has gone on for a hundred steps.
        """
        count = round(found) + self._unstepped
        self.skipped += count
        self._in_a_row = self._in_a_row + 1 if count else 0
        if self._in_a_row >= PATIENCE:
            raise RunError(
                f"In each of the last {PATIENCE} steps up to step {step} some loss or gradient was not finite. "
                "Skipping does not help here: lower --lr or the method's inner_lr, and start another run."
            )


def _fractions(step: int, start: float, stop: float) -> str:
    return f"step {step} (between {start:.0%} and {stop:.0%} of its tasks)"

"""Losses and gradients that are not finite: which task, which step, and whether the run stops or goes on without."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from genmeta.core.errors import RunError
from genmeta.engine.optimisers import Part

POLICIES = ("stop", "skip")

#: Steps in a row with something skipped in each, after which there is nothing to hope for.
PATIENCE = 100

_TODO = "Lower --lr or the method's inner_lr, or pass --on-nonfinite skip to leave such tasks out."


class Faults:
    """Watches the losses and gradients of a run.

    Args:
        policy: ``stop`` or ``skip``.
        describe: ``(step, from, to) -> text``, which tasks lie between two fractions of a step's tasks.
    """

    def __init__(self, policy: str, describe: Callable[[int, float, float], str] | None = None) -> None:
        self.policy, self._describe = policy, describe or _fractions
        self.skipped = 0  # over the whole run, in all processes
        self.found = 0.0  # in this step, in this process
        self._unstepped = 0  # in this step, alike in all processes
        self._at, self._in_a_row = 0.0, 0

    def begin(self) -> None:
        """A step begins."""
        self.found, self._at, self._unstepped = 0.0, 0.0, 0

    def accept(self, step: int, part: Part) -> bool:
        """Whether a part is to be back-propagated.

        Raises:
            RunError: its loss is not finite, and the policy is to stop.
        """
        before = self._at
        if part.player == "learner":
            self._at += part.share
        value = part.value.item()
        if math.isfinite(value):
            return True
        if self.policy == "stop":
            raise RunError(f"The loss of {self._describe(step, before, self._at)} is {value}. {_TODO}")
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

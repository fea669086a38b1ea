"""Settings that estimators share, and what is wrong with them."""

from __future__ import annotations

import numbers
from typing import Any

from genmeta.core.errors import UsageError


def check_steps(steps: Any) -> None:
    """Adaptation steps: a whole number, or ``None`` for the checkpoint's own.

    Raises:
        UsageError: anything else.
    """
    if steps is not None and not (is_whole(steps) and steps >= 0):
        raise UsageError(f"steps must be 0 or more, a whole number, got {steps!r}.")


def check_probability(name: str, value: Any, what: str) -> None:
    """A number between 0 and 1.

    Raises:
        UsageError: anything else.
    """
    if not isinstance(value, numbers.Real) or not 0 <= float(value) <= 1:
        raise UsageError(f"{name} is a {what} between 0 and 1, got {value}.")


def is_whole(value: Any) -> bool:
    """Whether it is a whole number of any library, but no truth value."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)

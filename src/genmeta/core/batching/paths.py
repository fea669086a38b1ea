"""Formulations of one operation, and the choice among them.

An operation is a list of paths, the last of which always applies. The list is the dispatch itself, so a path that is
not in it never runs, and the law test, which goes through every list, finds every path that does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Path:
    """One way to compute an operation.

    Attributes:
        name: what it is called in tests and messages.
        fits: whether it gives the right result for these arguments.
        pays: whether it is the fast one for them, here and now (device, compiled kernels).
        compute: the formulation.
    """

    name: str
    fits: Callable[..., bool]
    pays: Callable[..., bool]
    compute: Callable[..., Any]


class Operation:
    """An operation and its paths, tried in order."""

    def __init__(self, name: str, *paths: Path) -> None:
        self.name, self.paths = name, paths

    def choose(self, *arguments: Any) -> Path:
        """The first path that fits these arguments and pays."""
        return next(path for path in self.paths if path.fits(*arguments) and path.pays(*arguments))

    def __call__(self, *arguments: Any) -> Any:
        return self.choose(*arguments).compute(*arguments)


def always(*arguments: Any) -> bool:
    """Fits, or pays, in any case."""
    return True

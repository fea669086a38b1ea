"""One hierarchy of errors. Every message says what is wrong with which value, what was expected, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Of so many known names at most an error tells.
MOST_NAMES = 40


class GenmetaError(Exception):
    """Base of every error that bad input or a bad environment can cause; commands print it without a traceback."""


class UsageError(GenmetaError, ValueError):
    """A value handed to the library cannot be used: wrong shape, wrong range, unknown name, options at odds."""


class DataError(GenmetaError):
    """Images or labels cannot be read or are not fit for the episodes asked for."""


class CheckpointError(GenmetaError):
    """A checkpoint is damaged, of another schema, or does not fit what it is asked to do."""


class RunError(GenmetaError):
    """A run directory is in use, does not hold what is asked for, or cannot be written."""


class DataWarning(UserWarning):
    """Some of the data was left out, or looks wrong, and work goes on without it."""


class DivergenceWarning(UserWarning):
    """Adaptation ran away in some tasks, whose numbers are not finite; they count as wrong."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> UsageError:
    """Returns (not raises) the error for an unknown name, with the nearest known names."""
    choices = sorted(choices)
    near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    more = f" and {len(choices) - MOST_NAMES} more" if len(choices) > MOST_NAMES else ""
    return UsageError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(choices[:MOST_NAMES]) or 'none'}{more}.")

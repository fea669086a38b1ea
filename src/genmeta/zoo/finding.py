"""From a name, a path or a Hugging Face Hub id to a checkpoint."""

from __future__ import annotations

import os
import re
from pathlib import Path

from genmeta.core.errors import CheckpointError, UsageError
from genmeta.engine import Trained, load
from genmeta.engine.shipped import names, shipped
from genmeta.zoo.hub import fetch

_HUB_ID = re.compile(r"(hf:)?(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


def find(model: str | os.PathLike[str]) -> Path:
    """The checkpoint file that ``model`` means.

    Args:
        model: in this order, a path (a checkpoint file or a run directory), the name of a checkpoint that comes with
            the package, or a Hugging Face Hub id ``owner/name`` or ``owner/name@revision``; ``hf:`` before an id says
            that it is one, whatever paths there are.

    Raises:
        CheckpointError: it is none of these.
        UsageError: it is no text or path at all.
    """
    if not isinstance(model, str | os.PathLike):
        raise UsageError(f"A checkpoint is a name, a path or a Hugging Face Hub id, got {type(model).__name__}.")
    text = str(os.fspath(model))
    path = Path(text)
    forced = text.startswith("hf:")
    if not forced and os.path.exists(path):  # never raises, whatever the path
        return path
    if not forced and (here := shipped(text)) is not None:
        return here
    match = _HUB_ID.fullmatch(text)
    if match is None or (not forced and text.endswith(".safetensors")):
        raise CheckpointError(
            f"There is no checkpoint {text!r}: no such file or run directory, and none of that name in the package "
            f"({', '.join(names()) or 'which has none'}). A Hugging Face Hub id is written owner/name."
        )
    return fetch(match["repo"], match["revision"])


def from_pretrained(model: str | os.PathLike[str]) -> Trained:
    """Loads a checkpoint by name, path or Hub id; see :func:`find`. Only safetensors and JSON are ever read.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    return load(find(model))

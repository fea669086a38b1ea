"""Warns where classes that are to be new to a checkpoint are among those that its weights have learned from.

A checkpoint may have been trained on another split of the same images, or may have started from one that was.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from genmeta.core.errors import DataWarning, GenmetaError
from genmeta.data import DataSpec, ImageClasses, open_dataset
from genmeta.engine.task_sources import Data

#: Options of a data spec that change pixels and not splits.
_PIXELS = ("size", "color")


def learned_from(header: Mapping[str, Any]) -> tuple[str, ...]:
    """The data specs that a checkpoint's weights come from; those of a start come first, as far as it is known."""
    named = header.get("learned_from")
    if isinstance(named, list):
        return tuple(spec for spec in named if isinstance(spec, str))
    training = header.get("training")
    data = training.get("data") if isinstance(training, dict) else None
    return tuple(data.split("+")) if isinstance(data, str) else ()


def warn_of_seen_classes(specs: Sequence[str], data: Data, splits: Sequence[str], what: str) -> None:
    """Names how many classes of some splits were training classes of earlier data, as :class:`DataWarning`.

    Only another split of the same files can be told, by the names of its classes.

    Args:
        specs: from :func:`learned_from`.
        data: whose classes are to be new.
        splits: of ``data``.
        what: the checkpoint, as the message calls it.
    """
    if not isinstance(data, ImageClasses):
        return
    ours = _without_pixels(data.name)
    new = {data.class_names[int(number)] for split in splits for number in data.splits[split]}
    channels, size, _ = data.image_shape
    for spec in dict.fromkeys(specs):
        try:
            theirs = _without_pixels(spec)
            if (theirs.name, theirs.path) != (ours.name, ours.path) or theirs == ours:
                continue
            with warnings.catch_warnings(action="ignore"):  # what is wrong with these files was said of ours
                other = open_dataset(str(theirs), size=size, channels=channels)
        except GenmetaError:
            continue  # a spec of an earlier version, of another kind or forged: nothing can be told
        seen = new & {other.class_names[int(number)] for number in other.splits["train"]}
        if seen:
            of = f"{len(seen)} of the {len(new)} classes in the {' and '.join(splits)} split of {data.name!r}"
            warnings.warn(
                f"{what} was trained on {spec!r}, where {of} are training classes, such as {min(seen)!r}: scores on "
                "them are not scores on new classes.",
                DataWarning,
                stacklevel=3,
            )


def _without_pixels(text: str) -> DataSpec:
    spec = DataSpec.parse(text)
    return dataclasses.replace(spec, options={k: v for k, v in spec.options.items() if k not in _PIXELS})

"""Labels of any kind to class numbers, and what is wrong with a training set."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from genmeta.core.errors import DataError, DataWarning, UsageError

#: What is predicted for an image that no class is likely enough for.
UNKNOWN = "unknown"


def as_labels(labels: Iterable[Any], n_images: int) -> np.ndarray:
    """``[N]`` labels, text or numbers.

    Raises:
        UsageError: not one label per image, or labels that are missing or of different kinds.
    """
    try:
        given = labels if isinstance(labels, np.ndarray) else list(labels)
        if isinstance(given, list) and len({isinstance(label, str) for label in given}) > 1:
            given = np.array(given, dtype=object)  # numpy would make text of the numbers
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise UsageError(f"Labels are no flat list ({error}). Give one name or whole number per image.") from error
    if array.ndim != 1 or len(array) != n_images:
        raise UsageError(
            f"Expected one label for each of the {n_images} images, got labels of shape {array.shape}. "
            "Give a flat list as long as the images."
        )
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise UsageError("Labels hold NaN or infinity. Leave out images without a label.")
        if (array == array.astype(np.int64)).all():
            array = array.astype(np.int64)
        else:
            raise UsageError(f"Labels such as {array[0]!r} are no classes. Give names or whole numbers.")
    if array.dtype.kind == "O":
        kinds = {type(label) for label in array}
        if kinds == {int}:
            raise UsageError(f"Labels such as {max(array, key=abs)!r} are no classes: they do not fit into 64 bits.")
        if kinds != {str}:
            raise UsageError(
                f"Labels are of different kinds: {', '.join(sorted(kind.__name__ for kind in kinds))}. "
                "Give all of them as text or all as whole numbers."
            )
        array = array.astype(str)
    if array.dtype.kind not in "biuU":
        raise UsageError(f"Labels of type {array.dtype} are no classes. Give names or whole numbers.")
    for label in np.unique(array) if array.dtype.kind == "U" else ():
        if not _is_text(str(label)):
            raise UsageError(f"The label {str(label)!r} is no text that can be saved. Rename the class or its folder.")
    return array


def _is_text(label: str) -> bool:
    """Names of folders need not be text; then they hold halves of characters."""
    try:
        label.encode()
    except UnicodeEncodeError:
        return False
    return True


def encode(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sorted classes ``[K]``, and the number of each label's class ``[N]``.

    Raises:
        DataError: fewer than two classes.
    """
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        found = f"only the class {str(classes[0])!r}" if len(classes) else "no image"
        raise DataError(f"A classifier needs images of 2 or more classes, got {found}. Add images of another class.")
    return classes, numbers.astype(np.int64)


def contradictions(images: np.ndarray, targets: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of images that are the same, pixel by pixel, but of different classes."""
    seen: dict[bytes, int] = {}
    first = [seen.setdefault(image.tobytes(), i) for i, image in enumerate(images)]
    return [(j, i) for i, j in enumerate(first) if targets[i] != targets[j]]


def warn_of_contradictions(images: np.ndarray, targets: np.ndarray, classes: np.ndarray) -> None:
    """Names the first picture that stands in two classes, as :class:`~genmeta.core.errors.DataWarning`."""
    for j, i in contradictions(images, targets)[:1]:
        warnings.warn(
            f"The same picture is in the classes {str(classes[targets[j]])!r} and {str(classes[targets[i]])!r} "
            f"(images number {j} and {i}). The model cannot tell them apart: "
            "remove one.",
            DataWarning,
            stacklevel=3,
        )

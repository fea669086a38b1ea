"""Which file belongs to which class and which class to which split, from the names of folders alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from genmeta.core.errors import DataError
from genmeta.data.pixels import image_extensions
from genmeta.data.sources import Source

SPLITS = ("train", "val", "test")
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class ClassFolders(NamedTuple):
    """Class folders of a source.

    Attributes:
        root: the folder inside the source that holds them, ``""`` or ending in ``/``.
        files: class name -> its files, sorted; the class name is its folder's path below ``root``.
        outside: image files that lie in no class folder.
    """

    root: str
    files: Mapping[str, Sequence[str]]
    outside: tuple[str, ...]


def is_image(name: str) -> bool:
    """Whether the file's extension is that of an image format."""
    return PurePosixPath(name).suffix.lower() in image_extensions()


def common_root(names: Sequence[str]) -> str:
    """The folders that hold all others, which zips often begin with: ``""`` or ending in ``/``.

    A folder is passed over only if it holds folders of images, and is not itself ``train``, ``val`` or ``test``.
    """
    parts = [name.split("/") for name in names]
    root: list[str] = []
    while any(len(part) > 2 for part in parts):
        first = parts[0][0]
        if first in SPLIT_FOLDERS or any(part[0] != first for part in parts):
            break
        root.append(first)
        parts = [part[1:] for part in parts]
    return "".join(folder + "/" for folder in root)


def class_folders(source: Source, within: str = "") -> ClassFolders:
    """Finds the class folders: every folder that directly holds images is a class.

    Args:
        source: where to look.
        within: a folder of the source; only what is below it counts.

    Raises:
        DataError: there are no images, or all lie in the folder itself.
    """
    where = repr(str(source.path))
    images = [name for name in source.names if is_image(name)]
    if within.strip("/"):
        below = within.strip("/") + "/"
        inside = [name for name in images if f"/{name}".find(f"/{below}") >= 0]
        if not inside:
            raise DataError(f"{where} holds no images below a folder {within!r}. Check the option within.")
        images = inside
    if not images:
        found = f"{len(source.names)} files, none an image" if source.names else "no files"
        raise DataError(f"{where} holds {found}. Expected class folders: <class>/<image>.")
    root = common_root(images)
    files: dict[str, list[str]] = {}
    outside: list[str] = []
    for name in images:
        folder, _, _ = name.removeprefix(root).rpartition("/")
        if folder:
            files.setdefault(folder, []).append(name)
        else:
            outside.append(name)
    if not files:
        raise DataError(
            f"{where} holds {len(outside)} images, such as {outside[0]!r}, but no class folders. "
            "Put the images of each class into a folder of its own: <class>/<image>."
        )
    return ClassFolders(root, files, tuple(outside))


def split_of_folders(classes: Iterable[str]) -> dict[str, tuple[str, str]] | None:
    """``class folder -> (split, class name)`` where the top level is ``train/``, ``val/``, ``test/``; else None."""
    placed: dict[str, tuple[str, str]] = {}
    for name in classes:
        top, slash, rest = name.partition("/")
        if not slash or top not in SPLIT_FOLDERS:
            return None
        placed[name] = (SPLIT_FOLDERS[top], rest)
    return placed


def index_splits(class_names: Sequence[str], split_by_class: Mapping[str, str]) -> dict[str, np.ndarray]:
    """``split -> sorted indices`` into ``class_names``."""
    place = np.array([split_by_class[name] for name in class_names])
    return {split: np.flatnonzero(place == split) for split in SPLITS}


def random_splits(class_names: Sequence[str], val: float, test: float, seed: int) -> dict[str, np.ndarray]:
    """Splits classes at random into ``train`` and, rounded to whole classes, the fractions ``val`` and ``test``."""
    # an old, frozen generator: the same classes with every version of numpy
    order = np.random.RandomState(seed).permutation(len(class_names))
    n_val, n_test = round(val * len(order)), round(test * len(order))
    n_val = min(n_val, len(order) - n_test)
    return {
        "train": np.sort(order[n_val + n_test :]),
        "val": np.sort(order[:n_val]),
        "test": np.sort(order[n_val : n_val + n_test]),
    }

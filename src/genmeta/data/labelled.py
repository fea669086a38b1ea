"""A folder of class folders, read as it is: every image with its label, and what was left out with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from genmeta.core.errors import DataError
from genmeta.data.layout import class_folders, is_image
from genmeta.data.pixels import BadImageError, Pixels
from genmeta.data.progress import track
from genmeta.data.sources import open_source


class Labelled(NamedTuple):
    """Images with labels.

    Attributes:
        images: ``[N H W C]`` uint8.
        labels: ``[N]`` names of their class folders.
        files: ``[N]`` where they come from, relative to the folder.
        skipped: ``(file, reason)`` of what was left out.
        empty: class folders without an image that can be used.
    """

    images: np.ndarray
    labels: np.ndarray
    files: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    empty: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Images of each class."""
        names, counts = np.unique(self.labels, return_counts=True)
        return dict(zip(names.tolist(), counts.tolist(), strict=True))

    def namesakes(self) -> list[list[str]]:
        """Classes whose folders lie in different places and have one name, such as ``test/dog`` and ``train/dog``."""
        by_name: dict[str, list[str]] = {}
        for label in self.counts():
            by_name.setdefault(label.rpartition("/")[2], []).append(label)
        return [labels for labels in by_name.values() if len(labels) > 1]


def read_labelled(path: Path, pixels: Pixels) -> Labelled:
    """Reads class folders, or a zip of them, one image at a time; images that cannot be used are left out.

    Args:
        path: of a folder or zip that holds ``<class>/<image>``.
        pixels: how images become arrays.

    Raises:
        DataError: nothing there, no class folders, or not a single image that can be used.
    """
    source = open_source(path)
    folders = class_folders(source)
    items = [(label, name) for label, names in folders.files.items() for name in names]
    skipped = [(name, "lies in no class folder") for name in folders.outside]
    skipped += [(name, "is no image file") for name in source.names if not is_image(name)]
    images, labels, files = [], [], []
    for label, name in track(items, len(items), "Reading images"):
        try:
            images.append(pixels.decode(source.read(name)))
        except BadImageError as error:
            skipped.append((name, str(error)))
            continue
        labels.append(label)
        files.append(name)
    if not images:
        raise DataError(f"No image of {str(path)!r} can be used: {skipped[0][0]}: {skipped[0][1]}.")
    empty = sorted((set(folders.files) | _without_images(path, source.names)) - set(labels))
    return Labelled(np.stack(images), np.asarray(labels), tuple(files), tuple(skipped), tuple(empty))


def _without_images(path: Path, names: tuple[str, ...]) -> set[str]:
    """Folders right below ``path`` that hold no image at any depth."""
    if not path.is_dir():
        return set()
    below = {child.name for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")}
    return below - {name.partition("/")[0] for name in names if is_image(name)}

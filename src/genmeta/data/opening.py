"""`open_dataset` and `available`: the readers by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

from genmeta.core.errors import UsageError, unknown
from genmeta.data import benchmarks, coco, digits, folder, glyphs, masks, omniglot, scenes, voc
from genmeta.data.classes import ImageClasses
from genmeta.data.registry import DatasetInfo, Reader, SceneReader, settle
from genmeta.data.scene_source import SceneSource
from genmeta.data.spec import DataSpec

_ALL = (
    glyphs.READER, digits.READER, omniglot.READER, folder.READER, benchmarks.CIFAR_FS, benchmarks.MINI_IMAGENET,
)  # fmt: skip
READERS = {reader.info.name: reader for reader in _ALL}


_DENSE = (scenes.READER, masks.READER, coco.READER, voc.READER)
SCENE_READERS = {reader.info.name: reader for reader in _DENSE}
Found = TypeVar("Found", Reader, SceneReader)


def available() -> list[DatasetInfo]:
    """What every reader says of itself, in the order to show it."""
    return [*(reader.info for reader in READERS.values()), *(reader.info for reader in SCENE_READERS.values())]


def open_dataset(
    spec: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    download: bool = False,
    on_bad_image: str = "fail",
    cache_dir: Path | None = None,
) -> ImageClasses:
    """Opens a data set of images grouped by class.

    Args:
        spec: ``NAME[:PATH][?key=value&key=value]``, such as ``glyphs``, ``omniglot?split=vinyals`` or
            ``folder:photos?size=64&color=rgb``. What it says goes before the arguments below.
        size: side of the square images, in pixels; by default the reader's own.
        channels: 1 (gray) or 3 (rgb); by default the reader's own.
        download: fetch what is absent, where the data are published at a fixed address.
        on_bad_image: ``"fail"``, or ``"skip"`` to leave such images out and name them in ``skipped``.
        cache_dir: where decoded images are kept; by default ``$GENMETA_CACHE`` or ``~/.cache/genmeta/images``.

    Raises:
        UsageError: the spec or an argument is not valid.
        DataError: the data are absent, damaged or not in the expected layout.
        RunError: decoded images cannot be written to the cache.
    """
    images = "has images of several objects, not images by class: it is for segmentation and detection (--vision)"
    parsed, reader = _find(spec, READERS, SCENE_READERS, f"{images}. Data sets of images by class")
    request = settle(spec, parsed, reader.info, size=size, channels=channels, download=download,
                     on_bad_image=on_bad_image, cache_dir=cache_dir)  # fmt: skip
    return reader.open(request)


def open_scenes(
    spec: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    download: bool = False,
    on_bad_image: str = "fail",
    cache_dir: Path | None = None,
) -> SceneSource:
    """Opens a data set of images of several objects, for segmentation and detection; arguments as `open_dataset`.

    Raises:
        UsageError: the spec or an argument is not valid, or names a data set of images by class.
        DataError: the data are absent, damaged or not in the expected layout.
    """
    wanted = "segmentation and detection need images of several objects with masks or boxes"
    parsed, reader = _find(spec, SCENE_READERS, READERS, f"has images by class; {wanted}. Such data sets")
    request = settle(spec, parsed, reader.info, size=size, channels=channels, download=download,
                     on_bad_image=on_bad_image, cache_dir=cache_dir)  # fmt: skip
    return reader.open(request)


def _find(spec: str, readers: Mapping[str, Found], others: Collection[str], otherwise: str) -> tuple[DataSpec, Found]:
    """The parsed spec and its reader; of a spec for one of the others it is said what it is ``otherwise``."""
    parsed = DataSpec.parse(spec)
    if parsed.name in others:
        raise UsageError(f"{spec!r} {otherwise}: {', '.join(readers)}.")
    if parsed.name not in readers:
        raise unknown("data set", parsed.name, readers)
    return parsed, readers[parsed.name]

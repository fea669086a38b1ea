"""Pictures with transparency as objects for scenes: any folder of class folders of RGBA images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from genmeta.core.errors import UsageError
from genmeta.data.layout import class_folders, is_image, random_splits
from genmeta.data.loading import Item, load_groups
from genmeta.data.pixels import BadImageError, Pixels, decoded
from genmeta.data.registry import Request
from genmeta.data.scene_objects import CutOuts
from genmeta.data.sources import open_source


@dataclass(frozen=True)
class CutOutPixels:
    """Red, green, blue and opacity of a picture whose transparency cuts an object out.

    Attributes:
        size: side of the square result; the whole picture is fitted into it.
    """

    size: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(H, W, 4)``."""
        return self.size, self.size, 4

    def identity(self) -> dict[str, object]:
        """Everything the pixels depend on, for the key of the cache."""
        return {"cut outs": 1, "size": self.size}

    def decode(self, data: bytes) -> np.ndarray:
        """Decodes one file to ``[H W 4]`` uint8.

        Raises:
            BadImageError: it cannot be read, or nothing in it is transparent, or everything is.
        """
        return decoded(data, self.size, self._square)[0]

    def _square(self, image: Image.Image) -> np.ndarray:
        if not image.has_transparency_data:
            raise BadImageError("has no transparency, which is what cuts its object out")
        image = image.convert("RGBA")
        box = image.getchannel("A").point(lambda v: 255 if v > 127 else 0).getbbox()
        if box is None:
            raise BadImageError("is transparent everywhere")
        side = max(box[2] - box[0], box[3] - box[1])
        square = Image.new("RGBA", (side, side))
        cut = image.crop(box)
        square.paste(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
        return np.asarray(square.resize((self.size, self.size), Image.Resampling.BICUBIC), dtype=np.uint8)


def open_cut_outs(request: Request, path: Path, size: int) -> tuple[CutOuts, tuple[str, ...]]:
    """The objects of a folder or zip of class folders, and what was left out.

    Raises:
        DataError: no images, or a bad one with ``on_bad_image="fail"``.
    """
    source = open_source(path)
    groups: dict[str, list[Item]] = {}
    if request.choice("class", ("folder", "file"), "folder") == "file":
        for name in source.names:
            if is_image(name):
                groups.setdefault(PurePosixPath(name).stem, []).append(Item(source, name))
    else:
        folders: Mapping[str, Sequence[str]] = class_folders(source).files
        groups = {folder: [Item(source, name) for name in names] for folder, names in folders.items()}
    stored = load_groups(request, groups, CutOutPixels(size))
    val, test = request.fraction("val", 0.15), request.fraction("test", 0.25)
    if val + test > 1:
        raise UsageError(f"val={val:g} and test={test:g} in {request.text!r} are more than all classes. Lower them.")
    splits = random_splits(stored.class_names, val, test, request.integer("seed", 0, 0, 2**32 - 1))
    return CutOuts(stored.images, stored.offsets, stored.class_names, splits), stored.skipped


def open_backgrounds(request: Request, path: Path, size: int) -> np.ndarray:
    """``[N H W 3]`` uint8: every image of a folder or zip, at any depth, as a background.

    Raises:
        DataError: no images, or a bad one with ``on_bad_image="fail"``.
    """
    source = open_source(path)
    items = [Item(source, name) for name in source.names if is_image(name)]
    return load_groups(request, {"backgrounds": items}, Pixels(size, 3)).images

"""Real handwritten digits that come with scikit-learn: the target that nothing here is ever trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from genmeta.data.cache import Block, stored_images
from genmeta.data.classes import ImageClasses
from genmeta.data.registry import DatasetInfo, Reader, Request

INFO = DatasetInfo(
    name="digits",
    summary="1,797 real handwritten digits, 10 classes, all meta-test (scikit-learn's 8x8 digits, enlarged)",
    how_to_get="Comes with scikit-learn; nothing to download.",
    path="none",
    size=28,
    channels=1,
)
# Strokes touch the border of the 8x8 images; the drawing takes 20 of 28 pixels, as in other sets of characters.
_FILL = 20 / 28
_VERSION = 1


def open_digits(request: Request) -> ImageClasses:
    """Opens scikit-learn's digits: 174 to 183 images of each class, bright on black, every class in ``test``."""
    shape = (request.size, request.size, request.channels)
    stored = stored_images({"digits": _VERSION}, shape, lambda: _blocks(shape), request.cache_dir)
    nobody = np.empty(0, np.int64)
    return ImageClasses(
        name=request.text,
        images=stored.images,
        offsets=stored.offsets,
        class_names=stored.class_names,
        splits={"train": nobody, "val": nobody, "test": np.arange(10)},
        remark="They are for scoring alone: train on 'glyphs', or on images of your own.",
    )


def _blocks(shape: tuple[int, int, int]) -> Iterator[Block]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    size, inner = shape[0], max(1, round(shape[0] * _FILL))
    start = (size - inner) // 2
    for digit in range(10):
        drawings = bunch.images[bunch.target == digit]  # [n 8 8], 0 to 16
        images = np.zeros((len(drawings), *shape), np.uint8)
        for image, drawing in zip(images, drawings, strict=True):
            grey = Image.fromarray(np.rint(drawing * (255 / 16)).astype(np.uint8))
            smooth = np.asarray(grey.resize((inner, inner), Image.Resampling.BICUBIC))
            image[start : start + inner, start : start + inner] = smooth[:, :, None]
        yield Block(str(digit), images)


READER = Reader(INFO, open_digits)

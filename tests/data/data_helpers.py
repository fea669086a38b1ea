"""Small images and trees of files."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from genmeta.data import ImageClasses


def png(value: int | tuple[int, ...] = 100, size: tuple[int, int] = (12, 12), mode: str = "RGB") -> bytes:
    """A PNG of one colour."""
    if mode == "RGB" and isinstance(value, int):
        value = (value, value, value)
    return encoded(Image.new(mode, size, value))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(seed: int, size: tuple[int, int] = (12, 12)) -> bytes:
    """A PNG of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels))


Tree = Mapping[str, bytes]


def classes_tree(n_classes: int, n_images: int = 2, prefix: str = "") -> dict[str, bytes]:
    """``class00/0.png`` ... with random pixels."""
    return {f"{prefix}class{k:02}/{i}.png": noise(100 * k + i) for k in range(n_classes) for i in range(n_images)}


def check_form(data: ImageClasses) -> None:
    """What every reader promises."""
    assert data.images.dtype == np.uint8
    assert not data.images.flags.writeable
    assert data.offsets[0] == 0
    assert data.offsets[-1] == len(data.images)
    assert (data.counts() > 0).all()
    assert len(set(data.class_names)) == len(data.class_names) == len(data.offsets) - 1
    assert set(data.splits) == {"train", "val", "test"}
    everyone = np.concatenate([data.splits[split] for split in ("train", "val", "test")])
    assert sorted(everyone) == list(range(len(data.class_names)))
    for indices in data.splits.values():
        assert (np.diff(indices) > 0).all()

"""Images as people have them: every form gives the same pixels, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_helpers import encoded
from PIL import Image

from genmeta.core.errors import DataError, UsageError
from genmeta.data.ingest import read_image, read_images
from genmeta.data.pixels import BadImageError, Pixels

RGB, GRAY = Pixels(8, 3), Pixels(8, 1)
COLOURS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        COLOURS,
        COLOURS.astype(np.int64),
        COLOURS / 255,
        (COLOURS / 255).astype(np.float32),
        COLOURS.astype(np.uint16) * 257,
        COLOURS.transpose(2, 0, 1),
        torch.from_numpy(COLOURS).permute(2, 0, 1),
        torch.from_numpy(COLOURS),
        torch.from_numpy(COLOURS).permute(2, 0, 1) / 255,
        np.dstack([COLOURS, np.full((8, 8), 255, np.uint8)]),
        Image.fromarray(COLOURS),
        Image.fromarray(COLOURS).convert("RGBA"),
    ],
    ids=lambda image: f"{type(image).__name__}-{getattr(image, 'dtype', '')}",
)
def test_forms_of_one_image(image: Any) -> None:
    np.testing.assert_array_equal(read_image(image, RGB), COLOURS)


def test_grey_images() -> None:
    grey = COLOURS[..., :1]
    forms = [grey, grey[..., 0], grey.transpose(2, 0, 1), torch.from_numpy(grey[..., 0]), Image.fromarray(grey[..., 0])]
    for image in forms:
        np.testing.assert_array_equal(read_image(image, GRAY), grey)
    bits = grey[..., 0] > 127
    np.testing.assert_array_equal(read_image(bits, GRAY)[..., 0], bits * 255)
    np.testing.assert_array_equal(read_images([grey, grey], GRAY), np.stack([grey, grey]))
    np.testing.assert_array_equal(read_images(np.stack([grey[..., 0]] * 2), GRAY), np.stack([grey, grey]))


def test_strokes_become_bright() -> None:
    page = np.full((8, 8), 250, np.uint8)
    page[3:5, 2:6] = 10
    strokes = Pixels(8, 1, invert="auto")
    np.testing.assert_array_equal(read_image(page, strokes), 255 - page[..., None])
    np.testing.assert_array_equal(read_image(255 - page, strokes), 255 - page[..., None])


@pytest.mark.parametrize(
    "image, why",
    [
        (np.full((8, 8), np.nan), "not finite"),
        (np.full((8, 8), 3.0), r"from 3 to 3; expected floats in \[0, 1\]"),
        (np.full((8, 8), 300), "from 300 to 300; expected integers in 0..255"),
        (np.full((8, 8), -1), "expected integers"),
        (np.zeros((0, 8)), "holds no pixels"),
        (np.zeros((8, 8, 7)), r"shape \(8, 8, 7\)"),
        (np.zeros(8), r"shape \(8,\)"),
        (np.zeros((8, 8), complex), "complex128 values"),
        (7, "is a int; expected a path"),
        (None, "is a NoneType"),
    ],
)
def test_what_is_no_image(image: Any, why: str) -> None:
    with pytest.raises(BadImageError, match=why):
        read_image(image, RGB)
    with pytest.raises(DataError, match=f"Image number 1 cannot be used: .*{why}"):
        read_images([COLOURS, image], RGB)


def test_files_are_named(tmp_path: Path) -> None:
    for name, data, why in (
        ("empty.png", b"", "the file is empty"),
        ("text.jpg", b"words", "not an image that Pillow can read"),
        ("cut.png", encoded(Image.fromarray(COLOURS))[:60], ""),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=rf"'.*{name}' cannot be used: .*{why}"):
            read_images([tmp_path / name], RGB)
    with pytest.raises(DataError, match=r"absent\.png' cannot be used: No such file"):
        read_images([tmp_path / "absent.png"], RGB)
    with pytest.raises(DataError, match="Is a directory"):
        read_images([str(tmp_path)], RGB)
    with pytest.raises(DataError, match="cannot be used: embedded null"):
        read_images(["a\0b"], RGB)


def test_what_is_no_batch() -> None:
    with pytest.raises(UsageError, match="Put it into a list"):
        read_images("photo.jpg", RGB)
    with pytest.raises(UsageError, match="Reshape flat rows"):
        read_images(np.zeros((5, 64)), RGB)
    with pytest.raises(UsageError, match="got int"):
        read_images(3, RGB)


def test_huge_pictures_are_refused_or_decoded_small(tmp_path: Path) -> None:
    side = 10_000
    Image.new("1", (side, side)).save(tmp_path / "huge.png")
    with pytest.raises(DataError, match=r"huge\.png.*10000x10000 pixels.*scale it down"):
        read_images([tmp_path / "huge.png"], RGB)
    Image.new("L", (side, side), 77).save(tmp_path / "huge.jpg", quality=20)
    assert np.abs(read_images([tmp_path / "huge.jpg"], RGB).astype(int) - 77).max() <= 2

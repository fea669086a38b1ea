"""From files to pixels: modes, orientation, transparency, size, and files that are no good."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_helpers import classes_tree, encoded, png
from PIL import Image

from genmeta.core.errors import DataError
from genmeta.data import open_dataset
from genmeta.data.pixels import BadImageError, Pixels, image_extensions
from genmeta.data.sources import FolderSource

Make = Callable[..., Path]
RGB, GRAY = Pixels(8, 3), Pixels(8, 1)


def test_colours_and_luminance() -> None:
    red = png((255, 0, 0))
    np.testing.assert_array_equal(RGB.decode(red), np.broadcast_to([255, 0, 0], (8, 8, 3)))
    assert np.unique(GRAY.decode(red)).tolist() == [76]  # 0.299 of 255
    assert np.unique(Pixels(8, 1, invert=True).decode(red)).tolist() == [179]
    assert RGB.decode(png(50, mode="L")).shape == (8, 8, 3)
    assert np.unique(RGB.decode(png(50, mode="L"))).tolist() == [50]


def test_transparency_shows_the_background() -> None:
    clear, half = png((255, 0, 0, 0), mode="RGBA"), png((0, 0, 0, 128), mode="RGBA")
    black = Pixels(8, 3, background="black")
    assert np.unique(RGB.decode(clear)).tolist() == [255]
    assert np.unique(black.decode(clear)).tolist() == [0]
    assert np.unique(RGB.decode(half)).tolist() == [127]
    grey_clear = png((9, 0), mode="LA")
    assert np.unique(RGB.decode(grey_clear)).tolist() == [255]
    palette = Image.new("P", (12, 12), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert RGB.decode(encoded(palette))[0, 0].tolist() == [10, 20, 30]
    assert RGB.decode(encoded(palette, transparency=1))[0, 0].tolist() == [255, 255, 255]


def test_deep_and_other_modes() -> None:
    deep = Image.fromarray(np.full((12, 12), 65535 // 2, np.uint16))
    assert np.unique(GRAY.decode(encoded(deep))).tolist() == [127]
    real = Image.fromarray(np.full((12, 12), 0.5, np.float32))
    assert np.unique(GRAY.decode(encoded(real, "TIFF"))).tolist() == [128]
    bits = Image.new("1", (12, 12), 1)
    assert np.unique(GRAY.decode(encoded(bits))).tolist() == [255]
    ink = Image.new("CMYK", (12, 12), (0, 255, 255, 0))
    assert RGB.decode(encoded(ink, "TIFF"))[4, 4].tolist() == [255, 0, 0]
    frames = [Image.new("RGB", (12, 12), colour) for colour in ("blue", "lime")]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert RGB.decode(moving)[0, 0].tolist() == [0, 0, 255]
    broken = Image.fromarray(np.full((12, 12), np.nan, np.float32))
    with pytest.raises(BadImageError, match="not finite"):
        GRAY.decode(encoded(broken, "TIFF"))


def test_orientation_is_honoured() -> None:
    picture = Image.new("L", (16, 16))
    picture.paste(255, (0, 0, 16, 8))  # the upper half is bright
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise: the bright half comes to the right
    turned = GRAY.decode(encoded(picture, "PNG", exif=exif))[..., 0]
    assert turned[:, 5:].min() > 200
    assert turned[:, :3].max() < 50


def test_centre_of_the_shorter_side() -> None:
    wide = Image.new("L", (64, 16))
    wide.paste(255, (24, 0, 40, 16))  # exactly the centre
    assert GRAY.decode(encoded(wide)).min() > 200
    tall = wide.transpose(Image.Transpose.ROTATE_90)
    assert GRAY.decode(encoded(tall)).min() > 200


def test_resizing_averages() -> None:
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    assert np.abs(GRAY.decode(encoded(Image.fromarray(checks.astype(np.uint8)))).astype(int) - 127).max() <= 2
    large = Image.new("RGB", (2000, 1000), (10, 200, 30))
    assert np.abs(RGB.decode(encoded(large, "JPEG")).astype(int) - [10, 200, 30]).max() <= 3
    assert Pixels(64, 3).decode(png(9, (3, 5))).shape == (64, 64, 3)
    assert GRAY.decode(png(9, (4000, 1))).shape == (8, 8, 1)


def test_which_files_are_images() -> None:
    assert {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"} <= image_extensions()
    assert not {".eps", ".pdf", ".txt", ".zip", ".mpg"} & image_extensions()


def bad_files() -> dict[str, tuple[bytes, str]]:
    whole = encoded(Image.effect_noise((64, 64), 50), "JPEG")
    return {
        "cut.jpg": (whole[: len(whole) // 2], "truncated"),
        "empty.png": (b"", "the file is empty"),
        "text.jpg": (b"this is a text", "not an image that Pillow can read"),
        "cut.png": (png()[:40], ""),
        "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
    }


@pytest.mark.parametrize("name", list(bad_files()))
def test_bad_images_fail_or_are_skipped(make_folder: Make, name: str) -> None:
    data, reason = bad_files()[name]
    root = make_folder({**classes_tree(2), f"class00/{name}": data})
    with pytest.raises(DataError, match="--on-bad-image skip") as caught:
        open_dataset(f"folder:{root}", size=8)
    assert f"'class00/{name}'" in str(caught.value)
    assert reason in str(caught.value)
    kept = open_dataset(f"folder:{root}", size=8, on_bad_image="skip")
    assert list(kept.counts()) == [2, 2]
    assert len(kept.skipped) == 1
    assert kept.skipped[0].startswith(f"class00/{name}: ")
    assert reason in kept.skipped[0]
    # what was skipped and cached is still an error for one who does not skip
    with pytest.raises(DataError, match="--on-bad-image skip"):
        open_dataset(f"folder:{root}", size=8)


def test_decompression_bomb(make_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({**classes_tree(1), "class00/bomb.png": png(0, (300, 300))})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    with pytest.raises(DataError, match=r"bomb\.png.*a decompression bomb"):
        open_dataset(f"folder:{root}", size=8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # more than twice the limit: Pillow's error, not its warning
    with pytest.raises(DataError, match=r"bomb\.png.*a decompression bomb"):
        open_dataset(f"folder:{root}", size=8)


def test_a_class_without_good_images_is_left_out(make_folder: Make) -> None:
    root = make_folder({**classes_tree(2), "broken/0.png": b"", "broken/1.png": b"x"})
    data = open_dataset(f"folder:{root}", size=8, on_bad_image="skip")
    assert data.class_names == ("class00", "class01")
    assert data.skipped[-1] == "broken: the class is left out, for none of its 2 images can be read"
    assert len(data.skipped) == 3
    nothing = make_folder({"broken/0.png": b""}, "nothing")
    with pytest.raises(DataError, match=r"No image could be read: broken/0\.png: the file is empty"):
        open_dataset(f"folder:{nothing}", size=8, on_bad_image="skip")


@pytest.mark.parametrize("seed", range(30))
def test_damaged_bytes_never_raise_anything_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")[seed % 6]
    data = bytearray(encoded(Image.effect_noise((32, 32), 60).convert("RGB"), kind))
    for position in rng.integers(0, len(data), 12):
        data[position] = rng.integers(256)
    try:
        assert RGB.decode(bytes(data)).shape == (8, 8, 3)
    except BadImageError as error:
        assert str(error)  # noqa: PT017 - either outcome is right


def test_helper_writes_what_it_says() -> None:
    with Image.open(io.BytesIO(png(7, (5, 4)))) as image:
        assert image.size == (5, 4)
        assert image.getpixel((0, 0)) == (7, 7, 7)


def test_wrong_extensions_and_animations_are_read(make_folder: Make) -> None:
    frames = [Image.new("L", (12, 12), value) for value in (40, 200)]
    animated = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    jpeg = encoded(Image.new("RGB", (12, 12), (200, 200, 200)), "JPEG")
    place = make_folder({"a/moving.gif": animated, "a/jpeg.png": jpeg, "b/1.png": png(10)})
    images = open_dataset(f"folder:{place}?color=gray", size=12).images
    assert np.abs(images[:, 0, 0, 0].astype(int) - [200, 40, 10]).max() <= 3  # by name; of the animation, the first


def test_files_that_cannot_be_read_on_the_way(make_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    place = make_folder({"a/0.png": png(1), "a/1.png": png(2), "b/0.png": png(3)})
    (place / "b" / "gone.png").symlink_to(place / "nowhere.png")
    read = FolderSource.read

    def failing(self: FolderSource, name: str) -> bytes:
        if name == "a/1.png":
            raise BadImageError("Input/output error")  # what a dying disk says
        return read(self, name)

    monkeypatch.setattr(FolderSource, "read", failing)
    with pytest.raises(DataError, match=r"Image 'a/1\.png' of .* cannot be used: Input/output error\."):
        open_dataset(f"folder:{place}", size=12)
    kept = open_dataset(f"folder:{place}", size=12, on_bad_image="skip")
    assert kept.skipped == ("a/1.png: Input/output error", "b/gone.png: No such file or directory")
    assert kept.counts().tolist() == [1, 1]

"""Glyphs and digits: what comes with every installation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_helpers import check_form

from genmeta.data import ImageClasses, open_dataset
from genmeta.data.glyph_faces import Faces, centred, ink, similarity
from genmeta.data.glyphs import ALIKE, SCRIPT_SPLITS, class_name, script_of, without_lookalikes


def test_form_and_numbers(glyphs: ImageClasses) -> None:
    check_form(glyphs)
    assert glyphs.image_shape == (1, 28, 28)
    assert glyphs.counts().min() >= 12
    # measured 613, 39 and 100 with matplotlib 3.11; other versions may have other fonts
    assert len(glyphs.splits["train"]) > 500
    assert len(glyphs.splits["val"]) >= 30
    assert len(glyphs.splits["test"]) >= 80
    assert glyphs.quarter_turns == frozenset()
    assert glyphs.skipped == ()


def test_scripts_stay_in_one_split(glyphs: ImageClasses) -> None:
    scripts = {
        split: {glyphs.class_names[index].split("/")[0] for index in indices}
        for split, indices in glyphs.splits.items()
    }
    assert scripts == {
        split: {script for script, its in SCRIPT_SPLITS.items() if its == split} for split in glyphs.splits
    }


def test_lookalikes_are_gone(glyphs: ImageClasses) -> None:
    names = set(glyphs.class_names)
    assert "Latin/small letter a" in names
    assert "Latin/capital letter c" in names
    for twin in ("Cyrillic/small letter a", "Greek/small letter omicron", "Cyrillic/capital letter es",
                 "Armenian/capital letter oh", "Latin/small letter c", "Latin/small letter o"):  # fmt: skip
        assert twin not in names
    assert not any("digit" in name.split() for name in names)


def test_no_two_classes_of_different_splits_look_alike(glyphs: ImageClasses) -> None:
    """The criterion applied anew, to fresh drawings of the classes that were kept."""
    faces = Faces.of_matplotlib()
    by_name = {class_name(character): character for character in faces.holders}
    used = [4, 12]  # an oblique sans face and the upright serif face
    fonts = faces.fonts(96)
    names = glyphs.class_names
    drawings = np.zeros((len(used), len(names), 24, 24), np.uint8)
    for row, face in enumerate(used):
        for column, name in enumerate(names):
            drawing = ink(fonts[face], by_name[name])
            if drawing is not None and face in faces.holders[by_name[name]]:
                drawings[row, column] = centred(drawing, 24, 20)
    shared = similarity(drawings, drawings.any((2, 3)))
    train, test = glyphs.splits["train"], glyphs.splits["test"]
    # the mean over two faces scatters around that over all
    assert shared[np.ix_(train, test)].max() < ALIKE + 0.1
    assert np.quantile(shared[np.ix_(train, test)].max(0), 0.9) < ALIKE
    assert shared[test, test] == pytest.approx(1, abs=1e-5)


def test_no_image_twice_in_a_class(glyphs: ImageClasses) -> None:
    for k in range(0, len(glyphs.class_names), 7):
        images = glyphs.images[glyphs.offsets[k] : glyphs.offsets[k + 1]]
        assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_bright_on_black_centred_and_of_various_sizes(glyphs: ImageClasses) -> None:
    images = glyphs.images[..., 0]
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], 1)
    assert border.mean() < 1
    ink_rows, ink_columns = images.max(2) > 64, images.max(1) > 64
    heights, widths = ink_rows.sum(1), ink_columns.sum(1)
    longer = np.maximum(heights, widths)
    assert longer.min() >= 8
    assert longer.max() <= 26
    assert longer.std() > 0.5
    middle = (ink_rows.argmax(1) + 27 - ink_rows[:, ::-1].argmax(1)) / 2
    assert np.abs(middle - 13.5).max() <= 1


def test_cached_is_the_same_and_quick_options_work(glyphs: ImageClasses, glyph_cache: Path) -> None:
    again = open_dataset("glyphs?turns=yes", cache_dir=glyph_cache)
    assert again.quarter_turns == {"train"}
    assert len(list(glyph_cache.glob("*.npy"))) == 1
    np.testing.assert_array_equal(again.images, glyphs.images)


def test_drawing_is_deterministic_and_channels_repeat() -> None:
    faces = Faces.of_matplotlib()
    once, twice = (centred(ink(faces.fonts(96)[3], "g"), 28, 20) for _ in range(2))  # type: ignore[arg-type]
    assert once.max() > 200
    np.testing.assert_array_equal(once, twice)


def test_script_names() -> None:
    assert script_of("a") == "Latin"
    assert script_of("ᵸ") == "Cyrillic"  # modifier letter Cyrillic en
    assert script_of("→") == "Symbols"
    assert class_name("→") == "Symbols/rightwards arrow"
    assert class_name("ա") == "Armenian/small letter ayb"


def test_similarity_of_known_drawings() -> None:
    left, right = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    left[:, :2], right[:, 1:3] = 200, 200
    shared = similarity(np.stack([left, right, left * 0])[None], np.array([[True, True, False]]))
    np.testing.assert_allclose(shared, [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]], atol=1e-6)


def test_a_dropped_twin_still_guards_its_split() -> None:
    """Cyrillic es looks like c, which is left out for C: es must go too, though it looks little like C."""
    shared = np.array([[1, 0.7, 0.7], [0.7, 1, 0.99], [0.7, 0.99, 1]], np.float32)
    assert without_lookalikes(["C", "c", "с"], shared) == [0]
    assert without_lookalikes(["C", "D", "с"], np.where(shared == 1, 1, 0.7)) == [0, 1, 2]


def test_digits(tmp_path: Path) -> None:
    data = open_dataset("digits", size=32, channels=3, cache_dir=tmp_path)
    check_form(data)
    assert data.class_names == tuple("0123456789")
    assert data.counts().sum() == 1797
    assert data.image_shape == (3, 32, 32)
    assert list(data.splits["test"]) == list(range(10))
    np.testing.assert_array_equal(data.images[..., 0], data.images[..., 2])
    # bright in the middle, black around: strokes on black
    assert data.images[:, 8:24, 8:24].mean() > 60
    assert data.images[:, :2].max() == 0
    # a nought has a hole and a one has not
    first = [data.images[data.offsets[k] : data.offsets[k + 1], 15:17, 15:17].mean() for k in (0, 1)]
    assert first[0] < 40 < 150 < first[1]

"""FewShotDetector: what goes in, what comes out, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genmeta.core.errors import CheckpointError, DataError, UsageError
from genmeta.core.randomness import seeded
from genmeta.engine.checkpoint import learner_header, save_model
from genmeta.estimators import FewShotDetector, FewShotSegmenter
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import build_method
from genmeta.vision import Classification, Detection, VisualTask


def checkpoint(path: Path, vision: VisualTask, **settings: Any) -> Path:
    config = LearnerConfig(vision.learner, channels=3, size=32, width=16, extra=vision.extra_channels, **settings)
    learner = build_learner(config, seeded(0))
    it = build_method("protonet", learner, vision=vision)
    header = {"method": "protonet", "options": {}, "learner": learner_header(config), "vision": vision.name}
    save_model(path, it, header)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("detector") / "model.safetensors", Detection())


def scene(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A bright square on noise, at (8, 8, 24, 24)."""
    pixels = np.random.default_rng(seed).integers(0, 60, (size[1], size[0], 3), dtype=np.uint8)
    pixels[8:24, 8:24] = 220
    return Image.fromarray(pixels)


BOX = [8, 8, 24, 24]


def test_finds_boxes_in_the_pixels_of_each_image(model: Path) -> None:
    images = [scene(0), scene(1), scene(2)]
    detector = FewShotDetector(model, threshold=0.0).fit(images, [[BOX], [], [BOX]], [["square"], [], ["square"]])
    assert detector.classes_.tolist() == ["square"]
    assert detector.n_support_.tolist() == [2]
    small, large = detector.predict([scene(0), np.asarray(scene(0).resize((128, 96), Image.Resampling.NEAREST))])
    for found, (width, height) in ((small, (64, 48)), (large, (128, 96))):
        assert set(found.labels) == {"square"}
        assert found.boxes.shape == (len(found.scores), 4)
        assert found.boxes.min() >= 0
        assert found.boxes[:, 0::2].max() <= width
        assert found.boxes[:, 1::2].max() <= height
        assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_allclose(large.boxes[0], 2 * small.boxes[0], atol=2)
    alone = detector.predict([scene(1)])[0]
    np.testing.assert_allclose(detector.predict([scene(0), scene(1)])[1].scores, alone.scores, atol=1e-5)


def test_the_threshold_drops_what_is_unsure(model: Path) -> None:
    detector = FewShotDetector(model, threshold=1.0).fit([scene(0)], [[BOX]], [["square"]])
    assert len(detector.predict([scene(0)])[0].boxes) == 0


@pytest.mark.parametrize(
    "boxes, labels, error, said",
    [
        ([[BOX]], [["a"], ["b"]], UsageError, "each of the 2 images, got 1 and 2"),
        ([[BOX], [BOX]], [["a"], []], UsageError, "Image number 1 has 1 boxes and 0 labels"),
        ([[BOX], [[1, 2, np.nan, 4]]], [["a"], ["a"]], UsageError, "four finite numbers"),
        ([[BOX], [[70, 2, 90, 30]]], [["a"], ["a"]], DataError, r"image number 1 has no area inside .* 64 x 48"),
        ([[], []], [[], []], DataError, "no box in any image"),
    ],
)
def test_bad_boxes(model: Path, boxes: Any, labels: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        FewShotDetector(model).fit([scene(0), scene(1)], boxes, labels)


def test_bad_settings_and_order(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="steps must be 0 or more, a whole number, got -1"):
        FewShotDetector(model, steps=-1).fit([scene(0)], [[BOX]], [["a"]])
    with pytest.raises(UsageError, match="threshold is a score between 0 and 1, got 2"):
        FewShotDetector(model, threshold=2).fit([scene(0)], [[BOX]], [["a"]])
    with pytest.raises(UsageError, match=r"seen no images. Call fit\(images, boxes, labels\)"):
        FewShotDetector(model).predict([scene(0)])
    other = checkpoint(tmp_path / "other.safetensors", Classification())
    with pytest.raises(UsageError, match="is a checkpoint of classification"):
        FewShotDetector(other).fit([scene(0)], [[BOX]], [["a"]])


def test_saved_and_loaded_it_finds_the_same(model: Path, tmp_path: Path) -> None:
    detector = FewShotDetector(model, threshold=0.0).fit([scene(0), scene(1)], [[BOX], [BOX]], [["one"], ["two"]])
    detector.save(tmp_path / "mine.safetensors")
    again = FewShotDetector.load(tmp_path / "mine.safetensors")
    assert again.classes_.tolist() == ["one", "two"]
    assert again.n_support_.tolist() == [1, 1]
    before, after = detector.predict([scene(7)])[0], again.predict([scene(7)])[0]
    assert len(after.boxes)
    for mine, theirs in zip(before, after, strict=True):
        assert np.array_equal(mine, theirs)
    with pytest.raises(CheckpointError, match=r"is a model of FewShotDetector, not of FewShotSegmenter"):
        FewShotSegmenter.load(tmp_path / "mine.safetensors")


def test_fine_tuning_moves_the_whole_network_and_survives_saving(model: Path, tmp_path: Path) -> None:
    images, boxes, labels = [scene(0), scene(1)], [[BOX], [BOX]], [["square"], ["square"]]
    plain = FewShotDetector(model, threshold=0.0, steps=0).fit(images, boxes, labels)
    tuned = FewShotDetector(model, threshold=0.0, fine_tune="all", steps=20).fit(images, boxes, labels)
    best = [detector.predict([scene(5)])[0].scores[0] for detector in (plain, tuned)]
    assert best[1] > best[0]
    tuned.save(tmp_path / "tuned.safetensors")
    again = FewShotDetector.load(tmp_path / "tuned.safetensors")
    assert again.fine_tune == "all"
    np.testing.assert_array_equal(again.predict([scene(5)])[0].scores, tuned.predict([scene(5)])[0].scores)
    with pytest.raises(UsageError, match="Unknown space to generate 'everything'"):
        FewShotDetector(model, fine_tune="everything").fit(images, boxes, labels)

"""FewShotSegmenter: what goes in, what comes out, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genmeta.core.errors import CheckpointError, DataError, UsageError
from genmeta.core.randomness import seeded
from genmeta.engine.checkpoint import learner_header, save_model
from genmeta.estimators import FewShotClassifier, FewShotSegmenter
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import build_method
from genmeta.vision import VISUAL_TASKS


def checkpoint(path: Path, vision: str = "segmentation") -> Path:
    task = VISUAL_TASKS[vision]()
    config = LearnerConfig(task.learner, channels=3, size=32, width=16)
    it = build_method("anil", build_learner(config, seeded(0)), vision=task, options={"inner_steps": 30})
    header = {
        "method": "anil",
        "options": {"inner_steps": 30},
        "learner": learner_header(config),
        "vision": vision,
    }
    save_model(path, it, header)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("segmenter") / "model.safetensors")


def scene(seed: int, width: int = 48, height: int = 40) -> tuple[Image.Image, np.ndarray]:
    """A red square, number 7, on dark noise, number 2."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 60, (height, width, 3), dtype=np.uint8)
    mask = np.full((height, width), 2)
    y, x = random.integers(0, height - 16), random.integers(0, width - 16)
    pixels[y : y + 16, x : x + 16] = (230, 40, 40)
    mask[y : y + 16, x : x + 16] = 7
    return Image.fromarray(pixels), mask


def test_learns_class_numbers_of_any_kind_and_answers_at_each_images_size(model: Path) -> None:
    images, masks = zip(*[scene(seed) for seed in range(3)], strict=True)
    segmenter = FewShotSegmenter(model).fit(images, masks)
    assert segmenter.classes_.tolist() == [2, 7]
    assert segmenter.n_support_.sum() == 3 * 32 * 32
    image, truth = scene(9, width=60, height=50)
    (answer,) = segmenter.predict([image])
    assert answer.shape == truth.shape
    assert set(np.unique(answer)) <= {2, 7}
    assert (answer == truth).mean() > 0.9
    (chances,) = segmenter.predict_proba([image])
    np.testing.assert_allclose(chances.sum(-1), 1, atol=1e-5)
    both = segmenter.predict_proba([scene(8)[0], image])
    np.testing.assert_allclose(both[1], chances, atol=1e-5)


def test_scribbles_will_do(model: Path) -> None:
    images, masks = zip(*[scene(seed) for seed in range(3)], strict=True)
    scribbles = []
    for seed, mask in enumerate(masks):
        kept = np.random.default_rng(seed).random(mask.shape) < 0.1
        scribbles.append(np.where(kept, mask, -1))
    segmenter = FewShotSegmenter(model).fit(images, scribbles)
    image, truth = scene(9)
    assert (segmenter.predict([image])[0] == truth).mean() > 0.85


def test_other_sizes_and_steps(model: Path) -> None:
    images, masks = zip(*[scene(seed) for seed in range(2)], strict=True)
    larger = FewShotSegmenter(model, size=48, steps=0).fit(images, masks)
    assert larger.n_support_.sum() == 2 * 48 * 48
    assert larger.predict([images[0]])[0].shape == masks[0].shape


def test_what_cannot_be_used_is_refused(model: Path, tmp_path: Path) -> None:
    image, mask = scene(0)
    segmenter = FewShotSegmenter(model)
    with pytest.raises(UsageError, match=r"This FewShotSegmenter has seen no images\. Call fit\(images, masks\) first"):
        segmenter.predict([image])
    with pytest.raises(UsageError, match=r"Expected a mask for each of the 1 images, got 2\."):
        segmenter.fit([image], [mask, mask])
    with pytest.raises(DataError, match=r"mask of image number 0 has shape \[40, 47\], but the image is 48 x 40"):
        segmenter.fit([image], [mask[:, :-1]])
    with pytest.raises(DataError, match=r"mask of image number 0 holds float64; expected whole class numbers"):
        segmenter.fit([image], [mask / 2])
    with pytest.raises(DataError, match=r"mask of image number 0 holds -5; class numbers are 0 or more, and -1 means"):
        segmenter.fit([image], [mask - 7])
    with pytest.raises(DataError, match=r"The masks hold 1 classes \(3\), but 2 or more are needed"):
        segmenter.fit([image], [np.full_like(mask, 3)])
    with pytest.raises(DataError, match=r"The masks hold 0 classes \(no label at all\)"):
        segmenter.fit([image], [np.full_like(mask, -1)])
    with pytest.raises(UsageError, match=r"steps must be 0 or more, a whole number, got -1"):
        FewShotSegmenter(model, steps=-1).fit([image], [mask])
    other = checkpoint(tmp_path / "model.safetensors", "classification")
    with pytest.raises(UsageError, match=r"is a checkpoint of classification\. Use one .* --vision segmentation"):
        FewShotSegmenter(other).fit([image], [mask])


def test_saved_and_loaded_it_says_the_same(model: Path, tmp_path: Path) -> None:
    images, masks = zip(*[scene(seed) for seed in range(2)], strict=True)
    segmenter = FewShotSegmenter(model, steps=3).fit(images, masks)
    segmenter.save(tmp_path / "mine.safetensors")
    again = FewShotSegmenter.load(tmp_path / "mine.safetensors")
    assert again.get_params() == {**segmenter.get_params(), "model": "model.safetensors"}
    assert (again.n_support_ == segmenter.n_support_).all()
    new, _ = scene(5, 50, 70)
    assert np.array_equal(again.predict_proba([new])[0], segmenter.predict_proba([new])[0])
    with pytest.raises(CheckpointError, match="is a model of FewShotSegmenter, not of FewShotClassifier"):
        FewShotClassifier.load(tmp_path / "mine.safetensors")
    with pytest.raises(CheckpointError, match="was fitted to no classes"):
        FewShotSegmenter.load(model)
    with pytest.raises(UsageError, match="This FewShotSegmenter has seen no images"):
        FewShotSegmenter(model).save(tmp_path / "nothing.safetensors")


def test_a_classifier_refuses_checkpoints_of_other_visual_tasks(tmp_path: Path) -> None:
    images = np.zeros((4, 32, 32, 3), np.uint8)
    with pytest.raises(UsageError, match="is a checkpoint of segmentation, not of classification of images"):
        FewShotClassifier(checkpoint(tmp_path / "model.safetensors")).fit(images, [0, 0, 1, 1])

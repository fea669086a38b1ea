"""The random forest on pixel features: learns from scribbles, scores as the library does."""

from __future__ import annotations

import numpy as np
import torch

from genmeta.core.randomness import seeded
from genmeta.core.types import IGNORE, Examples, Task
from genmeta.data.scene_source import Scenes, SceneSource
from genmeta.engine.evaluation import episodes
from genmeta.scenarios.pixel_forest import SIGMAS, evaluate_forest, forest_answers, pixel_features
from genmeta.tasks import SegmentationTasks


class Squares(SceneSource):
    """Bright and dark squares on noise."""

    def __init__(self) -> None:
        self.name, self.image_shape, self.class_names = "squares", (1, 24, 24), ("bright", "dark")
        self.splits = {split: np.arange(2) for split in ("train", "val", "test")}
        self.annotates, self.fingerprint = frozenset(("masks",)), "squares"

    def fewest_images(self, split: str) -> int:
        return 1000

    def draw(self, split: str, classes: np.ndarray, shots: int, queries: int, random: np.random.Generator) -> Scenes:
        shape = (len(classes), shots + queries, 24, 24)
        masks, images = np.zeros(shape, np.int16), random.integers(90, 160, shape)
        for t, n, k in np.ndindex(*shape[:2], classes.shape[1]):
            y, x = random.integers(0, 14, 2)
            masks[t, n, y : y + 10, x : x + 10] = k + 1
            images[t, n, y : y + 10, x : x + 10] = 250 if classes[t, k] == 0 else 10
        return Scenes(images[..., None].astype(np.uint8), masks, None, None)


def test_features_are_smoothed_values_edges_and_texture_at_every_scale() -> None:
    image = np.zeros((2, 32, 32), np.float32)
    image[0, :, 16:] = 1.0
    features = pixel_features(image).reshape(32, 32, 2, len(SIGMAS), 4)
    assert np.abs(features[:, :, 1]).max() == 0
    smooth, edge = features[16, :, 0, 2, 0], features[16, :, 0, 2, 1]
    assert (np.diff(smooth) >= 0).all()
    assert edge.argmax() in (15, 16)
    larger, smaller = features[..., 2], features[..., 3]  # eigenvalues of the Hessian
    assert (larger >= smaller).all()


def test_learns_two_classes_and_agrees_with_the_librarys_list_of_episodes() -> None:
    tasks = SegmentationTasks(Squares(), "test", ways=2, shots=2, queries=2)
    scores = evaluate_forest(tasks, n_tasks=3)
    assert scores.accuracy.shape == (3,)
    assert scores.accuracy.mean() > 0.8
    assert scores.metric == "miou"
    again = evaluate_forest(tasks, n_tasks=2)
    np.testing.assert_allclose(again.accuracy, scores.accuracy[:2])


def test_learns_from_scribbles_and_never_names_a_class_it_has_not_seen() -> None:
    task: Task = episodes(SegmentationTasks(Squares(), "test", ways=2, shots=2, queries=1), 0, 1, 0)
    masks = task.support.labels.clone()
    masks[torch.rand(masks.shape, generator=seeded(0)) > 0.1] = IGNORE
    masks[masks == 2] = IGNORE
    answers = forest_answers(task._replace(support=Examples(task.support.images, masks)), 0)
    assert answers.shape == (1, 1, 24, 24, 3)
    assert set(answers.argmax(-1).unique().tolist()) == {0, 1}
    assert answers.exp().sum(-1).sub(1).abs().max() < 1e-4

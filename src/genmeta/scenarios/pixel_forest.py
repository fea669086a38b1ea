"""What a user would reach for instead: a random forest on multi-scale features of single pixels.

The recipe of trainable segmenters (Arganda-Carreras et al., "Trainable Weka Segmentation", 2017,
https://doi.org/10.1093/bioinformatics/btx180; scikit-image's example of the same): each channel, smoothed at several
scales, its gradient's length, and the eigenvalues of its Hessian; then a random forest (Breiman, 2001) on the labelled
pixels of the support images.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier

from genmeta.core.types import IGNORE, Task
from genmeta.engine import StepScores
from genmeta.engine.evaluation import episodes
from genmeta.engine.progress import ProgressBar
from genmeta.tasks import TaskDistribution
from genmeta.vision import Segmentation

#: Standard deviations of the Gaussians, in pixels.
SIGMAS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
TREES, DEPTH, SAMPLED = 50, 10, 0.05
#: Labelled pixels a forest is grown on, at most.
MOST_PIXELS = 20_000


def pixel_features(image: np.ndarray) -> np.ndarray:
    """Features ``[H W F]`` of an image ``[C H W]`` in [0, 1]: per channel and scale intensity, edges and texture."""
    features = []
    for channel in image.astype(np.float32):
        for sigma in SIGMAS:
            smooth = ndimage.gaussian_filter(channel, sigma, mode="nearest")
            dy, dx = np.gradient(smooth)
            dyy, dyx = np.gradient(dy)
            _, dxx = np.gradient(dx)
            half, root = (dyy + dxx) / 2, np.sqrt(((dyy - dxx) / 2) ** 2 + dyx**2)
            features += [smooth, np.hypot(dy, dx), half + root, half - root]
    return np.stack(features, -1)


def forest_answers(task: Task, seed: int) -> torch.Tensor:
    """Log-probabilities ``[1 N H W K]`` for the query images of one task, from a forest grown on its support images."""
    support, query = task.support.images[0].numpy(), task.query.images[0].numpy()
    known = np.concatenate([pixel_features(image).reshape(-1, len(image) * 4 * len(SIGMAS)) for image in support])
    labels = task.support.labels[0].numpy().reshape(-1)
    at = np.flatnonzero(labels != IGNORE)
    if len(at) > MOST_PIXELS:
        at = np.random.default_rng(seed).choice(at, MOST_PIXELS, replace=False)
    forest = RandomForestClassifier(TREES, max_depth=DEPTH, max_samples=SAMPLED, random_state=seed)
    if len(at) * SAMPLED < 200:
        forest.set_params(max_samples=None)  # a twentieth of a few scribbles would be nothing
    forest.fit(known[at], labels[at])
    out = np.full((len(query), *query.shape[-2:], task.ways), 1e-6)
    for n, image in enumerate(query):
        chances = forest.predict_proba(pixel_features(image).reshape(-1, known.shape[1]))
        out[n][..., forest.classes_] += chances.reshape(*query.shape[-2:], -1)
    return torch.from_numpy(out).log()[None]


def evaluate_forest(tasks: TaskDistribution, *, n_tasks: int, seed: int = 0, progress: bool = False) -> StepScores:
    """Scores of the forest on the episodes that :func:`~genmeta.engine.evaluate` would score a learner on.

    Args:
        tasks: of segmentation, with fixed ways and shots.
        n_tasks: number of episodes.
        seed: names the list of episodes.
        progress: show a bar.
    """
    vision, parts, seconds = Segmentation(), [], []
    with ProgressBar("random forest", n_tasks, show=progress) as bar:
        for i in range(n_tasks):
            task = episodes(tasks, i, i + 1, seed)
            began = time.perf_counter()
            outputs = forest_answers(task, seed + i)
            seconds.append(time.perf_counter() - began)
            parts.append(vision.scores(outputs, task.query.targets))
            bar.update(i + 1)
    return StepScores(
        accuracy=np.concatenate([part.main for part in parts]),
        nll=np.concatenate([part.nll for part in parts]),
        confidence=np.concatenate([part.confidence for part in parts]),
        correct=np.concatenate([part.correct for part in parts]),
        seconds=float(np.median(seconds)),
        metric=vision.score,
        extra={name: np.concatenate([part.extra[name] for part in parts]) for name in parts[0].extra},
    )

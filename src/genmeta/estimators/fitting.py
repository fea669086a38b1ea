"""From a few images to an adapted model, and from it to probabilities. All that an estimator asks of a meta-learner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from genmeta.core.randomness import seeded
from genmeta.core.types import ROWS, Examples, Weights
from genmeta.data.pixels import Pixels
from genmeta.engine import Trained
from genmeta.methods import Adapted, MetaLearner

#: Images that are answered together; bounds memory, not results.
BATCH = 32


def pixels_of(trained: Trained) -> Pixels:
    """The form in which a checkpoint reads images; one of drawn strokes wants them bright on black."""
    learner = trained.meta_learner.learner.config
    strokes = bool(trained.config.get("card", {}).get("strokes", learner.channels == 1))
    return Pixels(learner.size, learner.channels, invert="auto" if strokes else False)


def to_tensor(images: np.ndarray, device: torch.device) -> Tensor:
    """``[N H W C]`` uint8 to ``[N C H W]`` in [0, 1]."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().div_(255)


def adapt(
    meta_learner: MetaLearner,
    images: np.ndarray,
    targets: np.ndarray,
    ways: int,
    steps: int,
    seed: int,
    *,
    at: Sequence[int] | None = None,
    kept: Weights | None = None,
) -> Adapted:
    """Adapts to one task; equal arguments give equal weights.

    Args:
        meta_learner: from a checkpoint.
        images: ``[N H W C]`` uint8.
        targets: ``[N]`` class numbers.
        ways: number of classes ``K``, each with an image at least.
        steps: of adaptation.
        seed: of the generators' noise.
        at: after which steps to keep the weights; by default after the last.
        kept: weights of an earlier adaptation whose shared tensors are to stay as they are.
    """
    device = meta_learner.scales.device
    support = Examples(to_tensor(images, device)[None], torch.from_numpy(targets).to(device)[None])
    with torch.no_grad():
        rng, at = seeded(seed, "fit"), tuple(at) if at is not None else (steps,)
        return meta_learner.adapt(support, ways, rng, steps=steps, at=at, kept=kept)


def logits(meta_learner: MetaLearner, adapted: Adapted, images: np.ndarray, step: int | None = None) -> Tensor:
    """Log-probabilities ``[N K]`` in float64 before any temperature, each image on its own."""
    device = meta_learner.scales.device
    ways = adapted.states[max(adapted.states)].weights[ROWS].shape[1]
    parts = [torch.empty(0, ways, dtype=torch.float64)]
    with torch.no_grad():
        for at in range(0, len(images), BATCH):
            outputs = meta_learner.respond(to_tensor(images[at : at + BATCH], device)[None], adapted, step)
            pooled = meta_learner.pooled(outputs.double(), 1)[0]
            parts.append(torch.log_softmax(pooled, -1).cpu())
    return torch.cat(parts)


def extend(
    before: Adapted,
    meta_learner: MetaLearner,
    images: np.ndarray,
    targets: np.ndarray,
    ways: int,
    steps: int,
    seed: int,
    staying: Mapping[int, Tensor],
) -> Adapted:
    """Writes rows under the shared weights of an earlier adaptation, and leaves some rows as they are.

    Args:
        before: the earlier adaptation.
        meta_learner: that was adapted.
        images: as in :func:`adapt`, old and new.
        targets: as in :func:`adapt`.
        ways: as in :func:`adapt`.
        steps: as in :func:`adapt`.
        seed: as in :func:`adapt`.
        staying: number of a class -> its row ``[S R]``.
    """
    old = before.states[max(before.states)]
    adapted = adapt(meta_learner, images, targets, ways, steps, seed, kept=old.weights)
    new = adapted.states[steps]
    rows = new.weights[ROWS].clone()
    for place, row in staying.items():
        rows[:, place] = row
    state = new._replace(weights={**new.weights, ROWS: rows}, statistics=old.statistics)
    return adapted._replace(states={steps: state})

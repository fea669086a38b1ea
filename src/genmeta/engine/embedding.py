"""Embeds each image once where its features cannot change: rows alone are written, on a learner that stands still."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor

from genmeta.data.classes import ImageClasses
from genmeta.learners import Learner
from genmeta.methods import MetaLearner
from genmeta.methods.bank import learner_hash
from genmeta.tasks import ClassificationTasks, TaskDistribution
from genmeta.tasks.embedding import Embed, Features
from genmeta.tasks.sessions import IncrementalTasks

_KEPT = 4


def embedded(meta_learner: MetaLearner, tasks: TaskDistribution, n_images: int) -> ClassificationTasks | None:
    """The same tasks with features in place of images, where they are all that the meta-learner makes of an image.

    They are where nothing but class rows is written, images are not jittered, and the norm works image by image. The
    caller knows whether the learner's own weights stand still meanwhile. Numbers agree to rounding.

    Args:
        meta_learner: whose learner embeds.
        tasks: to draw from.
        n_images: how many images are going to be drawn; where that is fewer than the classes hold, each is better
            embedded when it comes.

    Returns:
        The tasks, or ``None`` where images are needed or nothing would be saved.
    """
    learner = meta_learner.learner
    fixed = not meta_learner.spec.shared and learner.config.norm != "batch" and learner.gives == "vector"
    if not fixed or not isinstance(tasks, ClassificationTasks) or tasks.augment != "none" or n_images < tasks.n_images:
        return None

    return tasks.embedded(_embed(learner), _features_of(learner, tasks.data))


def embedded_streams(learner: Learner, tasks: IncrementalTasks) -> IncrementalTasks | None:
    """The same streams with features in place of images, for what leaves the learner as it is.

    Returns:
        The streams, or ``None`` where a feature depends on the images around it (batch norm) or is a map.
    """
    if learner.config.norm == "batch" or learner.gives != "vector":
        return None
    return tasks.embedded(_embed(learner), _features_of(learner, tasks.data))


def _embed(learner: Learner) -> Embed:
    device = next(learner.parameters()).device

    def embed(images: Tensor) -> Tensor:
        with torch.no_grad():
            return learner.features(images[None].to(device))[0][0].cpu()

    return embed


#: Features of the learners and data used last: methods that are compared often share both.
_recent: OrderedDict[object, Features] = OrderedDict()


def _features_of(learner: Learner, data: ImageClasses) -> Features:
    """What is known of these images under these weights; held for the last few such pairs."""
    key = (learner_hash(learner), data.name, data.images.shape, _digest(data))
    known = _recent.pop(key, {})
    _recent[key] = known
    while len(_recent) > _KEPT:
        _recent.popitem(last=False)
    return known


def _digest(data: ImageClasses) -> str:
    """Tells data sets of one name and size apart, by where classes begin and by some of the images."""
    digest = hashlib.sha256(np.ascontiguousarray(data.offsets).tobytes())
    digest.update(np.ascontiguousarray(data.images[:: max(1, len(data.images) // 64)]).tobytes())
    return digest.hexdigest()

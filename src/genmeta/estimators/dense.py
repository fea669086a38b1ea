"""What ``FewShotSegmenter`` and ``FewShotDetector`` have in common: their checkpoint, adapting, saving, loading."""

from __future__ import annotations

import os
from typing import ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator

from genmeta.core.errors import CheckpointError, UsageError
from genmeta.core.randomness import seeded
from genmeta.core.types import Examples
from genmeta.engine import Trained
from genmeta.estimators import saving
from genmeta.estimators.checks import check_steps
from genmeta.estimators.classifier import NotFittedEstimator
from genmeta.methods import Adapted
from genmeta.methods.fine_tuning import with_fine_tuning
from genmeta.vision import VisualTask
from genmeta.zoo import find, from_pretrained

#: Steps of fine-tuning if no number is given.
FINE_TUNING_STEPS = 50


class DenseEstimator(BaseEstimator):
    """An estimator of one visual task, adapted to one support set.

    Attributes:
        of: the visual task.
        background: rows that are there beside those of the classes.
        shown: what ``fit`` is called with, for messages.
    """

    of: ClassVar[type[VisualTask]]
    background: ClassVar[int] = 0
    shown: ClassVar[str]

    model: str | os.PathLike[str]
    steps: int | None
    fine_tune: str
    random_state: int
    classes_: np.ndarray
    n_support_: np.ndarray
    _trained: Trained
    _adapted: Adapted

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the fitted model into one safetensors file that predicts the same wherever it is loaded.

        Args:
            path: of the file.
        """
        self._check_fitted()
        about = {"n_support": self.n_support_.tolist()}
        fitted = (self._trained, self._adapted, self.classes_)
        saving.write(path, type(self).__name__, *fitted, self.get_params(), about)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Loads what :meth:`save` wrote; nothing in the file can run code.

        Args:
            path: of the file, or a Hugging Face Hub id.

        Raises:
            CheckpointError: there is none, it is damaged, or it is of another estimator.
        """
        place = find(path)
        fitted = saving.read(place, cls.__name__, background=cls.background)
        with saving.whole(place):
            model = cls(**fitted.about["parameters"])
            model.n_support_ = np.asarray(fitted.about["n_support"], dtype=np.int64)
        model._trained, model._adapted, model.classes_ = fitted[:3]
        vision = fitted.trained.meta_learner.vision
        if not isinstance(vision, cls.of):
            raise CheckpointError(f"{os.fspath(path)!r} is not a whole fitted model: it is of {vision.name}.")
        return model

    def _checkpoint(self) -> Trained:
        check_steps(self.steps)
        trained = from_pretrained(self.model)
        vision = trained.meta_learner.vision
        if not isinstance(vision, self.of):
            raise UsageError(
                f"{os.fspath(self.model)!r} is a checkpoint of {vision.name}. "
                f"Use one that was trained with --vision {self.of.name}."
            )
        return trained

    def _adapt(self, trained: Trained, support: Examples) -> None:
        meta_learner, steps = trained.meta_learner, self.steps
        if self.fine_tune:
            meta_learner = with_fine_tuning(meta_learner, self.fine_tune)
            steps = FINE_TUNING_STEPS if steps is None else steps
        steps = meta_learner.inner_steps if steps is None else steps
        ways = len(self.classes_) + self.background
        with torch.no_grad():
            self._adapted = meta_learner.adapt(support, ways, seeded(self.random_state, "fit"), steps=steps)
        self._trained = trained

    def _check_fitted(self) -> None:
        if not hasattr(self, "_adapted"):
            raise NotFittedEstimator(f"This {type(self).__name__} has seen no images. Call fit({self.shown}) first.")

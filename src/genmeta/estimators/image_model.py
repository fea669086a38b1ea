"""A few images of each class to a working model: all of ``FewShotClassifier`` but scikit-learn.

Importing scikit-learn takes longer than fitting a model with ``--fast``, so the commands use this class.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from genmeta.core.errors import UsageError, unknown
from genmeta.core.settings import DEVICES
from genmeta.core.types import ROWS
from genmeta.data.ingest import ImageLike, as_sequence, read_images
from genmeta.data.pixels import Pixels
from genmeta.engine import Trained
from genmeta.estimators import fitting, saving
from genmeta.estimators.calibration import fit_temperature, prior_temperature
from genmeta.estimators.checks import check_probability, check_steps
from genmeta.estimators.held_out import hold_out, nothing
from genmeta.estimators.labels import UNKNOWN, as_labels, encode, warn_of_contradictions
from genmeta.methods import Adapted, MetaLearner
from genmeta.vision import Classification
from genmeta.vision.shared_maps import SharedMaps
from genmeta.zoo import find, from_pretrained


class NotFitted(UsageError):
    """A model is asked before it was fitted."""


class ImageModel:
    """See :class:`~genmeta.estimators.FewShotClassifier`, which has these arguments, attributes and methods."""

    classes_: np.ndarray
    n_support_: np.ndarray
    trace_: list[dict[str, float]]
    leave_one_out_: float
    leave_one_out_predictions_: np.ndarray
    temperature_: float
    _trained: Trained
    _adapted: Adapted
    _support: np.ndarray | None
    _targets: np.ndarray
    _prepared: tuple[str, Trained] | None = None

    def __init__(
        self,
        model: str | os.PathLike[str] = "photos",
        *,
        steps: int | None = None,
        fast: bool = False,
        unknown_threshold: float | None = None,
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.model = model
        self.steps = steps
        self.fast = fast
        self.unknown_threshold = unknown_threshold
        self.device = device
        self.random_state = random_state

    def settings(self) -> dict[str, Any]:
        """The arguments that this model was made with."""
        names = ("model", "steps", "fast", "unknown_threshold", "device", "random_state")
        return {name: getattr(self, name) for name in names}

    # -- fit ----------------------------------------------------------------------------------------------------------

    def fit(self, images: Iterable[ImageLike], labels: Iterable[Any]) -> Self:
        """Generates a model for these classes and adapts it.

        Args:
            images: ``N`` of them, or a batch: an array ``[N H W C]``, a tensor ``[N C H W]``.
            labels: ``N`` names or whole numbers.

        Raises:
            UsageError: a setting or a label cannot be used.
            DataError: an image cannot be read, or there are fewer than two classes.
            CheckpointError: there is no such checkpoint.
        """
        trained = self._checkpoint()
        support, names = self._read(images, labels, fitting.pixels_of(trained))
        classes, targets = encode(names)
        self._trained, self.classes_, self._support, self._targets = trained, classes, support, targets
        warn_of_contradictions(support, targets, classes)
        self._adapted = fitting.adapt(*self._task(), steps=self._steps(), seed=self.random_state)
        self._estimate()
        return self

    def partial_fit(self, images: Iterable[ImageLike], labels: Iterable[Any], *, refit: bool = False) -> Self:
        """Adds classes, or images to classes that are there; fits where nothing is fitted yet.

        Only the rows of the classes that ``labels`` names are written; the rows of the others and the shared weights
        stay as they are, bit for bit.

        Args:
            images: as in :meth:`fit`.
            labels: as in :meth:`fit`.
            refit: generate and adapt everything anew from all images seen so far.

        Raises:
            UsageError: as in :meth:`fit`; or the model was saved without its images, which this needs.
            DataError: as in :meth:`fit`.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(images, labels)
        self._check_settings()
        _, seen, _, _ = self._task()
        support, names = self._read(images, labels, self.pixels)
        before, rows = self.classes_, self._adapted.states[max(self._adapted.states)].weights[ROWS]
        names = names if len(names) else before[:0]  # nothing new, perhaps a refit
        if (before.dtype.kind in "US") != (names.dtype.kind in "US"):
            raise UsageError(
                f"The model's labels are such as {before[0]}, the new ones such as {names[0]}: text and numbers."
            )
        self.classes_, self._targets = encode(np.concatenate([before[self._targets], names]))
        self._support = np.concatenate([seen, support])
        warn_of_contradictions(self._support, self._targets, self.classes_)
        if refit:
            self._adapted = fitting.adapt(*self._task(), steps=self._steps(), seed=self.random_state)
        else:
            staying = {int(np.searchsorted(self.classes_, name)): rows[:, k] for k, name in enumerate(before)}
            staying = {place: row for place, row in staying.items() if self.classes_[place] not in names}
            arguments = (*self._task(), self._steps(), self.random_state, staying)
            self._adapted = fitting.extend(self._adapted, *arguments)
        self._estimate()
        return self

    def prepare(self) -> Self:
        """Loads the checkpoint now rather than in :meth:`fit`, which then takes this one.

        Raises:
            UsageError: a setting cannot be used, or the checkpoint is of another visual task.
            CheckpointError: there is no such checkpoint.
        """
        self._prepared = (os.fspath(self.model), self._checkpoint())
        return self

    def _checkpoint(self) -> Trained:
        self._check_settings()
        model, trained = self._prepared or ("", None)
        if trained is None or model != os.fspath(self.model):
            trained = from_pretrained(self.model)
        vision = trained.meta_learner.vision
        if (vision.kind if isinstance(vision, SharedMaps) else vision.name) != Classification.name:
            raise UsageError(
                f"{os.fspath(self.model)!r} is a checkpoint of {vision.name}, not of classification of images. "
                "Use one of those, or the estimator of its own visual task."
            )
        trained.meta_learner.to(self._torch_device())
        return trained

    def _read(
        self, images: Iterable[ImageLike], labels: Iterable[Any], pixels: Pixels
    ) -> tuple[np.ndarray, np.ndarray]:
        sequence = as_sequence(images)
        names = as_labels(labels, len(sequence))
        return read_images(sequence, pixels), names

    def _task(self) -> tuple[MetaLearner, np.ndarray, np.ndarray, int]:
        if self._support is None:
            raise UsageError("This model was saved without its images, and partial_fit needs them. Fit it anew.")
        return self._trained.meta_learner, self._support, self._targets, len(self.classes_)

    def _estimate(self) -> None:
        steps = self._steps()
        ways = len(self.classes_)
        held_out = nothing(ways, steps) if self.fast else hold_out(*self._task(), steps, self.random_state)
        self.n_support_ = np.bincount(self._targets, minlength=ways)
        self.trace_ = held_out.trace()
        self.leave_one_out_ = held_out.accuracy(steps)
        self.leave_one_out_predictions_ = np.full(len(self._targets), -1)
        self.leave_one_out_predictions_[held_out.which] = held_out.logits[steps].argmax(-1).numpy()
        prior = prior_temperature(self._trained.config.get("card", {}), float(self.n_support_.mean()))
        self.temperature_ = fit_temperature(held_out.logits[steps], held_out.targets, prior)

    # -- predict ------------------------------------------------------------------------------------------------------

    def predict_proba(self, images: Iterable[ImageLike]) -> np.ndarray:
        """Calibrated probabilities ``[N K]`` in the order of :attr:`classes_`; each image is predicted on its own.

        Raises:
            DataError: an image cannot be read.
        """
        self._check_fitted()
        read = read_images(images, self.pixels)
        scaled: Tensor = fitting.logits(self._trained.meta_learner, self._adapted, read) / self.temperature_
        return torch.softmax(scaled, -1).numpy()

    def predict(self, images: Iterable[ImageLike]) -> np.ndarray:
        """The most likely class of each image ``[N]``, or that it is unknown; see ``unknown_threshold``.

        Raises:
            DataError: an image cannot be read.
        """
        return self.decide(self.predict_proba(images))

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """From probabilities ``[N K]`` to labels ``[N]``, as :meth:`predict` does."""
        self._check_fitted()
        self._check_threshold()
        if probabilities.ndim != 2 or probabilities.shape[1] != len(self.classes_):
            raise UsageError(
                f"Expected probabilities [N {len(self.classes_)}], of every class, got shape {probabilities.shape}. "
                "Give what predict_proba returns."
            )
        labels = self.classes_[probabilities.argmax(1)]
        if self.unknown_threshold is None:
            return labels
        text = self.classes_.dtype.kind == "U"
        labels = labels.astype(np.result_type(labels, np.asarray(UNKNOWN)) if text else np.int64)
        labels[probabilities.max(1) < self.unknown_threshold] = UNKNOWN if text else -1
        return labels

    @property
    def pixels(self) -> Pixels:
        """The form in which the model reads images; known once it is fitted or prepared."""
        if not self.__sklearn_is_fitted__() and self._prepared is not None:
            return fitting.pixels_of(self._prepared[1])
        self._check_fitted()
        return fitting.pixels_of(self._trained)

    def save(self, path: str | os.PathLike[str], *, images: bool = True) -> None:
        """Writes the fitted model into one safetensors file that predicts the same wherever it is loaded.

        Args:
            path: of the file.
            images: keep the images it was fitted to, small as the model reads them, so that :meth:`partial_fit` works
                after loading. Leave them out where they are private.
        """
        self._check_fitted()
        saving.save(path, self, images=images)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Loads what :meth:`save` wrote; nothing in the file can run code.

        Args:
            path: of the file, or a Hugging Face Hub id.

        Raises:
            CheckpointError: there is none, it is damaged, or it is a checkpoint that was fitted to no classes.
        """
        return saving.load(cls, find(path))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_adapted")

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFitted("This FewShotClassifier has seen no images. Call fit(images, labels) first.")

    def _check_settings(self) -> None:
        if self.device not in DEVICES:
            raise unknown("device", str(self.device), DEVICES)
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("device='cuda' needs a CUDA GPU that torch can use, and there is none. Use auto or cpu.")
        check_steps(self.steps)
        self._check_threshold()

    def _check_threshold(self) -> None:
        if self.unknown_threshold is not None:
            check_probability("unknown_threshold", self.unknown_threshold, "probability")

    def _torch_device(self) -> torch.device:
        wanted = self.device != "cpu" and torch.cuda.is_available()
        return torch.device("cuda" if wanted else "cpu")

    def _steps(self) -> int:
        if self.steps is not None:
            return self.steps
        return 0 if self.fast else self._trained.meta_learner.inner_steps

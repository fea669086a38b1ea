"""``FewShotClassifier``: a few images of each class to a working model."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

from genmeta.estimators.image_model import ImageModel, NotFitted


class NotFittedEstimator(NotFitted, NotFittedError):
    """What scikit-learn expects to be raised."""


class FewShotClassifier(ClassifierMixin, BaseEstimator, ImageModel):
    """Learns classes from a few images each, with weights that a meta-trained generator writes.

    Images are paths, Pillow images, arrays ``[H W]`` or ``[H W C]``, tensors ``[C H W]``, of any size, grey or colour,
    mixed as you like; see :func:`genmeta.data.ingest.read_image`. Classes may have different numbers of images.

    Args:
        model: a checkpoint: a name of ``genmeta list checkpoints``, a path, or a Hugging Face Hub id.
        steps: adaptation steps; by default the checkpoint's own number.
        fast: take the generated start as it is, without steps and without the held-out estimate:
            :attr:`leave_one_out_` is then ``nan``, and the temperature what the checkpoint says.
        unknown_threshold: images whose most likely class has a probability below this are predicted as ``"unknown"``
            (−1 where labels are numbers); by default none is.
        device: ``auto``, ``cpu`` or ``cuda``.
        random_state: seed of what is random in fitting.

    Attributes:
        classes_: ``[K]`` the classes, sorted.
        n_support_: ``[K]`` images of each.
        trace_: for each number of adaptation steps from 0 on a dictionary with ``step``, and ``accuracy`` and ``loss``
            (nats) on images that the model was fitted without; ``nan`` where no image could be left out.
        leave_one_out_: fraction of the images that a model fitted without them gets right; ``nan`` where every class
            has one image. With more than five images a class, several are left out at a time.
        leave_one_out_predictions_: ``[N]`` numbers of the classes so predicted, −1 for what could not be left out.
        temperature_: that logits are divided by, so that probabilities are calibrated.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> images, labels = load_digits().images / 16, load_digits().target
        >>> model = FewShotClassifier("characters").fit(images[:50], labels[:50])
        >>> model.score(images[50:150], labels[50:150]) > 0.7
        True
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags

    def _check_fitted(self) -> None:
        try:
            super()._check_fitted()
        except NotFitted as error:
            raise NotFittedEstimator(str(error)) from None

"""The checkpoints that the page offers, behind the estimator that adapts them."""

from __future__ import annotations

from collections.abc import Sequence

from genmeta.core.errors import UsageError
from genmeta.estimators.image_model import ImageModel
from genmeta.serve.adapting import Backend, Choice
from genmeta.zoo import find, from_pretrained, list_checkpoints

#: How the page speaks of the checkpoints that come with the package, in the order it shows them.
SHIPPED = (
    Choice("photos", "Photos", "Things, animals, plants, places: whatever a camera sees"),
    Choice("characters", "Drawings and characters", "Letters, signs, sketches: lines on a plain background"),
)


def estimators(models: Sequence[str] = ()) -> Backend:
    """A backend of `ImageModel`.

    Args:
        models: names or paths of checkpoints, the default first; by default those that come with the package.

    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged.
        UsageError: one is named twice.
    """
    here = {checkpoint.name for checkpoint in list_checkpoints()}
    models = list(models) or [choice.name for choice in SHIPPED if choice.name in here]
    if len(set(models)) < len(models):
        raise UsageError(f"A checkpoint is named twice: {', '.join(models)}. Name each once.")
    places = {}
    for model in models:
        from_pretrained(model)  # what cannot be loaded is said now, not to a visitor
        places[model] = find(model)
    known = {choice.name: choice for choice in SHIPPED}
    choices = [known.get(model, Choice(model, places[model].stem, "Your own checkpoint")) for model in models]

    def make(name: str, quick: bool) -> ImageModel:
        return ImageModel(places[name], fast=quick)

    return Backend(choices, make)

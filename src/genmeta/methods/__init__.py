"""Methods: named recipes of meta-learners. A new one is a file that registers itself, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from genmeta.core.errors import GenmetaError, UsageError
from genmeta.core.randomness import lent_to_torch, seeded
from genmeta.learners import LEARNERS, Learner
from genmeta.methods import (  # noqa: F401  (they register themselves)
    abml,
    adversarial,
    anpml,
    baselines,
    bmaml,
    cnaps,
    film_transfer,
    hypernetworks,
    leo,
    metric,
    optimisation,
    versa,
    weight_models,
)
from genmeta.methods.adapted import Adapted, State
from genmeta.methods.base import METHODS, Method, make_options
from genmeta.methods.domain import DOMAIN_METHODS
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.methods.multitask import add_token
from genmeta.methods.objectives import Objective
from genmeta.vision import Classification, VisualTask
from genmeta.vision.shared_maps import SHARED, SharedMaps

#: The order of tables: baselines, metric, optimisation, then the generators by family. Others follow by registration.
_ORDER = [
    "scratch",
    "finetune",
    "protonet",
    "ridge",
    "maml",
    "anil",
    "reptile",
    "meta-sgd",
    "hypernet",
    "meta-sgd-hn",
    "cnaps",
    "film-transfer",
    "versa",
    "abml",
    "bmaml",
    "anpml",
    "leo",
    "maml-gan",
    "meta-sgd-gan",
    "weight-vae",
    "autoregressive",
    "diffusion",
]


def list_methods() -> list[Method]:
    """Every method, in the order of tables."""
    names = METHODS.names()
    return [METHODS[name] for name in [*(n for n in _ORDER if n in names), *(n for n in names if n not in _ORDER)]]


def find_method(name: str) -> Method:
    """The method called ``name``, those of the domain scenario among them.

    Raises:
        UsageError: there is none.
    """
    return DOMAIN_METHODS[name] if name in DOMAIN_METHODS else METHODS[name]


def fits(learner: Learner, vision: VisualTask) -> None:
    """Refuses a learner that does not give what a visual task reads.

    Raises:
        UsageError: it gives vectors where maps are read or the other way round, or lacks the extra channels.
    """
    if learner.gives != vision.reads:
        said = {"vector": "one vector for each image", "map": "a map of vectors"}
        able = [name for name in LEARNERS if LEARNERS[name].gives == vision.reads]
        raise UsageError(
            f"{vision.name} reads {said[vision.reads]}, but the learner {learner.config.name!r} gives "
            f"{said[learner.gives]}. Use one of: {', '.join(able)}."
        )
    if learner.config.extra != vision.extra_channels:
        raise UsageError(
            f"{vision.name} needs a learner with extra={vision.extra_channels} channels, but {learner.config.name!r} "
            f"was built with extra={learner.config.extra}."
        )


def build_method(
    name: str,
    learner: Learner,
    *,
    vision: VisualTask | None = None,
    rng: torch.Generator | None = None,
    options: Mapping[str, Any] | None = None,
) -> MetaLearner:
    """Puts a method together on a learner.

    Args:
        name: see :func:`list_methods`.
        learner: the network whose weights are written.
        vision: what outputs mean; classification by default.
        rng: draws the generator's initial weights; a fixed seed by default.
        options: replaces the method's defaults, see ``genmeta list methods``.

    Raises:
        UsageError: unknown method or option, options that do not fit together, a method of another visual task, or a
            learner that does not give what the visual task reads.
    """
    method, vision = find_method(name), vision or Classification()
    asked = SHARED if isinstance(vision, SharedMaps) else (vision.name,)
    if not all(method.serves(one) for one in asked):
        able = [other.name for other in list_methods() if all(other.serves(one) for one in asked)]
        raise UsageError(
            f"{name} is for {' and '.join(method.visions)}, not for {vision.name}. Use one of: {', '.join(able)}."
        )
    fits(learner, vision)
    rng = rng or seeded(0, "method", name)
    try:
        chosen = make_options(method, options or {})
        with lent_to_torch(rng):
            meta_learner = method.build(chosen, learner, vision, rng)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, GenmetaError) or not options:
            raise
        # widths that heads do not divide, layers of nothing: torch refuses them, each in its own way
        given = ", ".join(f"{option}={value}" for option, value in options.items())
        raise UsageError(f"The options {given} make no model of {name!r}: {error}") from error
    add_token(meta_learner)
    return meta_learner


__all__ = [
    "DOMAIN_METHODS",
    "METHODS",
    "Adapted",
    "MetaLearner",
    "Method",
    "Objective",
    "Parts",
    "State",
    "build_method",
    "find_method",
    "list_methods",
    "make_options",
]

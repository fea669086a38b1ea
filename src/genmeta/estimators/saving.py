"""A fitted model as one safetensors file: the meta-learner, the adapted weights, the classes, and what was measured."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from genmeta.core.errors import CheckpointError
from genmeta.core.types import ROWS, Start, Tokens
from genmeta.engine import Trained, read_header
from genmeta.engine.checkpoint import build, changes, load_weights, read_tensors, save_tensors
from genmeta.estimators.checks import is_whole
from genmeta.methods import Adapted, State

if TYPE_CHECKING:
    from genmeta.estimators.image_model import ImageModel

ModelT = TypeVar("ModelT", bound="ImageModel")

#: Measured when the model was fitted, and kept with it.
_MEASURED = ("leave_one_out_", "trace_", "temperature_")


class Fitted(NamedTuple):
    """What is in the file of a fitted model.

    Attributes:
        trained: the meta-learner and its settings.
        adapted: to the classes, after one number of steps.
        classes: ``[K]``.
        about: what else was written as JSON.
    """

    trained: Trained
    adapted: Adapted
    classes: np.ndarray
    about: dict[str, Any]


def write(
    path: str | os.PathLike[str],
    kind: str,
    trained: Trained,
    adapted: Adapted,
    classes: np.ndarray,
    parameters: Mapping[str, Any],
    about: Mapping[str, Any],
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes a fitted model.

    Args:
        path: of the file.
        kind: name of the estimator's class.
        trained: its meta-learner.
        adapted: what it was adapted to.
        classes: its classes.
        parameters: the arguments that it was made with, ``model`` among them.
        about: what else it holds that JSON can say.
        tensors: what else it holds.
    """
    step = max(adapted.states)
    every = {f"model.{k}": v for k, v in _own_tensors(trained).items()}
    every |= {**_state_tensors(adapted.states[step]), **(tensors or {})}
    kept = {**parameters, "model": os.fspath(parameters["model"])}
    if Path(kept["model"]).exists():
        kept["model"] = Path(kept["model"]).name  # where it lay is of no use elsewhere
    fitted = {
        "estimator": kind,
        "classes": classes.tolist(),
        "text": classes.dtype.kind in "US",
        "step": step,
        "share": adapted.share,
        "samples": adapted.start.samples,
        "parameters": kept,
        **about,
    }
    save_tensors(Path(path), every, {**trained.config, "fitted": fitted})


def read(path: Path, kind: str, *, background: int = 0) -> Fitted:
    """Reads what :func:`write` wrote.

    Args:
        path: of the file.
        kind: as in :func:`write`.
        background: how many rows there are beside those of the classes.

    Raises:
        CheckpointError: damaged, fitted to nothing, or of another estimator.
    """
    header = read_header(path)
    if "fitted" not in header:
        in_a_shell = f"genmeta fit FOLDER --model {path} --out MODEL, or " if kind == "FewShotClassifier" else ""
        raise CheckpointError(
            f"{str(path)!r} is a checkpoint that was fitted to no classes. Fit it: {in_a_shell}{kind}({str(path)!r})."
        )
    fitted = header.pop("fitted")
    wrote = fitted.get("estimator", "FewShotClassifier") if isinstance(fitted, dict) else None
    if wrote != kind:
        raise CheckpointError(f"{str(path)!r} is a model of {wrote}, not of {kind}. Load it with {wrote}.load.")
    meta_learner = build(header, path, prefix="model.")
    load_weights(meta_learner, path, prefix="model.", changed=bool(header.get("changes")))
    with whole(path):
        state = _read_state(path)
        rows = state.weights[ROWS].shape
        classes = np.asarray(fitted["classes"], dtype=str if fitted["text"] else np.int64)
        if classes.ndim != 1:
            raise ValueError(f"its classes are {fitted['classes']!r}")
        step, samples, share = (fitted[name] for name in ("step", "samples", "share"))
        if not is_whole(step) or step < 0 or samples != rows[0] or share not in (1, samples):
            raise ValueError(f"step {step!r}, share {share!r} and samples {samples!r} for {rows[0]} starts")
        adapted = Adapted({step: state}, Start({}, {}, torch.zeros(rows[0]), samples), [], share)
    if rows[1] != len(classes) + background or rows[1] < 2:
        raise CheckpointError(f"{str(path)!r} has {rows[1]} rows for {len(classes)} classes. Fit it again.")
    return Fitted(Trained(meta_learner, header), adapted, classes, fitted)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[None]:
    """What is missing or of a wrong kind in a file is said as such."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{str(path)!r} is not a whole fitted model: {error}. Fit it again.") from error


def save(path: str | os.PathLike[str], model: ImageModel, *, images: bool) -> None:
    """Writes a fitted classifier; see :meth:`genmeta.estimators.FewShotClassifier.save`."""
    tensors = {
        "targets": torch.from_numpy(model._targets),
        "leave_one_out": torch.from_numpy(model.leave_one_out_predictions_),
    }
    if images and model._support is not None:
        tensors["support"] = torch.from_numpy(model._support)
    measured = {name: getattr(model, name) for name in _MEASURED}
    fitted = (model._trained, model._adapted, model.classes_)
    write(path, "FewShotClassifier", *fitted, model.settings(), measured, tensors)


def load(kind: type[ModelT], path: Path) -> ModelT:
    """Reads a fitted classifier; see :meth:`genmeta.estimators.FewShotClassifier.load`."""
    fitted = read(path, "FewShotClassifier")
    with whole(path):
        model = kind(**fitted.about["parameters"])
        model._trained, model._adapted, model.classes_ = fitted[:3]
        model._targets = read_tensors(path, "targets")[""].numpy()
        model.leave_one_out_predictions_ = read_tensors(path, "leave_one_out")[""].numpy()
        support = read_tensors(path, "support").get("")
        model._support = None if support is None else support.numpy()
        model.n_support_ = np.bincount(model._targets, minlength=len(model.classes_))
        for name in _MEASURED:
            setattr(model, name, fitted.about[name])
        temperature = fitted.about["temperature_"]
        if isinstance(temperature, str) or not 0 < float(temperature) < math.inf:
            raise ValueError(f"its temperature is {temperature!r}")
        model.temperature_ = float(temperature)
        model._check_threshold()
    return model


def _own_tensors(trained: Trained) -> dict[str, Tensor]:
    """What the meta-learner is made of; without what a package brings, where its checkpoint does without, too."""
    if not trained.config.get("changes"):
        return dict(trained.meta_learner.state_dict())
    found = changes(trained.meta_learner, trained.config)
    # such checkpoints are in half precision, so that nothing is lost here
    return {name: value.half() if torch.equal(value.half().float(), value) else value for name, value in found.items()}


def _state_tensors(state: State) -> dict[str, Tensor]:
    tensors = {f"weights.{name}": value for name, value in state.weights.items()}
    for name, (mean, variance) in (state.statistics or {}).items():
        tensors |= {f"means.{name}": mean, f"variances.{name}": variance}
    if state.tokens is not None and state.tokens.membership is not None:
        tensors |= {"tokens.values": state.tokens.values, "tokens.membership": state.tokens.membership}
    return tensors


def _read_state(path: Path) -> State:
    means, variances, tokens = (read_tensors(path, prefix) for prefix in ("means.", "variances.", "tokens."))
    return State(
        read_tensors(path, "weights."),
        {name: (means[name], variances[name]) for name in means} or None,
        Tokens(tokens["values"], tokens["membership"]) if tokens else None,
    )

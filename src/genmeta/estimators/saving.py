"""A fitted model as one safetensors file: the meta-learner, the adapted weights, the classes, and what was measured."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from genmeta.core.errors import CheckpointError
from genmeta.core.types import ROWS, Start, Tokens
from genmeta.engine import Trained, read_header
from genmeta.engine.checkpoint import build, changes, load_weights, read_tensors, save_tensors
from genmeta.methods import Adapted, State

if TYPE_CHECKING:
    from genmeta.estimators.image_model import ImageModel

ModelT = TypeVar("ModelT", bound="ImageModel")

#: Measured when the model was fitted, and kept with it.
_MEASURED = ("leave_one_out_", "trace_", "temperature_")


def save(path: str | os.PathLike[str], model: ImageModel, *, images: bool) -> None:
    """Writes a fitted model; see :meth:`genmeta.estimators.FewShotClassifier.save`."""
    trained, adapted = model._trained, model._adapted
    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in _own_tensors(trained, path).items()}
    step = max(adapted.states)
    tensors |= _state_tensors(adapted.states[step])
    tensors["targets"] = torch.from_numpy(model._targets)
    tensors["leave_one_out"] = torch.from_numpy(model.leave_one_out_predictions_)
    if images and model._support is not None:
        tensors["support"] = torch.from_numpy(model._support)
    parameters = {**model.settings(), "model": os.fspath(model.model)}
    if Path(parameters["model"]).exists():
        parameters["model"] = Path(parameters["model"]).name  # where it lay is of no use elsewhere
    fitted = {
        "classes": model.classes_.tolist(),
        "text": model.classes_.dtype.kind in "US",
        "step": step,
        "share": adapted.share,
        "samples": adapted.start.samples,
        "parameters": parameters,
        **{name: getattr(model, name) for name in _MEASURED},
    }
    save_tensors(Path(path), tensors, {**trained.config, "fitted": fitted})


def load(kind: type[ModelT], path: Path) -> ModelT:
    """Reads a fitted model; see :meth:`genmeta.estimators.FewShotClassifier.load`."""
    header = read_header(path)
    if "fitted" not in header:
        raise CheckpointError(
            f"{str(path)!r} is a checkpoint that was fitted to no classes. Fit it: FewShotClassifier({str(path)!r})."
        )
    fitted = header.pop("fitted")
    meta_learner = build(header, path, prefix="model.")
    load_weights(meta_learner, path, prefix="model.", changed=bool(header.get("changes")))
    try:
        model = kind(**fitted["parameters"])
        state = _read_state(path)
        n_rows = state.weights[ROWS].shape
        model._trained = Trained(meta_learner, header)
        model.classes_ = np.asarray(fitted["classes"], dtype=str if fitted["text"] else np.int64)
        start = Start({}, {}, torch.zeros(n_rows[0]), int(fitted["samples"]))
        model._adapted = Adapted({int(fitted["step"]): state}, start, [], int(fitted["share"]))
        model._targets = read_tensors(path, "targets")[""].numpy()
        model.leave_one_out_predictions_ = read_tensors(path, "leave_one_out")[""].numpy()
        support = read_tensors(path, "support").get("")
        model._support = None if support is None else support.numpy()
        model.n_support_ = np.bincount(model._targets, minlength=len(model.classes_))
        for name in _MEASURED:
            setattr(model, name, fitted[name])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{str(path)!r} is not a whole fitted model: {error}. Fit it again.") from error
    if n_rows[1] != len(model.classes_) or len(model.classes_) < 2:
        raise CheckpointError(f"{str(path)!r} has {n_rows[1]} rows for {len(model.classes_)} classes. Fit it again.")
    return model


def _own_tensors(trained: Trained, path: str | os.PathLike[str]) -> dict[str, Tensor]:
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

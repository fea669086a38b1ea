"""Checkpoints: what is saved is what is loaded, and nothing else is taken for one."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from toys import make_learner, make_method, make_task, perturb, tiny_options

from genmeta.core.errors import CheckpointError
from genmeta.core.randomness import seeded
from genmeta.engine import load, read_header
from genmeta.engine.checkpoint import (
    MODEL,
    SCHEMA,
    changes,
    learner_header,
    load_weights,
    save_changes,
    save_model,
    save_tensors,
)
from genmeta.methods import METHODS, MetaLearner


def header(name: str, it: MetaLearner, **changes: Any) -> dict[str, Any]:
    return {"method": name, "options": tiny_options(name), "learner": learner_header(it.learner.config), **changes}


def saved(path: Path, name: str = "protonet", **changes: Any) -> Path:
    it = make_method(name)
    save_model(path / MODEL, it, header(name, it, **changes))
    return path / MODEL


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("name", METHODS.names())
def test_saved_and_loaded_it_answers_the_same(name: str, norm: str, tmp_path: Path) -> None:
    it = perturb(make_method(name, make_learner(norm=norm)), 0.1).eval()
    save_model(tmp_path / MODEL, it, header(name, it))
    trained = load(tmp_path)
    assert trained.method == name
    assert not trained.meta_learner.training
    task = make_task().to(torch.float32)
    with torch.no_grad():
        (first, *_), (second, *_) = (m.answers(task, m.inner_steps, seeded(1)) for m in (it, trained.meta_learner))
    assert torch.equal(first[it.inner_steps], second[it.inner_steps])


def test_every_tensor_is_saved(tmp_path: Path) -> None:
    path = saved(tmp_path, "hypernet")
    it = make_method("hypernet")
    assert load_file(path).keys() == it.state_dict().keys()
    assert read_header(path)["schema"] == SCHEMA
    assert read_header(tmp_path) == read_header(path)


def test_changes_alone_are_saved_and_the_rest_is_built_again(tmp_path: Path) -> None:
    it = make_method("film-transfer")
    with torch.no_grad():
        it.generator.film.add_(0.25)
        it.learner.own_weights()["blocks.1.norm.scale"].mul_(1.5)
    settings = header("film-transfer", it)
    save_changes(tmp_path / MODEL, it, settings)
    stored = load_file(tmp_path / MODEL)
    assert stored.keys() == {"generator.film", "learner.blocks.1.norm.scale"} | _drawn(settings)
    assert all(value.dtype == torch.float16 for value in stored.values())
    again = load(tmp_path).meta_learner.state_dict()
    for name, value in it.state_dict().items():
        torch.testing.assert_close(again[name], value, rtol=1e-3, atol=1e-3)
    save_tensors(tmp_path / MODEL, {**stored, "other": torch.zeros(2)}, {**settings, "changes": True})
    with pytest.raises(CheckpointError, match=r"for another learner: 1 tensors differ, first 'other'"):
        load(tmp_path)


def _drawn(settings: dict[str, Any]) -> set[str]:
    """Tensors that a seed draws, and that are therefore not those of a newly built meta-learner."""
    return set(changes(make_method("film-transfer"), settings))


def test_the_learner_alone_can_be_taken(tmp_path: Path) -> None:
    path, learner = saved(tmp_path), make_learner(seed=1)
    load_weights(learner, path, prefix="learner.")
    want = make_method("protonet").learner.state_dict()
    assert all(torch.equal(value, want[name]) for name, value in learner.state_dict().items())


@pytest.mark.parametrize("settings", [{"width": 4}, {"channels": 3}, {"name": "mlp"}])
def test_weights_of_another_learner_are_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    path, other = saved(tmp_path), make_learner(**settings)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"is a checkpoint for another learner: \d+ tensors differ, first '"):
        load_weights(other, path, prefix="learner.")
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


@pytest.mark.parametrize("keep", [0, 4, 100, -1, -1000])
def test_a_truncated_file(tmp_path: Path, keep: int) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert f"{str(path)!r} is not a whole safetensors file" in str(caught.value)
    assert "It may be truncated: copy it again, or resume the run that wrote it." in str(caught.value)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"a": 1}))
    torch.save({"a": torch.ones(2)}, tmp_path / "model.pth")
    for name in ("model.pt", "model.pth"):
        with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
            load(tmp_path / name)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"genmeta": "{"}, {"genmeta": "[" * 100_000}])
def test_a_safetensors_file_of_something_else(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "other.safetensors", metadata=metadata)
    with pytest.raises(CheckpointError, match="is a safetensors file, but not a genmeta checkpoint"):
        read_header(tmp_path / "other.safetensors")


@pytest.mark.parametrize("found", [SCHEMA + 1, "1", None])
def test_another_schema(tmp_path: Path, found: object) -> None:
    path = tmp_path / MODEL
    save_file({"a": torch.ones(2)}, path, metadata={"genmeta": json.dumps({"schema": found})})
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{str(path)!r} has checkpoint schema {found!r}; this version of genmeta reads schema {SCHEMA}. "
        "Use the version of genmeta that wrote it."
    )


@pytest.mark.parametrize("text", ["[1]", '"maml"', "3"])
def test_a_header_that_is_no_table(tmp_path: Path, text: str) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / MODEL, metadata={"genmeta": text})
    with pytest.raises(CheckpointError, match="has checkpoint schema"):
        load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "mamal"},
        {"method": ["maml"]},
        {"options": {"no_such_option": 1}},
        {"options": [1]},
        {"learner": {"name": "conv5"}},
        {"learner": {"depth": 4}},
        {"learner": "conv4"},
    ],
)
def test_a_header_that_describes_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = saved(tmp_path, **changes)
    with pytest.raises(CheckpointError, match="describes a model that cannot be built"):
        load(path)


def test_a_header_without_a_method(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / MODEL, metadata={"genmeta": json.dumps({"schema": SCHEMA})})
    with pytest.raises(CheckpointError, match="describes a model that cannot be built"):
        load(tmp_path)


def test_places_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"holds no {MODEL}. Give a finished run or a checkpoint file"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        load(tmp_path / "none.safetensors")

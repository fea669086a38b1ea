"""Training from settings to a checkpoint, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from genmeta.core.errors import CheckpointError, DataError, UsageError
from genmeta.core.randomness import seeded
from genmeta.core.settings import TrainConfig
from genmeta.core.types import ROWS, Examples
from genmeta.engine import Trained, load, train
from genmeta.methods import METHODS

Config = Callable[..., TrainConfig]


def step_size(trained: Trained) -> float:
    """α of the rows of a one-way task."""
    return float(trained.meta_learner.step_sizes(None, 1)[ROWS])


@pytest.mark.parametrize("name", ["protonet", "scratch"])
def test_the_run_directory_is_complete(name: str, config: Config) -> None:
    settings = config(name)
    trained = train(settings, progress=False)
    run = Path(settings.run)
    saved = json.loads((run / "config.json").read_text())
    assert saved["method"] == trained.method == name
    assert saved["training"]["width"] == 16
    assert saved["learner"]["size"] == 16
    assert (run / "last.ckpt").is_file()
    assert load(run).config == trained.config
    assert trained.config["result"]["steps"] == (6 if METHODS[name].objective else 0)


def test_the_same_seed_trains_the_same_and_another_one_does_not(config: Config) -> None:
    models = []
    for run, seed in (("a", 0), ("b", 0), ("c", 1)):
        settings = config("maml", run, seed=seed)
        train(settings, progress=False)
        models.append(load_file(Path(settings.run) / "model.safetensors"))
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert any(not torch.equal(models[0][name], models[2][name]) for name in models[0])


@pytest.mark.parametrize("name", ["scratch", "finetune"])
def test_tuned_settings_are_those_of_the_checkpoint(name: str, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []

    def score(*arguments: object, **more: object) -> Callable[[], float]:
        tried.append(0.0)
        return lambda: 1.0 if len(tried) == len(METHODS[name].tune) else 0.5

    import genmeta.engine.training as training

    settings = config(name, options={"inner_steps": 2})
    kept = training._validation
    monkeypatch.setattr(training, "_validation", lambda *a, **k: score() if "ways" in k else kept(*a, **k))
    trained = train(settings, progress=False)
    # the last choice scored best
    wanted = METHODS[name].tune[-1]
    assert {key: trained.config["options"][key] for key in wanted} == wanted
    assert trained.meta_learner.adapter.rule == wanted["inner_rule"]  # type: ignore[attr-defined]
    assert step_size(trained) == pytest.approx(wanted["inner_lr"])


def test_chosen_settings_are_not_tuned(config: Config) -> None:
    trained = train(config("scratch", options={"inner_steps": 2, "inner_lr": 0.07}), progress=False)
    assert trained.config["options"] == {"inner_steps": 2, "inner_lr": 0.07}
    assert step_size(trained) == pytest.approx(0.07)


def test_training_may_begin_from_another_runs_learner(config: Config) -> None:
    first = config("protonet", "first")
    train(first, progress=False)
    second = config("scratch", "second", init=first.run)
    learners = [
        trained.meta_learner.learner.state_dict() for trained in (load(first.run), train(second, progress=False))
    ]
    assert all(torch.equal(value, learners[1][name]) for name, value in learners[0].items())
    with pytest.raises(CheckpointError, match="is a checkpoint for another learner"):
        train(config("scratch", "third", init=first.run, width=32), progress=False)


def test_particles_may_begin_at_networks_that_were_trained_apart(config: Config) -> None:
    firsts = [config("protonet", name, seed=seed) for name, seed in (("one", 0), ("two", 1))]
    learners = [train(first, progress=False).meta_learner.learner.own_weights() for first in firsts]
    both = ",".join(first.run for first in firsts)
    options = {"generate": "all", "particles": 2, "inner_steps": 0}
    trained = train(config("bmaml", "both", init=both, lr=1e-12, options=options), progress=False)
    assert trained.config["learned_from"] == [firsts[0].data] * 3
    it = trained.meta_learner
    support = Examples(torch.rand(1, 3, 1, 16, 16, generator=seeded(0)), torch.arange(3)[None])
    with torch.no_grad():
        weights = it.start(support, 3, seeded(0)).weights
    for m in (0, 1):
        for name, value in learners[m].items():
            torch.testing.assert_close(weights[name][m], value, rtol=1e-4, atol=1e-6)
    for name, settings in (("protonet", {}), ("bmaml", {"particles": 2}), ("bmaml", {**options, "particles": 3})):
        with pytest.raises(UsageError, match=r"--init names 2 checkpoints.*generate=all and particles=2"):
            train(config(name, "refused", init=both, options=settings), progress=False)


def test_data_sets_may_be_mixed(config: Config, photos: Path) -> None:
    one = f"folder:{photos}?size=16&color=gray"
    trained = train(TrainConfig(**{**vars(config("finetune")), "data": f"{one}+{one}"}), progress=False)
    assert trained.config["result"]["steps"] == 6


def test_what_cannot_be_trained_leaves_nothing_behind(config: Config) -> None:
    for settings, kind in ((config(ways="7"), DataError), (config("maml", options={"inner_stesp": 2}), UsageError)):
        with pytest.raises(kind):
            train(settings, progress=False)
        assert not Path(settings.run).exists()


@pytest.mark.parametrize("name", ["steps", "tasks_per_batch", "validate_every", "validate_tasks"])
def test_numbers_are_one_or_more(name: str, config: Config) -> None:
    with pytest.raises(UsageError, match=f"{name} must be 1 or more, got 0."):
        config(**{name: 0})


@pytest.mark.parametrize("size", ["0", "-1", "many", "1.5"])
def test_a_chunk_is_auto_or_a_number_of_tasks(size: str, config: Config) -> None:
    with pytest.raises(UsageError, match=f"--tasks-per-chunk takes auto or a number of 1 or more, got '{size}'"):
        config("maml", tasks_per_chunk=size)
    assert config("maml").chunk_size == 0
    assert config("maml", tasks_per_chunk="8").chunk_size == 8


@pytest.mark.parametrize(
    "changes", [{"lr": 0.0}, {"clip": -1.0}, {"lr": float("nan")}, {"lr": float("inf")}, {"lr": 1e300}]
)
def test_rates_are_above_zero(changes: dict[str, float], config: Config) -> None:
    with pytest.raises(UsageError, match=r"lr and clip must be above 0, and lr at most 1e\+06, got"):
        config(**changes)

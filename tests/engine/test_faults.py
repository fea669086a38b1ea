"""Losses and gradients that are not finite: named, counted, and skipped or refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from toys import make_classes, make_learner, make_method

from genmeta.core.errors import DivergenceWarning, RunError, UsageError
from genmeta.core.settings import TrainConfig
from genmeta.data import open_scenes
from genmeta.engine import evaluate, train
from genmeta.engine.checkpoint import load_state
from genmeta.engine.diagnosis import verdict
from genmeta.engine.loop import LoopConfig, LoopResult, run_loop
from genmeta.engine.run_directory import RunDirectory
from genmeta.engine.runtime import check_precision
from genmeta.methods import build_method
from genmeta.methods.objectives import Loss
from genmeta.tasks import ClassificationTasks, DetectionTasks, SegmentationTasks
from genmeta.vision import VISUAL_TASKS

Config = Callable[..., TrainConfig]


class Toy(nn.Module):
    """A number drawn to 3 by two tasks a step; the second of step 3 goes wrong in one way or another."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.number, self.fault = nn.Parameter(torch.zeros(())), fault

    def losses(self, step: int) -> Iterator[Loss]:
        for task in range(2):
            value = (self.number - 3).square() / 2
            if step == 3 and task == 1:
                # the root of nothing has the value 0, and no derivative
                value = value * math.nan if self.fault == "loss" else value + (0 * self.number).abs().sqrt()
            yield Loss(value, {"loss": value.item()} if math.isfinite(value.item()) else {}, 0.5)


@pytest.fixture(params=[False, True], ids=["each loss is read at once", "a step's losses are read at its end"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How the loop reads losses: on a CPU, and on a device that it runs ahead of."""
    monkeypatch.setattr("genmeta.engine.loop.runs_ahead", lambda device: request.param)


def loop(path: Path, toy: Toy, policy: str, steps: int = 6) -> LoopResult:
    with RunDirectory(path, resume=True) as run:
        return run_loop(
            Fabric(accelerator="cpu", devices=1),
            toy,
            toy.losses,
            None,
            lambda: None,
            run,
            LoopConfig(steps, validate_every=2, on_nonfinite=policy),
            tasks_per_step=2,
            progress=False,
            describe=lambda step, start, stop: f"tasks {start * 2:.0f}-{stop * 2:.0f} of step {step}",
        )


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize(
    "fault,said",
    [
        ("loss", "The loss of tasks 1-2 of step 3 is nan."),
        ("gradient", "The gradient of tasks 1-2 of step 3 is not finite, though the loss is."),
    ],
)
def test_stop_names_the_task_and_the_step_and_leaves_the_weights_alone(tmp_path: Path, fault: str, said: str) -> None:
    toy = Toy(fault)
    with pytest.raises(RunError) as caught:
        loop(tmp_path, toy, "stop")
    todo = "Lower --lr or the method's inner_lr, or pass --on-nonfinite skip to leave such tasks out."
    assert str(caught.value) == f"{said} {todo}"
    assert load_state(tmp_path / "last.ckpt")["step"] == 2
    assert toy.number.isfinite()


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_skip_leaves_it_out_and_counts_it(tmp_path: Path, fault: str) -> None:
    toy = Toy(fault)
    assert loop(tmp_path, toy, "skip").finished
    assert 0 < toy.number.item() < 1
    assert load_state(tmp_path / "last.ckpt")["skipped"] == 1
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line.get("skipped") for line in lines] == [None, 1.0, 1.0]


@pytest.mark.usefixtures("reading")
def test_skipping_everything_is_no_training(tmp_path: Path) -> None:
    class Hopeless(Toy):
        def losses(self, step: int) -> Iterator[Loss]:
            yield Loss(self.number * math.inf, {}, 1.0)

    with pytest.raises(RunError, match="In each of the last 100 steps up to step 99 some loss or gradient was not fin"):
        loop(tmp_path, Hopeless("loss"), "skip", steps=200)


def test_when_losses_are_read_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = []
    for late in (False, True):
        monkeypatch.setattr("genmeta.engine.loop.runs_ahead", lambda device, late=late: late)
        toy = Toy("loss")
        loop(tmp_path / str(late), toy, "skip")
        lines = [json.loads(line) for line in (tmp_path / str(late) / "metrics.jsonl").read_text().splitlines()]
        ends.append((toy.number.item(), [line["train_loss"] for line in lines]))
    assert ends[0] == ends[1]


def test_without_names_fractions_are_named(tmp_path: Path) -> None:
    toy = Toy("loss")
    with (
        RunDirectory(tmp_path) as run,
        pytest.raises(RunError, match=r"of step 3 \(between 50% and 100% of its tasks\)"),
    ):
        run_loop(Fabric(accelerator="cpu", devices=1), toy, toy.losses, None, lambda: None, run, LoopConfig(6))


def test_a_diverging_inner_loop_is_reported_as_such(config: Config) -> None:
    with pytest.raises(RunError) as caught:
        train(config("maml", options={"inner_steps": 6, "inner_lr": 1e30}), progress=False)
    said = str(caught.value)
    assert said.startswith("The loss of task 0 of step 0 (classes train")
    assert "[task 0: its inner loop diverged: the support loss went 1.1, " in said
    assert said.endswith("or pass --on-nonfinite skip to leave such tasks out.")


@pytest.mark.parametrize(
    "losses,diverged", [([1.6, 0.9, 0.4], False), ([1.6], False), ([1.6, 40, math.nan], True), ([1.6, 3, 90], True)]
)
def test_what_counts_as_diverging(losses: list[float], diverged: bool) -> None:
    assert ("diverged" in verdict(losses)) == diverged


def test_tasks_that_diverge_in_evaluation_are_said_and_count_as_wrong() -> None:
    it = make_method("maml", options={"inner_steps": 3, "inner_lr": 1e30})
    tasks = ClassificationTasks(make_classes(), "test", ways=3, shots=1, queries=2)
    with pytest.warns(
        DivergenceWarning, match=r"After 3 steps of adaptation 4 of 4 tasks have answers that are not fin"
    ):
        scores = evaluate(it, tasks, n_tasks=4, steps=(0, 3), time_tasks=0)
    assert scores[3].accuracy.tolist() == [0.0] * 4
    assert np.isinf(scores[3].nll).all()
    assert scores[3].ece == 0.0
    assert np.isfinite(scores[0].nll).all()


@pytest.mark.parametrize("name,make_tasks", [("segmentation", SegmentationTasks), ("detection", DetectionTasks)])
def test_the_same_of_visual_tasks_whose_answers_are_maps(name: str, make_tasks: type) -> None:
    vision = VISUAL_TASKS[name]()
    learner = make_learner("unet", channels=3, size=16, extra=vision.extra_channels)
    it = build_method("maml", learner, vision=vision, options={"inner_steps": 3, "inner_lr": 1e30})
    tasks = make_tasks(open_scenes("scenes", size=16), "test", ways=2, shots=1, queries=2)
    with pytest.warns(
        DivergenceWarning, match=r"After 3 steps of adaptation 3 of 3 tasks have answers that are not fin"
    ):
        scores = evaluate(it, tasks, n_tasks=3, steps=(0, 3), time_tasks=0)
    assert scores[3].accuracy.tolist() == [0.0] * 3
    assert not scores[3].correct.any()
    assert not scores[3].confidence.any()
    assert all(np.nan_to_num(values).tolist() == [0.0] * 3 for values in scores[3].extra.values())
    if name == "segmentation":
        assert np.isinf(scores[3].nll).all()
        assert np.isfinite(scores[0].nll).all()


def test_an_unknown_policy(config: Config) -> None:
    with pytest.raises(UsageError, match="Unknown value of on_nonfinite 'ignore'"):
        config(on_nonfinite="ignore")


def test_mixed_precision_is_refused(config: Config) -> None:
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(UsageError, match="automatic mixed precision is on"),
    ):
        train(config(), progress=False)
    with pytest.raises(UsageError, match=r"Weights of torch\.float16 cannot be used: .* Call \.float\(\) on it\."):
        check_precision(nn.ParameterList([torch.zeros(2, dtype=torch.float16)]))
    check_precision(nn.ParameterList([torch.zeros(2, dtype=torch.float64)]))

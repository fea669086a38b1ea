"""The loop: which model is kept, what the log holds, when it stops."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from genmeta.core.errors import RunError
from genmeta.engine.checkpoint import load_state
from genmeta.engine.loop import LoopConfig, LoopResult, run_loop
from genmeta.engine.run_directory import RunDirectory
from genmeta.methods.objectives import Loss, PlayerConfig


class Toy(nn.Module):
    """A number that is drawn to 3, and a critic's number that is drawn to −1."""

    def __init__(self) -> None:
        super().__init__()
        self.number, self.critic = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def losses(self, step: int) -> Iterator[Loss]:
        yield Loss((self.critic + 1).square(), {"critic": self.critic.item()}, 1.0, "critic", closes=True)
        for share in (0.25, 0.75):
            value = (self.number - 3).square() * share
            yield Loss(value, {"loss": float(step) * (1 if share == 0.25 else 2)}, share)


def loop(
    run: RunDirectory, toy: Toy, scores: list[float] | None, kept: list[float], steps: int = 6, **config: float
) -> LoopResult:
    left = iter(scores or ())
    return run_loop(
        Fabric(accelerator="cpu", devices=1),
        toy,
        toy.losses,
        None if scores is None else lambda: next(left),
        lambda: kept.append(toy.number.item()),
        run,
        LoopConfig(steps, validate_every=2, **config),  # type: ignore[arg-type]
        players={"critic": PlayerConfig([toy.critic], lr=0.1)},
        progress=False,
    )


def log(run: RunDirectory) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "scores,keeps,best",
    [([0.5, 0.9, 0.3], [2, 4], 0.9), ([0.5, 0.5, 0.4], [2, 4], 0.5), ([0.1, 0.2, 0.3], [2, 4, 6], 0.3)],
)
def test_the_best_model_is_kept_and_the_last_state(
    tmp_path: Path, scores: list[float], keeps: list[int], best: float
) -> None:
    toy, kept, numbers = Toy(), [], []
    number = toy.losses

    def noted(step: int) -> Iterator[Loss]:
        numbers.append(toy.number.item())
        return number(step)

    toy.losses = noted  # type: ignore[method-assign]
    with RunDirectory(tmp_path) as run:
        result = loop(run, toy, scores, kept)
        state = load_state(run.state_path)
    after = [*numbers[1:], toy.number.item()]  # after 1, 2, ... steps
    assert kept == [after[step - 1] for step in keeps]
    assert (result.step, result.finished, result.best) == (6, True, best)
    assert state["step"] == 6
    assert state["module"]["number"].item() == toy.number.item()


def test_without_validation_the_last_model_is_kept(tmp_path: Path) -> None:
    toy, kept = Toy(), []
    with RunDirectory(tmp_path) as run:
        result = loop(run, toy, None, kept, steps=5)
    assert kept[-1] == toy.number.item()
    assert math.isnan(result.best)


def test_the_log_holds_means_weighted_by_share(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as run:
        loop(run, Toy(), [0.1, 0.2, 0.3], [])
    lines = log(run)
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert [line["val_score"] for line in lines] == [0.1, 0.2, 0.3]
    # step s logs s on a quarter of the batch and 2 s on the rest; steps 0 and 1, 2 and 3, 4 and 5
    assert [line["train_loss"] for line in lines] == pytest.approx([0.5 * 1.75, 2.5 * 1.75, 4.5 * 1.75])
    assert list((tmp_path / "tensorboard").iterdir())


def test_players_step_on_their_own(tmp_path: Path) -> None:
    toy = Toy()
    with RunDirectory(tmp_path) as run:
        loop(run, toy, None, [], lr=0.01)
    assert -0.7 < toy.critic.item() < -0.1  # up to 0.1 a step
    assert 0.01 < toy.number.item() < 0.06  # up to 0.01 a step


def test_the_learning_rate_warms_up_and_ends_low(tmp_path: Path) -> None:
    rates = []

    class Watched(Toy):
        def losses(self, step: int) -> Iterator[Loss]:
            rates.append(self.number.item())
            yield Loss(self.number * -1.0, {}, 1.0)

    toy = Watched()
    with RunDirectory(tmp_path) as run:
        loop(run, toy, None, [], steps=200, lr=0.01)
    moved = torch.tensor([*rates, toy.number.item()]).diff()  # Adam moves by the rate when the gradient is constant
    assert moved[0] == pytest.approx(0.0025, rel=1e-3)
    assert moved[:5].diff().min() >= -1e-6
    assert moved.max() == pytest.approx(0.01, rel=1e-2)
    assert moved[4:].diff().max() < 1e-6
    assert 1e-4 < moved[-1] < 3e-4


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path, value: float) -> None:
    class Broken(Toy):
        def losses(self, step: int) -> Iterator[Loss]:
            yield Loss(self.number * (value if step == 3 else 1.0), {}, 1.0)

    toy = Broken()
    toy.number.data.fill_(1.0)
    with RunDirectory(tmp_path / "run") as run:
        with pytest.raises(RunError) as caught:
            loop(run, toy, [0.1, 0.2, 0.3], [])
        assert load_state(run.state_path)["step"] == 2
    said = f"The loss of step 3 (between 0% and 100% of its tasks) is {value}. Lower --lr or the method's inner_lr,"
    assert str(caught.value).startswith(said)


def test_lines_past_the_saved_state_are_dropped(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as run:
        (tmp_path / "metrics.jsonl").write_text('{"step": 2}\n{"step": 4}\n{"step": 6}\n{"st')
        run.truncate_metrics(4)
    assert [line["step"] for line in log(run)] == [2, 4]


def test_unreadable_settings(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as run:
        assert run.read_config() == {}
        (tmp_path / "config.json").write_text("{")
        with pytest.raises(RunError, match=r"config\.json' is not readable JSON .*Start a new run\."):
            run.read_config()


def test_a_run_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Failed creating the run directory"):
        RunDirectory(tmp_path / "file")

"""A run that was interrupted and resumed ends as the straight run, bit for bit."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from runs import check_same_runs

from genmeta.core.errors import CheckpointError, RunError, UsageError
from genmeta.core.settings import TrainConfig
from genmeta.core.types import Task
from genmeta.engine import train
from genmeta.engine.checkpoint import load_state
from genmeta.engine.run_directory import RunDirectory
from genmeta.methods import list_methods
from genmeta.tasks import ClassificationTasks

Config = Callable[..., TrainConfig]
TRAINED = [method.name for method in list_methods() if method.objective is not None]


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, how: Callable[[], None]) -> None:
    """Something happens while the tasks of a meta-step are drawn (validation draws one at a time)."""
    sample, seen = ClassificationTasks.sample, []

    def sample_or_stop(self: ClassificationTasks, n_tasks: int, *, rng: torch.Generator) -> Task:
        if self.split == "train" and n_tasks == 2:
            seen.append(n_tasks)
            if len(seen) == step + 1:
                how()
        return sample(self, n_tasks, rng=rng)

    monkeypatch.setattr(ClassificationTasks, "sample", sample_or_stop)


def ask_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def fail() -> None:
    raise OSError("power cut")


@pytest.mark.parametrize("name", TRAINED)
def test_interrupted_and_resumed(name: str, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = config(name, "straight")
    train(straight, progress=False)
    broken = config(name, "broken")
    with monkeypatch.context() as patch:
        stop_at(patch, 3, ask_to_stop)
        with pytest.raises(KeyboardInterrupt):
            train(broken, progress=False)
    # the step that was under way is finished and saved
    assert load_state(Path(broken.run) / "last.ckpt")["step"] == 4
    train(broken, resume=True, progress=False)
    check_same_runs(straight.run, broken.run)


@pytest.mark.parametrize("step", [0, 1, 5])
@pytest.mark.parametrize("name", ["protonet", "hypernet"])
def test_crashed_and_resumed(name: str, step: int, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = config(name, "straight")
    train(straight, progress=False)
    broken = config(name, "broken")
    with monkeypatch.context() as patch:
        stop_at(patch, step, fail)
        with pytest.raises(OSError, match="power cut"):
            train(broken, progress=False)
    assert load_state(Path(broken.run) / "last.ckpt")["step"] == step - step % 2
    train(broken, resume=True, progress=False)
    check_same_runs(straight.run, broken.run)


def test_asking_twice_stops_at_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask_twice() -> None:
        ask_to_stop()
        ask_to_stop()

    settings = config()
    stop_at(monkeypatch, 3, ask_twice)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(settings, progress=False)
    assert signal.getsignal(signal.SIGINT) is before
    assert load_state(Path(settings.run) / "last.ckpt")["step"] == 2


def test_a_finished_run_has_nothing_left_to_do(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config()
    first = train(settings, progress=False)
    stop_at(monkeypatch, 0, fail)
    again = train(settings, resume=True, progress=False)
    assert again.config == first.config
    assert again.config["result"]["steps"] == 6
    assert torch.equal(*(t.meta_learner.learner.blocks[0]["conv"].weight for t in (first, again)))


def test_to_resume_what_has_not_begun_is_to_begin(config: Config) -> None:
    settings = config()
    assert train(settings, resume=True, progress=False).config["result"]["steps"] == 6


def test_a_run_that_has_begun_is_not_written_over(config: Config) -> None:
    settings = config()
    train(settings, progress=False)
    before = (Path(settings.run) / "model.safetensors").read_bytes()
    with pytest.raises(RunError) as caught:
        train(settings, progress=False)
    assert str(caught.value) == (
        f"The run directory {settings.run!r} already holds a run. Pass --resume to go on with it, "
        "or choose another --run."
    )
    assert (Path(settings.run) / "model.safetensors").read_bytes() == before


def test_settings_that_cannot_take_the_first_step_leave_no_run(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise UsageError("These settings cannot work.")

    for step in (0, 3):
        settings = config(run=f"at-{step}")
        with monkeypatch.context() as patch:
            stop_at(patch, step, refuse)
            with pytest.raises(UsageError, match="cannot work"):
                train(settings, progress=False)
        begun = [(Path(settings.run) / name).exists() for name in ("last.ckpt", "config.json")]
        assert begun == [step > 0] * 2
    # other settings begin where the first could not
    assert train(config(run="at-0", lr=0.5), progress=False).config["result"]["steps"] == 6
    # and a run that had begun is not taken away
    with monkeypatch.context() as patch:
        stop_at(patch, 0, refuse)
        with pytest.raises(UsageError, match="cannot work"):
            train(config(run="at-3"), resume=True, progress=False)
    assert load_state(Path(config(run="at-3").run) / "last.ckpt")["step"] == 2


def test_a_run_directory_has_a_name() -> None:
    with pytest.raises(RunError) as caught:
        RunDirectory("")
    assert str(caught.value) == "The run directory has no name: it is ''. Give it one, as in --run runs/mine."


def test_a_run_directory_serves_one_process(config: Config) -> None:
    settings = config()
    with RunDirectory(settings.run), pytest.raises(RunError) as caught:
        train(settings, progress=False)
    assert str(caught.value) == (
        f"The run directory {settings.run!r} is in use by another process. Wait for it, or choose another --run."
    )
    train(settings, progress=False)


def test_resuming_with_other_settings_is_refused(config: Config) -> None:
    settings = config()
    train(settings, progress=False)
    for change, begun in (({"lr": 0.5}, "lr=0.001, not 0.5"), ({"seed": 3}, "seed=0, not 3")):
        with pytest.raises(RunError) as caught:
            train(config(**change), resume=True, progress=False)
        assert str(caught.value).startswith(
            f"The run {settings.run!r} was begun with {begun}. Resume with the settings"
        )
    train(config(threads=1, download=True), resume=True, progress=False)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut"])
def test_a_damaged_state_is_an_error_not_a_fresh_start(config: Config, content: bytes) -> None:
    settings = config()
    with RunDirectory(settings.run) as run:
        run.state_path.write_bytes(content)
        run.write_config({"training": {**vars(settings)}})
    with pytest.raises(CheckpointError, match=r"last\.ckpt' is damaged or not a training state .* Start a new run\."):
        train(settings, resume=True, progress=False)


def test_a_state_cannot_run_code(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {tmp_path / 'harm'}",)

    torch.save({"step": Hostile()}, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match="damaged or not a training state"):
        load_state(tmp_path / "last.ckpt")
    assert not (tmp_path / "harm").exists()


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"There is nothing to resume: no .*Start the run without --resume\."):
        load_state(tmp_path / "last.ckpt")

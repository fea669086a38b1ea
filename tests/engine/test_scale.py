"""Several processes that share the tasks of a step end where one process ends; one that dies is missed at once."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from runs import forked
from toys import make_task

from genmeta.core.errors import RunError, UsageError
from genmeta.core.randomness import seeded
from genmeta.core.settings import TrainConfig
from genmeta.engine import load, train
from genmeta.engine.checkpoint import load_state
from genmeta.engine.processes import find_place, join, threads_each
from genmeta.engine.workers import Workers

Config = Callable[..., TrainConfig]


def metrics(run: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]


def test_two_and_four_processes_end_where_one_does(config: Config, tmp_path: Path) -> None:
    # hypernet draws nothing at random; a neural process and an adversarial bank with a critic do
    runs = {
        (name, size): config(name, f"{name}{size}", tasks_per_batch=5, steps=4, **more)
        for name, more in (("hypernet", {}), ("anpml", {}), ("maml-gan", {}))
        for size in ((1, 2, 4) if name == "anpml" else (1, 2))
    }
    jobs = [{"config": dataclasses.asdict(settings), "size": size} for (_, size), settings in runs.items()]
    ran, errors = forked(jobs, tmp_path)
    assert all(code == 0 for job in ran for code in job["codes"]), errors
    for (name, size), settings in runs.items():
        one = runs[name, 1]
        first, other = (load(run.run).meta_learner for run in (one, settings))
        near = [
            torch.isclose(value.double(), other.state_dict()[tensor].double(), rtol=1e-3, atol=1e-5).double().mean()
            for tensor, value in first.state_dict().items()
        ]
        # a tensor without effect (what is added to all class rows alike) has a gradient of rounding errors, which Adam
        # blows up to steps of full size
        assert torch.stack(near).mean() > 0.9, f"{name} {size}"
        task = make_task(size=16).to(torch.float32)
        with torch.no_grad():
            answers = [it.answers(task, it.inner_steps, seeded(1))[0][it.inner_steps] for it in (first, other)]
        torch.testing.assert_close(*answers, rtol=1e-3, atol=1e-3)
        for alone, shared in zip(metrics(one.run), metrics(settings.run), strict=True):
            assert shared == pytest.approx({**alone, "seconds": shared["seconds"]}, rel=1e-3, abs=1e-4)


def test_a_process_that_dies_ends_the_run_and_it_resumes(config: Config, tmp_path: Path) -> None:
    """Through the command, which starts its second process itself."""
    settings = config("protonet", "shared", steps=400, tasks_per_batch=4, validate_every=20)
    command = [sys.executable, "-m", "genmeta", "train", "protonet", "--data", settings.data, "--run", settings.run]
    flags = {"ways": 3, "queries": 2, "steps": 400, "tasks-per-batch": 4, "width": 16, "validate-every": 20}
    flags |= {"validate-tasks": 4, "device": "cpu", "devices": 2}
    for name, value in flags.items():
        command += [f"--{name}", str(value)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        child = wait_for_child(process.pid)
        state = Path(settings.run) / "last.ckpt"
        deadline = time.monotonic() + 200
        while not state.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(child, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 2, errors
    assert "error: " in errors
    assert "run the same command with --resume" in errors
    assert "Traceback" not in errors
    begun = load_state(state)["step"]
    assert begun < 400
    done = train(dataclasses.replace(settings, steps=400, options={}), resume=True, progress=False)
    assert done.config["result"]["steps"] == 400


@pytest.mark.slow
def test_torchrun_starts_a_run_again_when_a_process_dies(config: Config, tmp_path: Path) -> None:
    settings = config("protonet", "elastic", steps=60, tasks_per_batch=4, validate_every=4)
    straight = dataclasses.replace(settings, run=str(tmp_path / "straight"))
    train(straight, progress=False)
    launch = ["--standalone", "--nproc-per-node", "2", "--max-restarts", "3", "-m", "--"]
    flags = {"data": settings.data, "run": settings.run, "ways": 3, "queries": 2, "steps": 60, "tasks-per-batch": 4}
    flags |= {"width": 16, "validate-every": 4, "validate-tasks": 4, "device": "cpu"}
    command = [sys.executable, "-m", "torch.distributed.run", *launch, "genmeta", "train", "protonet"]
    command += [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    process = subprocess.Popen([*command, "--resume"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        child = wait_for_child(process.pid, "\0-m\0genmeta\0")
        state = Path(settings.run) / "last.ckpt"
        while not (state.exists() and load_state(state)["step"] >= 4) and process.poll() is None:
            time.sleep(0.02)
        os.kill(child, signal.SIGKILL)
        _, errors = process.communicate(timeout=250)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert load(settings.run).config["result"]["steps"] == 60
    for alone, shared in zip(metrics(straight.run), metrics(settings.run), strict=True):
        # rounding grows over sixty steps, and one of sixty answers on the border may fall to the other side
        assert shared["train_loss"] == pytest.approx(alone["train_loss"], rel=0.05, abs=2e-3)
        assert shared["val_score"] == pytest.approx(alone["val_score"], abs=0.035)


def wait_for_child(parent: int, started_by: str = "genmeta.__main__") -> int:
    """The process that shares the work of ``parent``, known by what its command holds.

    A compiler's command may name a folder called genmeta, and a process about to become git still has the parent's
    command; the second worker is started by the name of the module's file, and torchrun's workers as ``-m genmeta``.
    """
    threads, deadline = Path(f"/proc/{parent}/task"), time.monotonic() + 200
    while time.monotonic() < deadline:
        children = [child for place in threads.glob("*/children") for child in place.read_text().split()]
        for child in reversed(children):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # gone already
                if started_by in Path(f"/proc/{child}/cmdline").read_text():
                    return int(child)
        time.sleep(0.05)
    raise AssertionError("no second process was started")


def test_shares_of_tasks_differ_by_one_at_most() -> None:
    for size in (1, 2, 3, 4):
        cuts = [Workers(rank, size).share(10) for rank in range(size)]
        assert [cut[0] for cut in cuts] == [0, *(cut[1] for cut in cuts[:-1])]
        assert cuts[-1][1] == 10
        assert {stop - start for start, stop in cuts} <= {10 // size, 10 // size + 1}


def test_alone_nothing_is_sent_and_nothing_changes() -> None:
    alone, p = Workers(), torch.nn.Parameter(torch.ones(2))
    p.grad = torch.full((2,), 3.0)
    assert alone.add([p], 0.5, [1.0, 2.0]) == [1.0, 2.0]
    assert p.grad.tolist() == [3.0, 3.0]
    assert (alone.gather("a"), alone.told("b"), alone.leads) == (["a"], "b", True)


def test_threads_are_shared_among_the_processes_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    place = find_place(4, 1)
    assert [threads_each(0, place), threads_each(3, place), threads_each(0, find_place(1, 1))] == [2, 3, 0]


def test_the_place_among_processes_that_others_started(monkeypatch: pytest.MonkeyPatch) -> None:
    started = {"TORCHELASTIC_RUN_ID": "x", "RANK": 5, "LOCAL_RANK": 1, "WORLD_SIZE": 8, "LOCAL_WORLD_SIZE": 4}
    for name, value in started.items():
        monkeypatch.setenv(name, str(value))
    place = find_place(0, 1)
    assert (place.rank, place.local_rank, place.devices, place.nodes, place.size) == (5, 1, 4, 2, 8)
    assert place.outside
    assert not place.leads
    with pytest.raises(UsageError, match="torchrun started 8 processes, 4 on this machine, but --devices 2 --nodes 1"):
        find_place(2, 1)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    for name, value in {"SLURM_JOB_NAME": "run", "SLURM_NTASKS": 8, "SLURM_PROCID": 6, "SLURM_LOCALID": 2}.items():
        monkeypatch.setenv(name, str(value))
    place = find_place(4, 2)
    assert (place.rank, place.local_rank, place.size, place.outside) == (6, 2, 8, True)
    with pytest.raises(UsageError, match="Slurm started 8 tasks, but --devices 4 --nodes 1 asks for 4"):
        find_place(4, 1)


def test_several_machines_need_to_know_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UsageError, match="--nodes 2 needs to know the first machine: set MASTER_ADDR"):
        join(find_place(1, 2), "cpu")


def test_too_few_tasks_to_share(config: Config) -> None:
    with pytest.raises(UsageError, match=r"tasks_per_batch=2 cannot be shared by 3 processes: .* Raise --tasks-per"):
        config(devices=3)
    with pytest.raises(UsageError, match="devices must be 0 or more and nodes 1 or more, got -1 and 1"):
        config(devices=-1)


def test_a_lost_process_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **more: object) -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(torch.distributed, "broadcast_object_list", broken)
    with pytest.raises(RunError) as caught:
        Workers(0, 2).meet()
    assert str(caught.value) == (
        "Process 0 of 2 lost another process of this run, which has died or cannot be reached any more (Connection "
        "closed by peer). The last saved state is whole: run the same command with --resume, or let torchrun do it "
        "with --max-restarts."
    )

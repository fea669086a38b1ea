"""The scripts under benchmarks/ run in small, on the CPU and without other libraries. No test checks a time."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from toys import make_classes

ROOT = Path(__file__).parents[1]
SCRIPTS = ("gpu", "loaders", "peers", "reach", "run", "scaling", "work")


@pytest.fixture(scope="module")
def scripts() -> Any:
    """The modules by name; they import each other as a folder of scripts does."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield {name: importlib.import_module(name) for name in SCRIPTS}
    sys.path.remove(str(ROOT / "benchmarks"))
    for name in SCRIPTS:
        sys.modules.pop(name, None)


@pytest.fixture
def alone(scripts: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """As where no other library is installed."""
    monkeypatch.setattr(scripts["peers"], "available", lambda: ({}, {"learn2learn": "not here"}))
    with torch.random.fork_rng(devices=[]):  # torch's own layers take their weights from the global generator
        yield scripts


def test_the_gpu_part_runs_on_a_cpu(alone: dict[str, ModuleType]) -> None:
    gpu, saved = alone["gpu"], []
    cell = alone["work"].Cell(5, 1, True, 1, tasks=2)
    gpu.measure(gpu.Meter("cpu"), [cell], 1, 64, lambda made: saved.append(json.loads(json.dumps(made))), width=16)
    made = saved[-1]
    assert made["measured_on"] == "cpu (a rehearsal)"
    assert made["skipped"] == {"learn2learn": "not here"}
    (row,) = made["grid"]
    assert set(row["seconds"]) == set(row["share_of_gemm_peak"]) == set(row["peak_mib"])
    assert set(row["speed_ratio"]) == {"plain", "genmeta, bf16"}
    assert row["largest_relative_gradient_difference"]["plain"] < 1e-6
    assert row["skipped"] == {"genmeta, CUDA graph": "there are no CUDA graphs on a CPU"}
    assert [chunk["tasks_per_chunk"] for chunk in made["chunks"]] == [1, 2]
    assert len(made["methods"]) == 8
    assert not torch.backends.cuda.matmul.allow_tf32


def test_without_a_gpu_it_says_so(scripts: dict[str, ModuleType]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit, match="There is no GPU that torch can use here"):
        scripts["gpu"].main([])


def test_a_row_of_the_race_to_an_accuracy(alone: dict[str, ModuleType]) -> None:
    reach = alone["reach"]
    row = reach.measure("protonet", cap=0.5, first=0.1, episodes=5, data="glyphs", width=16)
    assert row["curve"]
    assert row["settings"]["tasks_per_batch"] == 16
    assert row["reached_cpu_seconds"] is None or row["curve"][-1]["accuracy"] >= reach.GOAL
    assert reach.picture([{"row": "protonet", **row}]).count("<svg") == 1
    with pytest.raises(SystemExit, match="learn2learn cannot be imported: not here"):
        reach.measure("learn2learn", cap=0.5, first=0.1, episodes=5, data="glyphs", width=16)


def test_the_race_takes_the_steps_that_its_cap_buys(
    scripts: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    reach, clock, taken = scripts["reach"], [0.0], []
    monkeypatch.setattr(reach.time, "process_time", lambda: clock[0])

    def step(number: int, total: int) -> None:
        clock[0] += 1.0
        taken.append((number, total))

    row = reach.reach(lambda: reach.Trainee(step, lambda: np.array([50.0, 60.0]), {}), 5.0, 2.0, lambda row: None)
    assert row["steps_of_schedule"] == 5
    assert taken[2:] == [(number, 5) for number in range(5)]  # the first two foretell how many
    assert row["curve"][-1]["steps"] == 5


def test_the_loaders(alone: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone["loaders"], "EPISODES", 2)
    monkeypatch.setattr(alone["loaders"], "TOGETHER", 2)
    monkeypatch.setattr(alone["loaders"], "open_dataset", lambda spec: make_classes(n_classes=40, n_images=20))
    rows = alone["loaders"].loaders(alone["run"].interleaved, 1, peer=False)
    assert [row["task"] for row in rows] == ["5w1s", "20w5s"]
    assert set(rows[0]["episodes_per_cpu_second"]) == {"genmeta, 2 at a time", "genmeta, 1 at a time"}


def test_every_part_of_the_result_file_says_how_it_was_made(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    earlier = {"command": "python benchmarks/run.py", "commit": "0" * 40}
    out.write_text(json.dumps({"schema": "genmeta.speed/3", "made": {"norms": earlier}, "norms": {"batch": 1.0}}))
    command = [sys.executable, "benchmarks/run.py", "--rounds", "1", "--out", str(out), "--only", "adaptation_ms"]
    environment = {**os.environ, "GENMETA_PEERS": str(tmp_path)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    found = json.loads(out.read_text())
    assert found["adaptation_ms"]
    assert found["made"]["adaptation_ms"]["command"].endswith("--only adaptation_ms")
    assert {"commit", "date", "machine", "rounds", "gemm_peak_gflops"} <= set(found["made"]["adaptation_ms"])
    assert found["made"]["norms"] == earlier
    assert found["norms"] == {"batch": 1.0}

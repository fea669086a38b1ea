"""What tests of whole runs share: runs in forked processes, and whether two runs ended alike."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from genmeta.engine.checkpoint import load_state


def forked(jobs: list[dict[str, Any]], directory: Path, seconds: float = 280) -> tuple[list[dict[str, Any]], str]:
    """What happened in each job, see ``zygote.py``, and what their processes wrote on stderr."""
    (directory / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, str(Path(__file__).with_name("zygote.py")), str(directory / "jobs.json")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout), ran.stderr


def tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor and number of nested plain data, by its place."""
    if isinstance(value, dict):
        for key, below in value.items():
            if key not in ("seconds", "cpu_seconds", "window"):
                yield from tensors(below, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for i, below in enumerate(value):
            yield from tensors(below, f"{name}.{i}")
    elif isinstance(value, (Tensor, int, float)):
        yield name, torch.as_tensor(value)


def metrics(run: str) -> list[dict[str, float]]:
    lines = (Path(run) / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def check_same_runs(first: str, second: str) -> None:
    states = [dict(tensors(load_state(Path(run) / "last.ckpt"))) for run in (first, second)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    models = [load_file(Path(run) / "model.safetensors") for run in (first, second)]
    assert all(torch.equal(value, models[1][name]) for name, value in models[0].items())
    assert metrics(first) == metrics(second)

"""Every example runs, in small, and says what its page promises."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import document_stage
from genmeta.methods import METHODS

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: str) -> Any:
    """Runs an example in this process, as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        return module.main(list(arguments))
    finally:
        del sys.modules[spec.name]


def test_there_is_a_test_of_every_example_and_none_is_long() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py"))
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.stem}' in tests, path.name
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines < (120 if path.stem == "from_scratch" else 80), path.name


def test_the_idea_from_scratch() -> None:
    text = (EXAMPLES / "from_scratch.py").read_text(encoding="utf-8")
    assert "import genmeta" not in text
    done = subprocess.run(
        [sys.executable, EXAMPLES / "from_scratch.py"], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^(generated|zero) start +0 steps: ([\d.]+) %", done.stdout, re.MULTILINE))
    assert float(rows["zero"]) < 34  # three classes
    assert float(rows["generated"]) > 60  # written, before any step


def test_first_task() -> None:
    assert run("first_task", "--tasks", "5") > 0.7  # ten classes


def test_own_images() -> None:
    assert run("own_images") > 0.8  # three classes


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stage")
    document_stage.build(root)
    return root


def test_own_generator(stage: Path) -> None:
    data = f"folder:{stage / 'folder'}?size=12&color=gray"
    try:
        found = run("own_generator", "--data", data, "--target", data, "--steps", "2", "--tasks", "5")
    finally:
        METHODS._items.pop("row-mixture", None)
    assert list(found) == ["protonet", "hypernet", "row-mixture"]
    assert found["row-mixture"] > 0.3  # five classes, and it begins at prototypes


def test_segmentation(stage: Path) -> None:
    data = f"scenes:{stage / 'shapes'}?size=32"
    assert 0 <= run("segmentation", "--data", data, "--steps", "2", "--tasks", "2") <= 1


def test_detection(stage: Path) -> None:
    data = f"scenes:{stage / 'shapes'}?size=32"
    assert run("detection", "--data", data, "--steps", "2", "--threshold", "0") > 0


def test_domain_shift(stage: Path) -> None:
    data = ("--data", f"domains:{stage / 'domains'}?size=12", "--hold-out", "sketch")
    assert list(run("domain_shift", *data, "--steps", "2", "--shots", "4", "--episodes", "2")) == ["erm", "domain-film"]


def test_incremental() -> None:
    last = run("incremental", "--streams", "1")
    assert last["written rows"] > last["fine-tuning"]


def test_two_processes_end_as_one(stage: Path, tmp_path: Path) -> None:
    data = f"folder:{stage / 'folder'}?size=12&color=gray"
    small = ("--steps", "2", "--width", "16", "--data", data, "--method", "protonet")
    run("distributed", *small, "--run", str(tmp_path / "one"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, EXAMPLES / "distributed.py", *small, "--devices", "2", "--run", tmp_path / "two"],
        capture_output=True, text=True, check=False, timeout=280, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("last line of metrics.jsonl") == 1
    ends = []
    for name in ("one", "two"):
        lines = (tmp_path / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        ends.append([row["train_loss"] for row in map(json.loads, lines) if "train_loss" in row][-1])
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)


def test_multi_task(stage: Path) -> None:
    data = f"folder:{stage / 'folder'}?size=16&color=rgb+scenes:{stage / 'shapes'}"
    found = run("multi_task", "--data", data, "--steps", "3", "--tasks", "2")
    assert list(found) == ["classification", "segmentation", "detection"]
    assert all(0 <= score <= 1 for score in found.values())

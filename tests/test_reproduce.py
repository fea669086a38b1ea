"""A row of a result file can be trained and scored again from the file alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import document_stage
from genmeta.core.files import write_json
from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.scenarios import compare

sys.path.append(str(Path(__file__).parents[1] / "tools"))
import reproduce


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result file of two rows, the second of which starts from the first."""
    root = tmp_path_factory.mktemp("reproduce")
    document_stage.build(root)
    data = f"folder:{root / 'folder'}?size=12&color=gray"
    small = {"data": data, "steps": 1, "tasks_per_batch": 2, "width": 16, "validate_tasks": 2, "threads": 1}
    runs = {
        "protonet": TrainConfig(method="protonet", run=str(root / "protonet"), **small),
        "hypernet": TrainConfig(
            method="hypernet", run=str(root / "hypernet"), init=str(root / "protonet"), lr=0.01, **small
        ),
    }
    (scored,) = compare(runs, [EvaluationConfig(data=data, tasks=4, adapt_steps="0,1")], progress=False)
    write_json(root / "results.json", scored.as_json())
    return root / "results.json"


def test_a_row_and_what_it_starts_from_come_out_the_same(file: Path, tmp_path: Path) -> None:
    lines = reproduce.reproduce(file, ["hypernet"], tmp_path / "again")
    assert [line[:2] for line in lines] == [("protonet", "0"), ("protonet", "1"), ("hypernet", "0"), ("hypernet", "1")]
    for _, _, recorded, now, near in lines:
        assert recorded == now
        assert near


def test_what_cannot_be_rerun_is_said(file: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has no row maml; it has protonet, hypernet"):
        reproduce.reproduce(file, ["maml"], tmp_path)
    found = json.loads(file.read_text(encoding="utf-8"))
    other = tmp_path / "other" / "results.json"
    other.parent.mkdir()
    found["methods"]["hypernet"]["training"]["init"] = "elsewhere"
    other.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(SystemExit, match="starts from elsewhere, which is no row of this file"):
        reproduce.reproduce(other, ["hypernet"], tmp_path)
    found["schema"] = "genmeta.photos/1"
    other.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(SystemExit, match="made by a script of its own"):
        reproduce.reproduce(other, [], tmp_path)


def test_every_recorded_comparison_can_still_be_read(tmp_path: Path) -> None:
    read = 0
    for path in (reproduce.ROOT / "results").glob("omniglot*/results.json"):
        found = json.loads(path.read_text(encoding="utf-8"))
        for name in found["methods"]:
            training = found["methods"][name]["training"]
            if not training["init"] or training["init"] in {e["training"]["run"] for e in found["methods"].values()}:
                assert name in reproduce.recipes(found, [name], tmp_path)
                read += 1
    assert read > 10


def test_what_a_script_made_is_made_again_and_compared(tmp_path: Path) -> None:
    recorded = {"rows": {"a": {"accuracy": 90.0, "accuracy_ci95": 1.0, "loss": {"mean": 0.5, "ci95": 0.1}}, "seed": 3}}
    file, kept = tmp_path / "results.json", tmp_path / "runs" / "results.json"
    file.write_text(json.dumps(recorded), encoding="utf-8")
    now = json.dumps(recorded).replace("90.0", "91.5").replace("0.5", "0.9")
    write = f"import pathlib; pathlib.Path({str(file)!r}).write_text({now!r})"
    lines = reproduce.again(file, [sys.executable, "-c", write], kept)
    assert lines == [
        ("rows.a.accuracy", "90.00 ± 1.00", "91.50 ± 1.00", True),
        ("rows.a.loss", "0.50 ± 0.10", "0.90 ± 0.10", False),
    ]
    assert json.loads(file.read_text(encoding="utf-8")) == recorded, "the recorded file stays"
    assert json.loads(kept.read_text(encoding="utf-8")) == json.loads(now)
    with pytest.raises(SystemExit, match="ended with 3"):
        reproduce.again(file, [sys.executable, "-c", "raise SystemExit(3)"], kept)
    with pytest.raises(SystemExit, match=r"made no results\.json: are its data there"):
        reproduce.again(file, [sys.executable, "-c", "pass"], kept)
    assert json.loads(file.read_text(encoding="utf-8")) == recorded


def test_scripts_and_their_parts_exist() -> None:
    parts = (reproduce.ROOT / "tools" / "scenarios.sh").read_text(encoding="utf-8")
    for file in (reproduce.ROOT / "results").glob("*/results.json"):
        command = reproduce.script_of(file.parent.name, Path("runs"))
        if command:
            assert (reproduce.ROOT / command[1]).is_file()
            if command[1] == "tools/scenarios.sh":
                assert f"wanted {command[2]}" in parts, file.parent.name
                # a name that begins as that of another part is not taken for it
                assert ("labelled" in file.parent.name) == (command[2] == "labelled"), file.parent.name

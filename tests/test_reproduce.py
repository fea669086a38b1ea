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

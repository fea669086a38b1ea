"""The rehearsal: which domains its trainings see, what it recommends, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genmeta.cli.main import main
from genmeta.core.errors import UsageError
from genmeta.core.settings import TrainConfig
from genmeta.engine import Trained, load, train
from genmeta.reports.scenarios import domain_table
from genmeta.scenarios.domain import DomainScores
from genmeta.scenarios.rehearsal import Rehearsal, rehearse


def by_hand(**accuracy: list[float]) -> DomainScores:
    arrays = {name: np.array(values) for name, values in accuracy.items()}
    return DomainScores(arrays, {n: np.ones(len(v)) for n, v in arrays.items()}, dict.fromkeys(arrays, 0.1), 2.0)


def settings(method: str, run: Path) -> TrainConfig:
    return TrainConfig(
        method=method, data="rotated-digits?size=12", run=str(run), scenario="domain", hold_out="0 degrees,75 degrees",
        shots="10", queries=10, steps=2, tasks_per_batch=2, width=16, validate_every=2, validate_tasks=2,
        norm="batch" if method == "arm-bn" else "group",
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    folder = tmp_path_factory.mktemp("trained")
    return {name: train(settings(name, folder / name), progress=False) for name in ("erm", "arm-bn")}


def scores(trained: dict[str, Trained]) -> dict[str, DomainScores]:
    return {row: by_hand(a=[0.5, 0.6]) for row in trained}


def test_no_training_sees_its_part_or_what_is_held_out_in_earnest(trained: dict[str, Trained], tmp_path: Path) -> None:
    how = {"parts": 2, "shots": 10, "queries": 10, "episodes": 2, "progress": False}
    found = rehearse(trained, scores(trained), "erm", tmp_path, **how)  # type: ignore[arg-type]
    assert found.parts == (("15 degrees", "30 degrees"), ("45 degrees", "60 degrees"))
    for number, part in enumerate(found.parts):
        for row, whole in trained.items():
            again = load(tmp_path / f"part{number}" / row).config["training"]
            assert again["hold_out"].split(",") == ["0 degrees", "75 degrees", *part]
            same = {k: v for k, v in again.items() if k not in ("hold_out", "run", "threads")}
            assert same == {k: v for k, v in whole.config["training"].items() if k in same}
    for row in trained:
        assert list(found.accuracy[row]) == [domain for part in found.parts for domain in part]
    # what was trained is kept: the second time is read, and equal
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
    assert len(times) == 4
    second = rehearse(trained, scores(trained), "erm", tmp_path, **how)  # type: ignore[arg-type]
    assert second.accuracy == found.accuracy
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}


def test_what_a_rehearsal_says_by_hand() -> None:
    real = {"erm": by_hand(a=[0.5, 0.5], b=[0.9, 0.9]), "film": by_hand(a=[0.6, 0.6], b=[0.7, 0.7]),
            "tent": by_hand(a=[0.5, 0.5], b=[0.9, 0.9])}  # fmt: skip
    seen = {"erm": {"x": 0.5, "y": 0.6}, "film": {"x": 0.7, "y": 0.5}, "tent": {"x": 0.5, "y": 0.6}}
    found = Rehearsal((("x",), ("y",)), seen, real, "erm")
    assert found.gains("film") == pytest.approx([20, -10])
    assert found.recommended() == "film"
    said = found.summary()
    assert json.dumps(said)
    assert said["gains"]["film"]["mean"] == pytest.approx(5)  # type: ignore[index]
    assert said["better_on"] == {"erm": 0, "film": 1, "tent": 0}
    # film gains on a, as foretold, and loses on b; tent differs nowhere
    assert said["domains_right"] == {"right": 1, "of": 2}
    assert said["gain_followed"]["mean"] == pytest.approx((10 + 10 - 20 - 20) / 4)  # type: ignore[index]
    table = domain_table(real, "erm", rehearsal=found)
    assert "best: film" in table.caption
    assert table.headers[-1] == "rehearsed"
    assert [len(row) for row in table.rows] == [len(table.headers)] * 3
    # level with the reference: it stays
    assert Rehearsal(found.parts, {"tent": seen["tent"], "erm": seen["erm"]}, real, "erm").recommended() == "erm"


def test_refusals(trained: dict[str, Trained], tmp_path: Path) -> None:
    for parts in (1, 5):
        with pytest.raises(UsageError, match=f"number of training domains, here 4, got {parts}"):
            rehearse(trained, scores(trained), "erm", tmp_path, parts=parts, progress=False)
    other = trained["erm"]
    moved = replace(other, config={**other.config, "training": {**other.config["training"], "hold_out": "15 degrees"}})
    with pytest.raises(UsageError, match="was trained on other domains"):
        rehearse({**trained, "moved": moved}, scores(trained), "erm", tmp_path, parts=2, progress=False)
    assert not any(tmp_path.iterdir())


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([
        "compare", "erm", "domain-film", "--data", "rotated-digits?size=12", "--scenario", "domain", "--hold-out",
        "75 degrees", "--shots", "10", "--queries", "10", "--steps", "1", "--tasks-per-batch", "2", "--width", "16",
        "--tasks", "2", "--adapt-steps", "0", "--rehearse", "2", "--out", str(tmp_path), "--json",
    ])  # fmt: skip
    said = json.loads(capsys.readouterr().out)["rehearsal"]
    assert list(said["gains"]) == ["erm", "domain-film"]
    assert said["recommended"] in said["gains"]
    assert sum(map(len, said["parts"])) == 5
    with pytest.raises(SystemExit):
        main(["compare", "protonet", "--data", "glyphs", "--rehearse", "2", "--out", str(tmp_path / "b")])
    assert "goes with --scenario domain" in capsys.readouterr().err

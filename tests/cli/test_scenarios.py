"""Scenarios from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from genmeta.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:  # type: ignore[type-arg]
    main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_incremental(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["genmeta", "evaluate"])
    where = str(tmp_path / "run")
    main(["train", "hypernet", "--data", "glyphs?size=12", "--run", where, "--scenario", "incremental", "--generate",
          "rows", "--steps", "1", "--tasks-per-batch", "1", "--ways", "4", "--width", "16", "--json"])  # fmt: skip
    capsys.readouterr()
    result = run(
        capsys, "evaluate", where, "--data", "digits?size=12", "--scenario", "incremental", "--base-classes", "4",
        "--base-shots", "3", "--sessions", "2", "--ways", "2", "--shots", "2", "--queries", "2", "--streams", "2",
    )  # fmt: skip
    assert result["schema"] == "genmeta.incremental/1"
    assert next(iter(result["methods"])) == "hypernet"
    assert "fine-tuning" in result["methods"]
    assert len(result["methods"]["hypernet"]["accuracy_after_session"]) == 3
    assert result["protocol"]["base_classes"] == 4
    assert result["command"].startswith("genmeta")


def test_domains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(
        capsys, "compare", "erm", "domain-film", "--data", "rotated-digits?size=12", "--scenario", "domain",
        "--hold-out", "75 degrees", "--shots", "10", "--queries", "10", "--steps", "2", "--tasks-per-batch", "2",
        "--width", "16", "--tasks", "2", "--adapt-steps", "0", "--out", str(tmp_path),
    )  # fmt: skip
    assert result["schema"] == "genmeta.domains/1"
    assert list(result["methods"]) == ["erm", "domain-film"]
    assert list(result["methods"]["erm"]["domains"]) == ["75 degrees"]
    assert (tmp_path / "report.html").is_file()
    assert json.loads((tmp_path / "results.json").read_text())["reference"] == "erm"


def test_a_comparison_says_where_its_files_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", "erm", "--data", "rotated-digits?size=12", "--scenario", "domain", "--hold-out", "75 degrees",
          "--shots", "10", "--queries", "10", "--steps", "1", "--tasks-per-batch", "2", "--width", "16", "--tasks", "2",
          "--adapt-steps", "0", "--out", str(tmp_path)])  # fmt: skip
    said = capsys.readouterr().out.replace("\n", "")
    assert str(tmp_path / "results.json") in said
    assert str(tmp_path / "report.html") in said


def test_classes_that_are_too_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A comparison leaves small classes out of its trainings and of its episodes, as the single commands do."""
    how = ("--ways", "2", "--queries", "2", "--min-images", "5", "--tasks", "2", "--adapt-steps", "0")
    result = run(
        capsys, "compare", "protonet", "--data", "glyphs?size=12", "--scenario", "multitask", "--steps",
        "1", "--tasks-per-batch", "1", "--width", "16", *how, "--out", str(tmp_path),
    )  # fmt: skip
    assert result["protocol"]["min_images"] == 5
    assert result["trained"]["protonet"]["training"]["min_images"] == 5


def test_training_on_all_domains_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("--data", "rotated-digits?size=12", "--learner", "mlp", "--width", 16, "--steps", 1, "--threads", 1)
    arguments = ("train", "erm", "--scenario", "domain", *settings, "--validate-tasks", 1, "--tasks-per-batch", 1)
    for run, more, said in (("all", (), True), ("kept", ("--hold-out", "75 degrees"), False)):
        main([str(argument) for argument in (*arguments, "--run", tmp_path / run, *more)])
        assert ("without --hold-out no domain is left" in capsys.readouterr().err) == said


def test_a_method_of_another_scenario_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "maml", "--data", "rotated-digits", "--scenario", "domain", "--run", str(tmp_path / "r")])
    assert stopped.value.code == 2
    assert "is no method of the domain scenario" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate", "characters", "--data", "rotated-digits", "--scenario", "domain", "--tasks", "1"])
    said = capsys.readouterr().err
    assert "was not trained for domains. Train one of erm, arm-bn" in said

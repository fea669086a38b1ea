"""The commands as a user meets them: what they print, what they leave behind, how they refuse."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genmeta.cli.main import main
from genmeta.engine import load
from genmeta.engine.checkpoint import save_model
from genmeta.methods import DOMAIN_METHODS, METHODS, find_method, list_methods


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve class folders of eight small images each, split by top-level folders."""
    root = tmp_path_factory.mktemp("classes")
    random = np.random.default_rng(0)
    for split, names in {"train": "abcdef", "val": "ghi", "test": "jkl"}.items():
        for name in names:
            base = random.integers(0, 200, (12, 12))
            (root / split / name).mkdir(parents=True)
            for i in range(8):
                pixels = (base + random.integers(0, 50, (12, 12))).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture
def spec(folder: Path) -> str:
    return f"folder:{folder}?size=12&color=gray"


def run(*arguments: object) -> None:
    main([str(a) for a in arguments])


SMALL = ("--ways", 3, "--shots", 1, "--queries", 2, "--steps", 4, "--tasks-per-batch", 2, "--width", 16, "--threads", 1)


def train(spec: str, out: Path, *more: object, method: str = "hypernet") -> None:
    run("train", method, "--data", spec, "--run", out, *SMALL, "--validate-every", 2, *more)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Runs a command that must be refused: exit code 2, one message, nothing on stdout."""
    with pytest.raises(SystemExit) as exit_:
        run(*arguments)
    captured = capsys.readouterr()
    assert exit_.value.code == 2
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def test_train_then_evaluate(spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(spec, tmp_path / "run", "--json")
    trained = json.loads(capsys.readouterr().out)
    assert trained["schema"] == "genmeta.training/1"
    assert Path(trained["checkpoint"]).is_file()
    assert trained["result"]["steps"] == 4
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert names == {"config.json", "model.safetensors", "last.ckpt", "metrics.jsonl", "tensorboard", ".lock"}
    assert [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()] == [
        2,
        4,
    ]

    episodes = ("--data", spec, "--ways", 2, "--queries", 3, "--tasks", 4, "--adapt-steps", "0,2")
    run("evaluate", tmp_path / "run", *episodes, "--json", "--out", tmp_path / "scores.json")
    scores = json.loads(capsys.readouterr().out)
    assert scores == json.loads((tmp_path / "scores.json").read_text())
    assert set(scores["methods"]["hypernet"]["scores"]) == {"0", "2"}
    assert 0 <= scores["methods"]["hypernet"]["scores"]["2"]["accuracy"] <= 100

    run("evaluate", tmp_path / "run" / "model.safetensors", *episodes)
    assert "hypernet" in capsys.readouterr().out


def test_resume_of_a_finished_run_changes_nothing(spec: str, tmp_path: Path) -> None:
    train(spec, tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    train(spec, tmp_path / "run", "--resume")
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_compare_over_training_seeds(spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--data", spec, "--out", tmp_path, *SMALL, "--tasks", 4, "--adapt-steps", "0,1")
    run("compare", "protonet", "weight-vae", *flags, "--seeds", "0,3", "--calibration-tasks", 3, "--json",
        "--set", "bank_tasks=16", "--set", "hidden=8")  # fmt: skip
    captured = capsys.readouterr()
    assert captured.err.count("weight-vae: the body stays as it is and was never trained") == 1
    assert "protonet: the body" not in captured.err
    result = json.loads(captured.out)
    rows = ["protonet-seed0", "protonet-seed3", "weight-vae-seed0", "weight-vae-seed3"]
    assert list(result["methods"]) == rows
    assert list(result["over_seeds"]) == ["protonet-seed0", "weight-vae-seed0"]
    for name, together in result["over_seeds"].items():
        assert together["seeds"] == [0, 3]
        entries = [result["methods"][row] for row in together["rows"]]
        assert [entry["training"]["seed"] for entry in entries] == [0, 3]
        for step in ("0", "1"):
            each = [entry["scores"][step]["accuracy"] for entry in entries]
            assert together["scores"][step]["accuracy"] == pytest.approx(sum(each) / 2, abs=1e-2)
            spread = abs(each[0] - each[1]) / 2**0.5
            assert together["scores"][step]["accuracy_seed_std"] == pytest.approx(spread, abs=1e-2)
            assert {"temperature", "nll", "ece"} <= entries[0]["scores"][step]["calibrated"].keys()
        assert (entries[0]["scores"]["1"]["draws"] is None) == name.startswith("protonet")
    sizes = [result["methods"][row]["generator_parameters"] for row in rows]
    assert sizes[0] <= 2 < sizes[2]  # a prototype classifier has no generator to speak of
    assert all(result["methods"][row]["training_cpu_seconds"] > 0 for row in rows)
    assert "--seeds takes numbers such as 0,1, got 'a'" in refused(
        capsys, "compare", "protonet", *flags, "--seeds", "a"
    )
    message = refused(capsys, "compare", "protonet", *flags, "--calibration-tasks", -1)
    assert "--calibration-tasks must be 0 or more, got -1" in message


def test_compare(spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--data", spec, "--out", tmp_path, *SMALL, "--tasks", 3, "--adapt-steps", "0,1")
    run("compare", "protonet", "maml", "scratch", *flags, "--json", "--inner-lr", 0.05, "--set", "inner_rule=sgd")
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result == json.loads((tmp_path / "results.json").read_text())
    assert list(result["methods"]) == ["protonet", "maml", "scratch"]
    assert result["reference"] == {"method": "scratch", "adapt_steps": 1}
    assert result["methods"]["scratch"]["paired_difference"]["1"] == {"mean": 0.0, "ci95": 0.0}
    for key in ("command", "commit", "machine", "date", "episodes"):
        assert key in result
    assert "<html" in (tmp_path / "report.html").read_text()
    # a second time nothing is trained: the runs are reused, and a run directory can be named as a row of its own
    stamp = (tmp_path / "maml" / "last.ckpt").stat().st_mtime_ns
    run("compare", "maml", tmp_path / "protonet", *flags, "--inner-lr", 0.05)
    assert (tmp_path / "maml" / "last.ckpt").stat().st_mtime_ns == stamp


def test_checkpoints_that_tell_little_of_their_training_are_scored(
    spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the shipped ``photos``, whose header has neither the settings of ``genmeta train`` nor a count of numbers."""
    train(spec, tmp_path / "run")
    trained = load(tmp_path / "run")
    told = {key: trained.config[key] for key in ("method", "options", "learner", "vision", "provenance")}
    bare = [tmp_path / "bare.safetensors", tmp_path / "copy.safetensors"]
    for path in bare:
        save_model(path, trained.meta_learner, {**told, "training": {"command": "a script"}})
    capsys.readouterr()
    episodes = ("--data", spec, "--ways", 2, "--queries", 2, "--tasks", 2, "--adapt-steps", 0, "--threads", 1)
    run("evaluate", bare[0], *episodes, "--json")
    row = json.loads(capsys.readouterr().out)["methods"]["hypernet"]
    assert row["parameters"] == trained.config["parameters"]
    run("compare", *bare, *episodes, "--out", tmp_path / "out", "--json")
    result = json.loads(capsys.readouterr().out)
    assert list(result["methods"]) == [path.name for path in bare]
    assert result["over_seeds"] == {}


@pytest.mark.parametrize(
    "method,more,said",
    [
        ("maml-gan", (), True),
        ("maml-gan", ("--set", "train_body=yes"), False),
        ("hypernet", ("--freeze-learner",), True),
        ("hypernet", (), False),
    ],
)
def test_a_body_that_nothing_trains_is_said(
    method: str, more: tuple[str, ...], said: bool, spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("--set", "hidden=8", *(("--set", "bank_tasks=4") if method == "maml-gan" else ()))
    train(spec, tmp_path / "run", *small, *more, method=method)
    assert ("was never trained: name a trained one with --init" in capsys.readouterr().err) == said


def test_rows_of_one_name_stay_apart(spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("first/run", "second/run", "third"):
        train(spec, tmp_path / name, method="protonet")
    flags = ("--data", spec, "--out", tmp_path / "out", *SMALL, "--tasks", 2, "--adapt-steps", 0)
    files = [tmp_path / name / "model.safetensors" for name in ("first/run", "third")]
    capsys.readouterr()
    run("compare", *files, *flags, "--json")
    assert list(json.loads(capsys.readouterr().out)["methods"]) == ["run", "third"]
    rows = [tmp_path / "first/run", tmp_path / "second/run", tmp_path / "third"]
    run("compare", *rows, *flags, "--json")
    assert list(json.loads(capsys.readouterr().out)["methods"]) == [str(rows[0]), str(rows[1]), "third"]


FIRST_KNOWN = {
    "methods": "maml",
    "vision": "maml",
    "datasets": "glyphs",
    "learners": "conv4",
    "checkpoints": "characters",
}


@pytest.mark.parametrize("what", FIRST_KNOWN)
def test_list(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("list", what, "--json")
    rows = json.loads(capsys.readouterr().out)[what]
    names = [row["method" if what == "vision" else "name"] for row in rows]
    assert FIRST_KNOWN[what] in names
    run("list", what)
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)
    run("list", what, names[-1], "--json")
    assert json.loads(capsys.readouterr().out)[what] == rows[-1:]
    assert f"Unknown {what.removesuffix('s')} 'mine'" in refused(capsys, "list", what, "mine")


def test_list_shows_every_method_and_data_set_of_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    run("list", "methods", "--json")
    methods = {row["name"]: row for row in json.loads(capsys.readouterr().out)["methods"]}
    assert set(methods) == {*METHODS, *DOMAIN_METHODS}
    assert {name for name in methods if methods[name]["scenario"] == "domain alone"} == set(DOMAIN_METHODS)
    run("list", "datasets", "--json")
    assert {"folder", "scenes", "domains"} <= {row["name"] for row in json.loads(capsys.readouterr().out)["datasets"]}


@pytest.mark.parametrize("method", [*METHODS, *DOMAIN_METHODS])
def test_list_tells_what_every_option_of_a_method_means(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("list", "methods", method, "--json")
    (row,) = json.loads(capsys.readouterr().out)["methods"]
    assert list(row["meaning"]) == list(row["options"]) == list(find_method(method).option_names)
    assert all(text and "`" not in text for text in row["meaning"].values())
    run("list", "methods", method)
    shown = " ".join(capsys.readouterr().out.split())
    for option, value in row["options"].items():
        assert f"{option}={'yes' if value is True else 'no' if value is False else value}" in shown
        assert row["meaning"][option].split()[0] in shown


BAD: dict[str, tuple[Callable[[str], tuple[object, ...]], str]] = {
    "unknown method": (lambda s: ("hypernt", "--data", s), "Did you mean 'hypernet'?"),
    "unknown data": (lambda s: ("maml", "--data", "glyfs"), "Did you mean 'glyphs'?"),
    "unknown learner": (lambda s: ("maml", "--data", s, "--learner", "conf4"), "Did you mean 'conv4'?"),
    "unknown option": (lambda s: ("maml", "--data", s, "--set", "innner_lr=1"), "Did you mean 'inner_lr'"),
    "option without value": (lambda s: ("maml", "--data", s, "--set", "inner_lr"), "--set takes NAME=VALUE"),
    "option of another type": (lambda s: ("maml", "--data", s, "--set", "inner_lr=fast"), "of type float such as 0.1"),
    "too many ways": (lambda s: ("maml", "--data", s, "--ways", 7), "7-way tasks need 7 classes"),
    "too many shots": (lambda s: ("maml", "--data", s, "--ways", 3, "--shots", 5), "needs 10 images of each class"),
    "no number": (lambda s: ("maml", "--data", s, "--ways", "many"), "--ways takes a number or a range"),
    "backwards": (lambda s: ("maml", "--data", s, "--ways", "6-3"), "does not run backwards"),
    "no steps": (lambda s: ("maml", "--data", s, "--steps", 0), "steps must be 1 or more, got 0"),
    "too narrow": (lambda s: ("maml", "--data", s, "--width", 8), "Use a width of 16 or more"),
    "no such device": (lambda s: ("maml", "--data", s, "--device", "gpu"), "Unknown device 'gpu'"),
    "no folder": (lambda s: ("maml", "--data", "folder:/does/not/exist"), "/does/not/exist"),
    "no checkpoint": (lambda s: ("maml", "--data", s, "--ways", 3, "--queries", 2, "--init", "nowhere"), "'nowhere'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_leaves_nothing(
    case: str, spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = BAD[case]
    assert message in refused(capsys, "train", *arguments(spec), "--run", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    said = refused(capsys, "train", "maml", "--data", f"folder:{tmp_path / 'empty'}", "--run", tmp_path / "run")
    assert str(tmp_path / "empty") in said
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("default::genmeta.core.errors.DataWarning")
def test_corrupt_image_is_named_then_skipped(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(folder, tmp_path / "data")
    (tmp_path / "data" / "train" / "a" / "0.png").write_bytes(b"not a picture")
    spec = f"folder:{tmp_path / 'data'}?size=12&color=gray"
    arguments = ("train", "protonet", "--data", spec, "--run", tmp_path / "run", *SMALL)
    assert "0.png" in (said := refused(capsys, *arguments))
    assert "--on-bad-image skip" in said
    run(*arguments, "--on-bad-image", "skip")
    said = capsys.readouterr().err
    assert "warning: " in said
    assert "left out 1 files: train/a/0.png" in said
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_run_directory_already_used(spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(spec, tmp_path / "run")
    capsys.readouterr()
    arguments = ("train", "hypernet", "--data", spec, "--run", tmp_path / "run", *SMALL)
    assert "--resume" in refused(capsys, *arguments)
    assert "was begun with" in refused(capsys, *arguments, "--resume", "--lr", 0.5)


def test_truncated_and_foreign_checkpoints(spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(spec, tmp_path / "run")
    capsys.readouterr()
    whole = (tmp_path / "run" / "model.safetensors").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(whole[: len(whole) // 2])
    said = refused(capsys, "evaluate", tmp_path / "short.safetensors", "--data", spec)
    assert "truncated" in said
    said = refused(
        capsys, "train", "maml", "--data", spec, "--run", tmp_path / "other", "--init", tmp_path / "run",
        "--ways", 3, "--queries", 2, "--width", 32,
    )  # fmt: skip
    assert "checkpoint for another learner" in said
    assert not (tmp_path / "other").exists()


def test_help_needs_no_torch() -> None:
    script = (
        "import sys\n"
        "from genmeta.cli.main import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout


def test_the_matrix_of_methods_and_visual_tasks_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list", "vision", "--json"])
    rows = json.loads(capsys.readouterr().out)["vision"]
    assert [row["method"] for row in rows] == [method.name for method in list_methods()]
    assert all(row["classification"] for row in rows)
    assert sum(row["segmentation"] for row in rows) > 15
    main(["list", "vision"])
    assert "segmentation" in capsys.readouterr().out

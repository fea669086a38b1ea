"""fit, predict and export as a user meets them, with the folders that users have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toys import make_learner, perturb, tiny_options

from genmeta.cli.main import main
from genmeta.engine.checkpoint import learner_header, save_model
from genmeta.methods import build_method


def run(*arguments: object) -> None:
    main([str(a) for a in arguments])


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    run(*arguments, "--json")
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as exit_:
        run(*arguments)
    captured = capsys.readouterr()
    assert exit_.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    return captured.err


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    learner, options = make_learner(channels=3), tiny_options("hypernet")
    meta_learner = perturb(build_method("hypernet", learner, options=options), 0.05)
    path = tmp_path_factory.mktemp("checkpoint") / "toy.safetensors"
    save_model(
        path, meta_learner, {"method": "hypernet", "options": options, "learner": learner_header(learner.config)}
    )
    return path


def picture(name: str, i: int) -> Image.Image:
    coarse = np.random.default_rng([*map(ord, name)]).integers(0, 256, (4, 4, 3))
    noise = np.random.default_rng([i, *map(ord, name)]).normal(0, 20, (24, 24, 3))
    return Image.fromarray(np.clip(np.kron(coarse, np.ones((6, 6, 1))) + noise, 0, 255).astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def make(**classes: int) -> Path:
        for name, count in classes.items():
            (tmp_path / "mine" / name).mkdir(parents=True)
            for i in range(count):
                picture(name, i).save(tmp_path / "mine" / name / f"{i}.png")
        return tmp_path / "mine"

    return make


@pytest.mark.filterwarnings("default::genmeta.core.errors.DataWarning")
def test_classes_of_one_name_in_several_folders_are_said(
    checkpoint: Path, folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(**{"train/ant": 2, "train/bee": 2, "test/ant": 1, "test/bee": 1})
    found = said(capsys, "fit", root, "--model", checkpoint, "--out", tmp_path / "m.safetensors", "--fast")
    assert list(found["classes"]) == ["test/ant", "test/bee", "train/ant", "train/bee"]
    run("fit", root, "--model", checkpoint, "--out", tmp_path / "m.safetensors", "--fast")
    warned = capsys.readouterr().err
    assert "2 names of classes are in several folders, such as test/ant and train/ant" in warned
    assert warned.strip().endswith(f"fit one folder alone: genmeta fit {root / 'train'}")
    run("fit", root / "train", "--model", checkpoint, "--out", tmp_path / "m.safetensors", "--fast")
    assert capsys.readouterr().err == ""


def test_from_a_folder_to_predictions(
    checkpoint: Path, folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = folder(ant=3, bee=4, cat=3), tmp_path / "out" / "model.safetensors"
    found = said(capsys, "fit", root, "--model", checkpoint, "--out", out)
    assert found["schema"] == "genmeta.fit/1"
    assert found["classes"] == {"ant": 3, "bee": 4, "cat": 3}
    assert found["leave_one_out"] == 1.0
    assert set(found["held_out_predictions"].values()) == {"ant", "bee", "cat"}
    assert found["skipped"] == found["empty_classes"] == found["same_picture_in_two_classes"] == []
    with Image.open(found["preview"]) as preview:
        assert preview.size[0] > 4 * 96
        assert preview.size[1] > 3 * 96
    new = tmp_path / "new"
    new.mkdir()
    for name in ("ant", "bee", "cat"):
        picture(name, 77).save(new / f"{name}.png")
    answers = said(capsys, "predict", out, new, root / "ant" / "0.png", "--top", 2)
    assert answers["classes"] == ["ant", "bee", "cat"]
    assert [row["class"] for row in answers["images"]] == ["ant", "bee", "cat", "ant"]
    assert [len(row["probabilities"]) for row in answers["images"]] == [2, 2, 2, 2]
    unknown = said(capsys, "predict", out, new, "--unknown-threshold", 1.0)
    assert {row["class"] for row in unknown["images"]} == {"unknown"}
    run("fit", root, "--model", checkpoint, "--out", out, "--fast")
    text = capsys.readouterr().out
    assert "10 images of 3 classes" in text
    run("predict", out, new)
    text = capsys.readouterr().out
    assert "bee.png" in text
    assert "%" in text


def test_folders_as_users_have_them(
    checkpoint: Path, folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(ant=3, bee=3, single=1, hollow=0)
    (root / "ant" / "cut.png").write_bytes((root / "ant" / "0.png").read_bytes()[:99])
    (root / "ant" / "text.jpg").write_text("this is a text")
    (root / "ant" / "notes.txt").write_text("and so is this")
    (root / "bee" / "nothing.png").write_bytes(b"")
    (root / "bee" / "same.png").write_bytes((root / "ant" / "1.png").read_bytes())
    (root / "words").mkdir()
    (root / "words" / "only.txt").write_text("no image here")
    (root / "broken").mkdir()
    (root / "broken" / "0.jpg").write_bytes(b"x")
    Image.new("1", (10_000, 10_000)).save(root / "bee" / "huge.png")
    Image.new("L", (10_000, 10_000), 60).save(root / "single" / "huge.jpg", quality=10)
    out = tmp_path / "model.safetensors"
    found = said(capsys, "fit", root, "--model", checkpoint, "--out", out)
    assert found["classes"] == {"ant": 3, "bee": 4, "single": 2}
    assert found["empty_classes"] == ["broken", "hollow", "words"]
    assert found["same_picture_in_two_classes"] == [["ant/1.png", "bee/same.png"]]
    reasons = {row["file"]: row["reason"] for row in found["skipped"]}
    assert "truncated" in reasons.pop("ant/cut.png")
    assert "not an image" in reasons.pop("ant/text.jpg")
    assert "no image file" in reasons.pop("ant/notes.txt")
    assert "is empty" in reasons.pop("bee/nothing.png")
    assert "10000x10000 pixels" in reasons.pop("bee/huge.png")
    assert "not an image" in reasons.pop("broken/0.jpg")
    assert "no image file" in reasons.pop("words/only.txt")
    assert not reasons
    run("fit", root, "--model", checkpoint, "--out", out)
    text = " ".join(capsys.readouterr().out.split())
    assert "the same picture in two classes: ant/1.png and bee/same.png" in text
    assert "the class folder 'hollow'" in text
    answers = said(capsys, "predict", out, root / "ant")
    assert [("error" in row) for row in answers["images"]] == [False, False, False, True, True]


def test_one_image_of_each_class(
    checkpoint: Path, folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(ant=1, bee=1)
    run("fit", root, "--model", checkpoint, "--out", tmp_path / "model.safetensors")
    text = capsys.readouterr().out
    assert "the only image" in text
    assert "needs two images of a class" in text
    assert said(capsys, "predict", tmp_path / "model.safetensors", root)["images"][1]["class"] == "bee"


def test_what_is_refused(
    checkpoint: Path, folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = folder(ant=2), tmp_path / "model.safetensors"
    fit = ("fit", root, "--model", checkpoint, "--out", out)
    assert "2 or more classes, got only the class 'ant'" in refused(capsys, *fit)
    assert "nothing at" in refused(capsys, "fit", tmp_path / "absent", "--model", checkpoint, "--out", out)
    assert "is a folder" in refused(capsys, "fit", root, "--model", checkpoint, "--out", tmp_path)
    assert "no checkpoint 'absent'" in refused(capsys, "fit", root, "--model", "absent", "--out", out)
    empty = tmp_path / "empty" / "class"
    empty.mkdir(parents=True)
    assert "Expected class folders" in refused(capsys, "fit", empty.parent, "--model", checkpoint, "--out", out)
    (empty / "0.png").write_bytes(b"")
    assert "can be used: class/0.png: the file is empty" in refused(
        capsys, "fit", empty.parent, "--model", checkpoint, "--out", out
    )
    assert not out.exists()
    assert "There is no checkpoint" in refused(capsys, "predict", out, root)
    assert f"genmeta fit FOLDER --model {checkpoint}" in refused(capsys, "predict", checkpoint, root)
    folder(bee=2)
    run(*fit)
    capsys.readouterr()
    assert "Name images" in refused(capsys, "predict", out)
    assert "The image cannot be used" in refused(capsys, "predict", out, empty / "0.png")
    (tmp_path / "bare").mkdir()
    assert "holds no image files" in refused(capsys, "predict", out, tmp_path / "bare")


def test_export(
    checkpoint: Path, folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="needs genmeta[export]")
    run("fit", folder(ant=2, bee=2), "--model", checkpoint, "--out", tmp_path / "model.safetensors")
    capsys.readouterr()
    found = said(capsys, "export", tmp_path / "model.safetensors", "--out", tmp_path / "model.onnx")
    assert found["largest_difference"] <= 1e-4
    assert found["classes"] == ["ant", "bee"]
    assert found["input"] == {"name": "images", "type": "uint8", "shape": ["N", 12, 12, 3]}
    assert (tmp_path / "model.onnx").stat().st_size > 1000


def test_the_list_of_checkpoints(capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "list", "checkpoints")
    assert found["schema"] == "genmeta.list/1"
    assert isinstance(found["checkpoints"], list)
    run("list", "checkpoints")
    assert "checkpoints" in capsys.readouterr().out

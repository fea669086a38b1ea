"""Commands given what nobody should give them: one message, exit code 2, no traceback, and nothing replaced."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genmeta.cli import predict
from genmeta.cli.main import main
from genmeta.core.errors import UsageError
from genmeta.core.files import write_json
from genmeta.estimators.labels import as_labels

LONG = "x" * 5000
#: Class names that mean something to terminals, fonts, paths and markup.
NAMES = ("ünïcode 図", "emo😀ji :smile:", "two\nlines", "[bold]x[/bold] [/nothing]", "$(x) `y`", "a" * 200)


def folder(root: Path, names: tuple[str, ...]) -> Path:
    for k, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(2):
            pixels = np.random.default_rng(2 * k + i).integers(0, 256, (20, 20)).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"[{i}].png")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fitted to classes of odd names."""
    root = tmp_path_factory.mktemp("hostile")
    out = root / "model.safetensors"
    main(["fit", str(folder(root / "set", NAMES)), "--model", "characters", "--fast", "--out", str(out)])
    return out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    return err


def test_class_names_of_any_kind_are_told_as_they_are(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    main(["predict", str(model), str(model.parent / "set"), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert sorted(said["classes"]) == sorted(NAMES)
    assert len(said["images"]) == 2 * len(NAMES)
    main(["predict", str(model), str(model.parent / "set")])
    assert "[bold]x[/bold]" in capsys.readouterr().out
    assert (model.parent / "model.png").stat().st_size > 1000


def test_names_that_are_no_text_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = folder(tmp_path / "set", ("good", os.fsdecode(b"cl\xff\xfe")))
    said = refused(
        capsys, "fit", str(here), "--model", "characters", "--fast", "--out", str(tmp_path / "m.safetensors")
    )
    assert r"The label 'cl\udcff\udcfe' is no text that can be saved. Rename the class or its folder." in said
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize("name", [LONG, "nowhere", "~nobody/x", "..", "/proc/self/mem"])
def test_models_that_are_none(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.png").touch()
    refused(capsys, "predict", name, str(tmp_path / "x.png"))
    refused(capsys, "export", name, "--out", str(tmp_path / "x.onnx"))
    refused(capsys, "evaluate", name, "--data", "digits", "--json")
    refused(capsys, "fit", str(tmp_path), "--model", name, "--out", str(tmp_path / "m"), "--json")


def test_what_is_no_file_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = folder(tmp_path / "set", ("a", "b"))
    os.mkfifo(tmp_path / "pipe")
    for out in (tmp_path / "pipe", tmp_path / LONG):
        said = refused(capsys, "fit", str(here), "--model", "characters", "--fast", "--out", str(out))
        assert "Failed writing" in said
    assert "it is a folder or a device. Give the name of a file." in refused(
        capsys, "fit", str(here), "--model", "characters", "--fast", "--out", str(tmp_path / "pipe")
    )
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize(
    "arguments,message",
    [
        (("--top", "0"), r"--top must be 1 or more, got 0"),
        (("--threads", "-1"), r"--threads takes a number from 0 to 1024, got -1"),
        (("--threads", "100000000"), r"--threads takes a number from 0 to 1024"),
        (("--unknown-threshold", "nan"), r"unknown_threshold is a probability between 0 and 1, got nan"),
        (("--unknown-threshold", "7"), r"unknown_threshold is a probability between 0 and 1, got 7"),
    ],
)
def test_numbers_out_of_range(
    model: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert message in refused(capsys, "predict", str(model), str(model.parent / "set"), *arguments)


def test_steps_without_end(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    common = ("fit", str(model.parent / "set"), "--model", "characters", "--out", str(tmp_path / "m"))
    said = refused(capsys, *common, "--steps", str(10**12))
    assert "Adaptation takes 0 to 100000 steps, got 1000000000000." in said


def test_troubles_that_no_part_expected(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()

    def fails(error: BaseException) -> None:
        def run(command: object) -> None:
            raise error

        monkeypatch.setattr(predict, "run", run)

    fails(OSError(errno.EIO, "Input/output error", "some.file"))
    assert refused(capsys, "predict", str(model)) == "error: Input/output error: 'some.file'. Check the path.\n"
    for error in (MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")):
        fails(error)
        assert refused(capsys, "predict", str(model)).startswith("error: There is not enough memory for this. Lower")
    fails(RuntimeError("a fault of ours"))
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main(["predict", str(model)])


def test_result_files_hold_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    write_json(tmp_path / "x.json", {"file": name})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"file": name}


@pytest.mark.parametrize(
    "labels,message",
    [
        (None, r"Labels are no flat list .* Give one name or whole number per image\."),
        ([[1], [2, 3]], "Labels are no flat list"),
        (np.array([1j, 2j]), r"Labels of type complex128 are no classes\. Give names or whole numbers\."),
        (np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"), "Labels of type datetime64"),
        ([b"a", b"b"], "Labels of type .S1 are no classes"),
    ],
)
def test_labels_that_are_none(labels: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        as_labels(labels, 2)  # type: ignore[arg-type]

"""Segmentation from the command line: train, evaluate, compare with a report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genmeta.cli.main import main


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for k in range(16):
        (root / f"shape{k:02}").mkdir()
        pixels = np.zeros((12, 12, 4), np.uint8)
        pixels[2:10, 2 : 4 + k // 2] = [200, 10 * k, 255 - 10 * k, 255]
        Image.fromarray(pixels).save(root / f"shape{k:02}" / "0.png")
    return root


def test_train_evaluate_and_compare(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = f"scenes:{pictures}?size=16"
    common = ["--ways", "2", "--queries", "2"]
    small = ["--vision", "segmentation", "--width", "16", "--steps", "2", "--tasks-per-batch", "2"]
    quick = ["--validate-tasks", "2", "--validate-every", "2"]
    run = str(tmp_path / "run")
    main(["train", "hypernet", "--data", data, "--run", run, *common, *small, *quick, "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["vision"] == "segmentation"
    assert said["learner"]["name"] == "unet"
    main(["evaluate", run, "--data", data, *common, "--tasks", "3", "--adapt-steps", "0,2", "--json"])
    scores = json.loads(capsys.readouterr().out)["methods"]["hypernet"]["scores"]
    assert scores.keys() == {"0", "2"}
    assert 0 <= scores["2"]["miou"] <= 100
    assert {"miou_ci95", "nll", "ece", "pixel_accuracy", "background_iou"} <= scores["2"].keys()
    out = tmp_path / "compared"
    arguments = ["compare", "protonet", run, "--data", data, "--out", str(out), *common, *small, "--tasks", "2"]
    main([*arguments, "--adapt-steps", "0,1"])
    assert "Mean IoU in percent" in capsys.readouterr().out
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "support, with the masks that were given" in page
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["methods"].keys() == {"protonet", "run"}


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--data", "glyphs"], "'glyphs' has images by class; segmentation and detection need images of several"),
        (["--data", "PICTURES", "--learner", "conv4"], "segmentation reads a map of vectors, but the learner 'conv4'"),
        (["--data", "PICTURES", "--augment", "affine"], "--augment is for classification; the images of"),
        (["--data", "PICTURES", "--vision", "segments"], "Unknown visual task 'segments'. Did you mean 'segmentation'"),
    ],
)
def test_what_does_not_go_together_is_refused(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    given = [argument.replace("PICTURES", f"scenes:{pictures}?size=16") for argument in arguments]
    run = tmp_path / "run"
    if "--vision" not in given:
        given += ["--vision", "segmentation"]
    with pytest.raises(SystemExit, match="2"):
        main(["train", "hypernet", "--run", str(run), "--ways", "2", *given])
    assert message in capsys.readouterr().err
    assert not run.exists()

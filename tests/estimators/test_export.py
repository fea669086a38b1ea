"""The ONNX file: the same answers, from onnxruntime alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genmeta.core.errors import GenmetaError, UsageError
from genmeta.estimators import FewShotClassifier, export

pytest.importorskip("onnxruntime", reason="needs genmeta[export]")
Make = Callable[..., Any]

ALONE = """
import json, sys
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
found = session.get_modelmeta().custom_metadata_map
answers = session.run(None, {session.get_inputs()[0].name: np.load(sys.argv[2])})[0]
assert not {"torch", "genmeta"} & sys.modules.keys()
print(json.dumps({"classes": json.loads(found["classes"]), "size": found["size"], "p": answers.tolist()}))
"""


@pytest.mark.parametrize(
    "method, channels, norm", [("hypernet", 3, "group"), ("anpml", 1, "batch"), ("film-transfer", 3, "group")]
)
def test_onnx_equals_torch(
    checkpoint: Make, pictures: Make, tmp_path: Path, method: str, channels: int, norm: str
) -> None:
    seen, new = pictures(), pictures(seed=1, size=12)
    model = FewShotClassifier(checkpoint(method, channels, norm)).fit(seen.images, seen.labels)
    assert export.export_onnx(model, tmp_path / "model.onnx") <= 1e-4
    images = new.images if channels == 3 else new.images[..., :1]
    expected = model.predict_proba(images)
    np.save(tmp_path / "images.npy", images)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path / "model.onnx"), str(tmp_path / "images.npy")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    said = json.loads(done.stdout)
    assert said["classes"] == ["ant", "bee", "cat"]
    assert said["size"] == "12"
    # the file takes images as they are; a bright border is inverted before it, see its metadata
    as_read = np.array([(model.pixels.of(Image.fromarray(i.squeeze())) == i).all() for i in images])
    np.testing.assert_allclose(np.asarray(said["p"])[as_read], expected[as_read], atol=1e-4)
    assert as_read.any()


def test_a_file_that_differs_is_not_written(
    checkpoint: Make, pictures: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = pictures()
    model = FewShotClassifier(checkpoint("protonet")).fit(seen.images, seen.labels)
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(GenmetaError, match="differs from PyTorch"):
        export.export_onnx(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("fails", ["torch.onnx.export", "onnxruntime.InferenceSession"])
def test_a_model_that_torch_cannot_export(
    checkpoint: Make, pictures: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    seen = pictures()
    model = FewShotClassifier(checkpoint("protonet")).fit(seen.images, seen.labels)

    def refuses(*arguments: object, **settings: object) -> None:
        raise NotImplementedError("no such operator\nand much more about it")

    monkeypatch.setattr(fails, refuses)
    if fails.startswith("onnx"):
        monkeypatch.setattr(export, "_exported", lambda *_: (b"", np.zeros((7, 2))))
    with pytest.raises(GenmetaError, match=r"cannot be exported \(NotImplementedError: no such operator\)\. Use the"):
        export.export_onnx(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_what_is_missing_is_said(
    checkpoint: Make, pictures: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = pictures()
    model = FewShotClassifier(checkpoint("protonet")).fit(seen.images, seen.labels)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"Export needs onnxruntime.*genmeta\[export\]"):
        export.export_onnx(model, tmp_path / "model.onnx")

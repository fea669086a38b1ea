"""A fitted model as ONNX: one file, run by onnxruntime alone, checked against this library when it is written."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genmeta.core.errors import GenmetaError, UsageError
from genmeta.core.files import atomic_path
from genmeta.core.randomness import numpy_rng, seeded
from genmeta.estimators.image_model import ImageModel
from genmeta.methods import Adapted, MetaLearner

#: Largest difference of a probability between ONNX and PyTorch that passes.
TOLERANCE = 1e-4
_OPSET = 18
_TRIED = 7  # images of the check; another number than the one that was traced


class Answer(nn.Module):
    """Images ``[N H W C]`` uint8 to probabilities ``[N K]``: what is exported."""

    def __init__(self, meta_learner: MetaLearner, adapted: Adapted, temperature: float) -> None:
        super().__init__()
        self.meta_learner, self.adapted, self.temperature = meta_learner, adapted, temperature

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities of the classes in their order."""
        scaled = images.permute(0, 3, 1, 2).to(torch.float32) / 255
        outputs = self.meta_learner.respond(scaled[None], self.adapted)
        return torch.softmax(self.meta_learner.pooled(outputs, 1)[0] / self.temperature, -1)


def export_onnx(model: ImageModel, path: str | Path) -> float:
    """Writes a fitted model as ONNX.

    Input ``images``: uint8 ``[N H W C]`` of the model's own size and channels (any ``N``). Output ``probabilities``:
    float32 ``[N K]``. The metadata hold, as JSON, ``classes``, ``size``, ``channels`` and how images are brought to
    that form (``preparation``).

    Args:
        model: fitted.
        path: of the file.

    Returns:
        The largest difference of a probability to PyTorch's on random images, checked with onnxruntime.

    Raises:
        UsageError: the packages that export needs are not installed.
        GenmetaError: torch's exporter cannot export the model, or the file does not answer the same; it is not written.
    """
    onnx, onnxruntime = _packages()
    pixels = model.pixels
    if model._trained.meta_learner.scales.is_cuda:
        raise UsageError("Export runs on the CPU: save the model, load it again, and export that.")
    answer = Answer(model._trained.meta_learner, model._adapted, model.temperature_).eval()
    noise = numpy_rng(seeded("export")).integers(0, 256, (_TRIED, *pixels.shape), dtype=np.uint8)
    try:
        data, expected = _exported(answer, noise, onnx, _metadata(model))
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        answers = session.run(None, {"images": noise})[0]
    except Exception as error:  # the exporter and the runtime raise kinds of their own, and many of them
        what = str(error).strip().partition("\n")[0][:200]
        raise GenmetaError(
            f"This model cannot be exported ({type(error).__name__}: {what}). Use the safetensors file, and report it."
        ) from error
    difference = float(np.abs(answers - expected).max())
    if not difference <= TOLERANCE:
        raise GenmetaError(
            f"The ONNX file differs from PyTorch by {difference:.2g} in a probability; at most {TOLERANCE:g} passes. "
            "It was not written: use the safetensors file, and report this."
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return difference


def _exported(answer: Answer, noise: np.ndarray, onnx: Any, metadata: dict[str, str]) -> tuple[bytes, np.ndarray]:
    """The file's content, and PyTorch's answers to ``noise``."""
    with torch.no_grad(), _quiet():
        batch = torch.export.Dim("N", min=1)
        program: Any = torch.onnx.export(
            answer,
            (torch.from_numpy(noise[:2]),),
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes={"images": {0: batch}},
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
        expected = answer(torch.from_numpy(noise)).numpy()
    proto = program.model_proto
    onnx.helper.set_model_props(proto, metadata)
    return proto.SerializeToString(), expected


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on itself."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _metadata(model: ImageModel) -> dict[str, str]:
    pixels = model.pixels
    preparation = (
        f"Cut out the centre square, resize it to {pixels.size}x{pixels.size} (bicubic, with antialiasing), "
        + ("make it grey" if pixels.channels == 1 else "make it RGB")
        + ("; where the border is bright, invert it (255 - v)." if pixels.invert == "auto" else ".")
    )
    return {
        "classes": json.dumps(model.classes_.tolist(), ensure_ascii=False),
        "size": str(pixels.size),
        "channels": str(pixels.channels),
        "preparation": preparation,
        "producer": f"genmeta {importlib.metadata.version('genmeta')}",
    }


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError as error:
        raise UsageError(
            f"Export needs {error.name}: pip install 'genmeta[export]'. Running the file needs onnxruntime alone."
        ) from None
    return onnx, onnxruntime

"""``genmeta export``: a fitted model as ONNX."""

from __future__ import annotations

from genmeta.cli.commands import Export
from genmeta.cli.output import console, print_json
from genmeta.estimators.export import export_onnx
from genmeta.estimators.image_model import ImageModel


def run(command: Export) -> None:
    """Writes the file, checks it and says how close it is."""
    model = ImageModel.load(command.model)
    difference = export_onnx(model, command.out)
    if command.json:
        size, channels = model.pixels.size, model.pixels.channels
        print_json(
            {
                "schema": "genmeta.export/1",
                "out": command.out,
                "classes": [str(name) for name in model.classes_],
                "input": {"name": "images", "type": "uint8", "shape": ["N", size, size, channels]},
                "output": {"name": "probabilities", "type": "float32", "shape": ["N", len(model.classes_)]},
                "largest_difference": difference,
            }
        )
        return
    text = f"{command.out}: probabilities equal PyTorch's to {difference:.1g}; it runs with onnxruntime alone"
    console().print(text)

"""``genmeta fit``: class folders to one model file."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path
from typing import Any

from rich.table import Table

from genmeta.cli.commands import Fit
from genmeta.cli.output import console, print_json
from genmeta.core.errors import DataWarning, UsageError
from genmeta.data.labelled import Labelled, read_labelled
from genmeta.engine.runtime import keep_freed_memory, use_threads
from genmeta.estimators.image_model import ImageModel
from genmeta.estimators.labels import contradictions, encode
from genmeta.estimators.preview import preview_picture, save_preview


def run(command: Fit) -> None:
    """Fits, saves the model and its preview, and says what was seen."""
    if os.path.isdir(command.out or "."):  # never raises, whatever the path
        raise UsageError(f"--out {command.out!r} is a folder; give a file such as model.safetensors.")
    keep_freed_memory()
    use_threads(command.threads)
    began = time.perf_counter()
    model = ImageModel(
        command.model,
        steps=command.steps,
        fast=command.fast,
        unknown_threshold=command.unknown_threshold,
        device=command.device,
        random_state=command.seed,
    )
    seen = read_labelled(Path(command.folder), model.prepare().pixels)
    if namesakes := seen.namesakes():
        one = os.path.join(command.folder, namesakes[0][-1].rpartition("/")[0])
        warnings.warn(
            f"{len(namesakes)} names of classes are in several folders, such as {' and '.join(namesakes[0][:2])}, "
            f"which are taken for different classes. If they are one, fit one folder alone: genmeta fit {one}",
            DataWarning,
            stacklevel=1,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of pictures in two classes, which we report by file
        model.fit(seen.images, seen.labels)
    model.save(command.out, images=not command.without_images)
    preview = command.preview or str(Path(command.out).with_suffix(".png"))
    _, targets = encode(seen.labels)
    names = [str(name) for name in model.classes_]
    save_preview(preview, preview_picture(seen.images, targets, model.leave_one_out_predictions_, names))
    seconds = time.perf_counter() - began
    twice = [(seen.files[i], seen.files[j]) for i, j in contradictions(seen.images, targets)]
    if command.json:
        print_json(_as_json(command, model, seen, twice, preview, seconds))
    else:
        _print(command, model, seen, twice, preview, seconds)


def _as_json(
    command: Fit, model: ImageModel, seen: Labelled, twice: list[tuple[str, str]], preview: str, seconds: float
) -> dict[str, Any]:
    said = model.leave_one_out_predictions_
    return {
        "schema": "genmeta.fit/1",
        "out": command.out,
        "preview": preview,
        "model": str(command.model),
        "classes": seen.counts(),
        "skipped": [{"file": name, "reason": reason} for name, reason in seen.skipped],
        "empty_classes": list(seen.empty),
        "same_picture_in_two_classes": [list(pair) for pair in twice],
        "leave_one_out": model.leave_one_out_,
        "held_out_predictions": {
            file: None if k < 0 else str(model.classes_[k]) for file, k in zip(seen.files, said, strict=True)
        },
        "trace": model.trace_,
        "temperature": model.temperature_,
        "seconds": round(seconds, 3),
    }


def _print(
    command: Fit, model: ImageModel, seen: Labelled, twice: list[tuple[str, str]], preview: str, seconds: float
) -> None:
    out = console()
    table = Table(title=f"{len(seen.images)} images of {len(model.classes_)} classes")
    for column in ("class", "images", "right when left out"):
        table.add_column(column, justify="left" if column == "class" else "right", overflow="fold")
    _, targets = encode(seen.labels)
    for k, (name, count) in enumerate(seen.counts().items()):
        said = model.leave_one_out_predictions_[targets == k]
        asked = int((said >= 0).sum())
        otherwise = "not asked" if command.fast else "the only image"
        table.add_row(name, str(count), f"{int((said == k).sum())} of {asked}" if asked else otherwise)
    out.print(table)
    for name, reason in seen.skipped:
        out.print(f"left out: {name}: {reason}")
    for name in seen.empty:
        out.print(f"left out: the class folder {name!r}: it holds no image that can be used")
    for first, other in twice:
        out.print(f"the same picture in two classes: {first} and {other}. Remove one.")
    if model.leave_one_out_ == model.leave_one_out_:
        out.print(f"leave-one-out accuracy: {100 * model.leave_one_out_:.1f} %")
    elif command.fast:
        out.print("leave-one-out accuracy: --fast leaves it out")
    else:
        out.print("leave-one-out accuracy: it needs two images of a class; give at least one class a second one")
    out.print(f"{seconds:.1f} s; model {command.out}, preview {preview}")

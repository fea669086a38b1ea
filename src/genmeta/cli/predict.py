"""``genmeta predict``: a fitted model on new images."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from genmeta.cli.commands import Predict
from genmeta.cli.output import console, print_json
from genmeta.core.errors import DataError, UsageError
from genmeta.data.ingest import read_image
from genmeta.data.layout import is_image
from genmeta.data.pixels import BadImageError
from genmeta.data.sources import FolderSource
from genmeta.engine.runtime import keep_freed_memory, use_threads
from genmeta.estimators.fitting import BATCH
from genmeta.estimators.image_model import ImageModel


def run(command: Predict) -> None:
    """Prints the class of every image; those that cannot be read are named."""
    if not command.images:
        raise UsageError("Name images or folders of images: genmeta predict model.safetensors IMAGES...")
    if command.top < 1:
        raise UsageError(f"--top must be 1 or more, got {command.top}.")
    keep_freed_memory()
    use_threads(command.threads)
    model = ImageModel.load(command.model)
    if command.unknown_threshold is not None:
        model.unknown_threshold = command.unknown_threshold
    rows = [row for batch in _batches(_files(command.images)) for row in _predict(model, batch, command.top)]
    if all("error" in row for row in rows):
        only = (
            "The image cannot be used" if len(rows) == 1 else f"None of the {len(rows)} images can be used; the first"
        )
        raise DataError(f"{only}: {rows[0]['file']}: {rows[0]['error']}. Check the path, or give another image.")
    for row in rows:
        if "error" in row:
            print(f"warning: {row['file']}: {row['error']}", file=sys.stderr)
    if command.json:
        classes = [str(name) for name in model.classes_]
        print_json({"schema": "genmeta.predict/1", "model": command.model, "classes": classes, "images": rows})
        return
    table = Table()
    for column in ("image", "class", "confidence", "then"):
        table.add_column(column, justify="right" if column == "confidence" else "left", overflow="fold")
    for row in rows:
        if "error" not in row:
            (_, likely), *others = row["probabilities"].items()
            then = ", ".join(f"{name} {100 * value:.0f} %" for name, value in others)
            table.add_row(row["file"], row["class"], f"{100 * likely:.0f} %", then)
    console().print(table)


def _files(images: tuple[str, ...]) -> Iterator[Path]:
    for given in images:
        path = Path(given)
        if path.is_dir():
            names = [name for name in FolderSource(path).names if is_image(name)]
            if not names:
                raise DataError(f"{given!r} holds no image files.")
            yield from (path / name for name in names)
        else:
            yield path


def _batches(files: Iterator[Path]) -> Iterator[list[Path]]:
    batch: list[Path] = []
    for file in files:
        batch.append(file)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _predict(model: ImageModel, batch: list[Path], top: int) -> list[dict[str, Any]]:
    read: dict[Path, np.ndarray] = {}
    errors: dict[Path, str] = {}
    for path in batch:
        try:
            read[path] = read_image(path, model.pixels)
        except BadImageError as error:
            errors[path] = str(error)
    probabilities = model.predict_proba(np.stack(list(read.values()))) if read else np.empty((0, 0))
    said = dict(zip(read, zip(probabilities, model.decide(probabilities), strict=True), strict=True)) if read else {}
    rows: list[dict[str, Any]] = []
    for path in batch:
        if path in errors:
            rows.append({"file": str(path), "error": errors[path]})
            continue
        p, label = said[path]
        best = np.argsort(-p, kind="stable")[:top]
        likely = {str(model.classes_[k]): round(float(p[k]), 6) for k in best}
        rows.append({"file": str(path), "class": str(label), "probabilities": likely})
    return rows

"""From a board to a classifier and what is worth saying about it."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from genmeta.core.errors import UsageError
from genmeta.serve.board import Board
from genmeta.serve.images import Picture
from genmeta.serve.refusal import Refusal


class Classifier(Protocol):
    """What the page needs of a classifier: `genmeta.estimators.FewShotClassifier` as seen from here."""

    classes_: np.ndarray
    leave_one_out_predictions_: np.ndarray
    trace_: list[dict[str, float]]

    def fit(self, images: Any, labels: Any) -> Any:
        """Learns from labelled images."""

    def predict_proba(self, images: Any) -> np.ndarray:
        """``[N K]`` probabilities, columns in the order of ``classes_``."""

    def save(self, path: Any, *, images: bool = True) -> None:
        """Writes a .safetensors file, with or without the images that were learned from."""


class Choice(NamedTuple):
    """A checkpoint as the page offers it.

    Attributes:
        name: of the checkpoint.
        title: what it is for.
        summary: one line more.
    """

    name: str
    title: str
    summary: str


class Adapted(NamedTuple):
    """A classifier that was adapted, and to what.

    Attributes:
        classifier: fitted to the names of the classes.
        class_ids: name -> number on the board.
        image_ids: number of each image, in the order of fitting.
        labels: the class of each image.
        checkpoint: what was adapted.
        revision: of the board it was adapted to.
        seconds: how long it took.
    """

    classifier: Classifier
    class_ids: dict[str, int]
    image_ids: list[int]
    labels: list[str]
    checkpoint: str
    revision: int
    seconds: float

    def predict(self, picture: Picture) -> dict[str, Any]:
        """Every class with its probability, the most probable first."""
        probabilities = self.classifier.predict_proba([picture.pixels])[0]
        names = [str(name) for name in self.classifier.classes_]
        answers = [
            {"id": self.class_ids[name], "name": name, "probability": float(p)}
            for name, p in zip(names, probabilities, strict=True)
        ]
        return {"answers": sorted(answers, key=lambda answer: -answer["probability"])}

    def as_file(self) -> bytes:
        """The model as a .safetensors file; the place it is written to on the way is private and removed."""
        with tempfile.TemporaryDirectory(prefix="genmeta-") as folder:
            path = Path(folder) / "model.safetensors"
            self.classifier.save(path, images=False)
            return path.read_bytes()

    def as_json(self, board: Board, checkpoint: str) -> dict[str, Any]:
        """What the page shows of it; ``stale`` where the board has changed since."""
        names = [str(name) for name in self.classifier.classes_]
        guesses = [(names[i] if i >= 0 else None) for i in self.classifier.leave_one_out_predictions_]
        checked = [row for row in zip(self.image_ids, self.labels, guesses, strict=True) if row[2] is not None]
        wrong = [(image, guess) for image, label, guess in checked if guess != label]
        trace = [(row["step"], row["accuracy"]) for row in self.classifier.trace_]
        return {
            "stale": self.revision != board.revision or self.checkpoint != checkpoint,
            "seconds": round(self.seconds, 1),
            "estimate": {"right": len(checked) - len(wrong), "of": len(checked)} if checked else None,
            "doubts": [{"image": image, "looks_like": guess} for image, guess in wrong],
            "trace": [{"step": int(s), "accuracy": a} for s, a in trace if math.isfinite(a)],
        }


class Backend:
    """The checkpoints that the page offers, and adapting them.

    Args:
        checkpoints: what the page offers, its default first.
        make: (checkpoint, quick) -> a classifier to fit.
    """

    def __init__(self, checkpoints: Sequence[Choice], make: Callable[[str, bool], Classifier]) -> None:
        if not checkpoints:
            raise UsageError("The page needs at least one checkpoint to adapt.")
        self.checkpoints = tuple(checkpoints)
        self._make = make

    def check(self, name: object) -> str:
        """The name, if the page offers that checkpoint."""
        if name not in [choice.name for choice in self.checkpoints]:
            raise Refusal("There is no such kind of pictures here.", 404)
        return str(name)

    def adaptation(self, board: Board, checkpoint: str, *, quick: bool) -> Callable[[], Adapted]:
        """The work of adapting to the board as it is now, to be done on another thread.

        Raises:
            Refusal: fewer than two classes, or one without images.
        """
        classes = board.support()
        revision = board.revision
        class_ids = {each.name: each.id for each in classes}
        labels = [each.name for each in classes for _ in each.pictures]
        image_ids = [number for each in classes for number in each.pictures]
        images = [p.pixels for each in classes for p in each.pictures.values()]

        def work() -> Adapted:
            began = time.monotonic()
            classifier = self._make(checkpoint, quick)
            classifier.fit(images, labels)
            seconds = time.monotonic() - began
            return Adapted(classifier, class_ids, image_ids, labels, checkpoint, revision, seconds)

        return work

"""What estimators say to settings, labels, images and files that they cannot use."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genmeta.core.errors import CheckpointError, DataError, GenmetaError, UsageError
from genmeta.estimators import FewShotClassifier
from genmeta.learners import LearnerConfig

Make = Callable[..., Any]
#: What a field of a damaged or forged header may hold.
ODD = (None, -1, 0, 1.5, 10**30, "x", [], {}, float("nan"))


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"steps": 2.5}, r"steps must be 0 or more, a whole number, got 2\.5"),
        ({"steps": "3"}, "steps must be 0 or more, a whole number, got '3'"),
        ({"steps": True}, "steps must be 0 or more, a whole number, got True"),
        ({"unknown_threshold": "x"}, "unknown_threshold is a probability between 0 and 1, got x"),
        ({"device": None}, "Unknown device 'None'"),
        ({"model": 5}, "A checkpoint is a name, a path or a Hugging Face Hub id, got int"),
        ({"model": b"x"}, "A checkpoint is a name, a path or a Hugging Face Hub id, got bytes"),
    ],
)
def test_settings_of_a_wrong_kind(pictures: Make, checkpoint: Make, settings: dict[str, Any], message: str) -> None:
    seen = pictures()
    with pytest.raises(UsageError, match=message):
        FewShotClassifier(**{"model": checkpoint("protonet"), **settings}).fit(seen.images, seen.labels)


def test_labels_are_not_turned_into_others(pictures: Make, checkpoint: Make) -> None:
    images, model = pictures().images[:4], FewShotClassifier(checkpoint("protonet"))
    with pytest.raises(UsageError, match="Labels are of different kinds: int, str"):
        model.fit(images, [0, "a", 0, "a"])  # numpy would make '0' of 0
    with pytest.raises(UsageError, match=r"Labels such as 10{30} are no classes: they do not fit into 64 bits"):
        model.fit(images, [10**30, 1, 10**30, 1])
    model = FewShotClassifier(checkpoint("protonet"), unknown_threshold=1.0)
    for labels in ([True, False] * 2, np.array([0, 1] * 2, np.uint8)):
        assert model.fit(images, labels).predict(images[:2]).tolist() == [-1, -1]


def test_tensors_that_numpy_cannot_hold(pictures: Make, checkpoint: Make) -> None:
    seen = pictures()
    model = FewShotClassifier(checkpoint("protonet")).fit(seen.images, seen.labels)
    for tensor in (torch.zeros(1, 3, 20, 20, device="meta"), torch.zeros(1, 3, 20, 20).bfloat16()):
        with pytest.raises(DataError, match=r"Image number 0 cannot be used: is a tensor that numpy cannot hold"):
            model.predict(tensor)


def test_answers_of_another_shape_and_places_that_are_none(pictures: Make, checkpoint: Make) -> None:
    seen = pictures()
    model = FewShotClassifier(checkpoint("protonet")).fit(seen.images, seen.labels)
    for probabilities in (np.ones((3, 9)), np.ones(3)):
        with pytest.raises(UsageError, match=r"Expected probabilities \[N 3\], of every class, got shape"):
            model.decide(probabilities)
    with pytest.raises(UsageError, match="Expected the path of a file to write, got"):
        model.save("a\0b")


@pytest.mark.parametrize("changes", [{"channels": True}, {"size": 28.0}, {"width": "64"}, {"groups": None}])
def test_learners_of_wrong_kinds(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"A learner's \w+ is a whole number, got"):
        LearnerConfig(**changes)
    with pytest.raises(UsageError, match=r"Images of 1000000 pixels a side are too large: use size 4096 or less"):
        LearnerConfig(size=10**6)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested plain data."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(min(2, len(value))):
            yield from places(value[key], (*at, key))


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_forged_header_is_refused_or_harmless(pictures: Make, checkpoint: Make, tmp_path: Path) -> None:
    seen, file = pictures(), tmp_path / "model.safetensors"
    FewShotClassifier(checkpoint("hypernet"), unknown_threshold=0.1).fit(seen.images, seen.labels).save(file)
    whole = file.read_bytes()
    end = 8 + struct.unpack("<Q", whole[:8])[0]
    table = json.loads(whole[8:end])
    header = json.loads(table["__metadata__"]["genmeta"])
    refused = tried = 0
    for at in places(header):
        for value in (*ODD, ...):
            forged = copy.deepcopy(header)
            inside = forged
            for key in at[:-1]:
                inside = inside[key]
            if value is ...:
                del inside[at[-1]]
            else:
                inside[at[-1]] = value
            text = json.dumps({**table, "__metadata__": {"genmeta": json.dumps(forged)}}).encode()
            file.write_bytes(struct.pack("<Q", len(text)) + text + whole[end:])
            tried += 1
            try:
                answers = FewShotClassifier.load(file).predict_proba(seen.images[:1])
            except GenmetaError:
                refused += 1
            else:
                assert answers.shape == (1, 3), (at, value)
                assert np.isfinite(answers).all(), (at, value)
    assert tried > 200
    assert refused > tried // 3
    file.write_bytes(whole)
    assert FewShotClassifier.load(file).predict(seen.images[:1]) == [seen.labels[0]]
    file.write_bytes(whole[:-9])
    with pytest.raises(CheckpointError):
        FewShotClassifier.load(file)

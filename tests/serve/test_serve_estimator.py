"""The page with the real estimator behind it: what it says is what the estimator says, and the file is a model."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from serve_helpers import png

from genmeta.core.errors import CheckpointError, UsageError
from genmeta.estimators import FewShotClassifier
from genmeta.serve.adapting import Adapted
from genmeta.serve.board import Board
from genmeta.serve.checkpoints import estimators
from genmeta.serve.examples import EXAMPLES
from genmeta.serve.images import Picture, read_picture
from genmeta.serve.limits import Limits
from genmeta.serve.work import Lane

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (20, 40, 210)}


def pictures(seed: int, colour: tuple[int, int, int], count: int) -> list[Picture]:
    random = np.random.default_rng(seed)
    return [
        read_picture(png(tuple(np.clip(colour + random.integers(-40, 40, 3), 0, 255).tolist())), Limits())
        for _ in range(count)
    ]


def board_of(seed: int, names: dict[str, tuple[int, int, int]]) -> Board:
    board = Board(Limits())
    for at, (name, colour) in enumerate(names.items()):
        number = board.add_class(name).id
        for each in pictures(seed + at, colour, 3):
            board.add_picture(number, each)
    return board


def reference(board: Board, tiny: Path, question: Picture) -> dict[str, float]:
    """The estimator alone, asked directly."""
    labels = [each.name for each in board.classes.values() for _ in each.pictures]
    images = [p.pixels for each in board.classes.values() for p in each.pictures.values()]
    model = FewShotClassifier(tiny).fit(images, labels)
    return dict(zip(model.classes_.tolist(), model.predict_proba([question.pixels])[0], strict=True))


def said(adapted: Adapted, question: Picture) -> dict[str, float]:
    return {row["name"]: row["probability"] for row in adapted.predict(question)["answers"]}


def test_the_page_says_what_the_estimator_says(tiny: Path, tmp_path: Path) -> None:
    backend = estimators([str(tiny)])
    assert backend.checkpoints[0].title == "tiny"
    board, question = board_of(0, COLOURS), pictures(9, COLOURS["green"], 1)[0]
    adapted = backend.adaptation(board, str(tiny), quick=False)()
    expected = reference(board, tiny, question)
    assert said(adapted, question) == pytest.approx(expected, abs=1e-6)
    shown = adapted.as_json(board, str(tiny))
    assert shown["estimate"]["of"] == 9
    assert [row["step"] for row in shown["trace"]] == list(range(len(shown["trace"])))
    # what is downloaded is the model that answered, without the images it learned from
    file = tmp_path / "model.safetensors"
    file.write_bytes(adapted.as_file())
    loaded = FewShotClassifier.load(file)
    probabilities = loaded.predict_proba([question.pixels])[0]
    assert dict(zip(loaded.classes_.tolist(), probabilities, strict=True)) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(UsageError, match="without its images"):
        loaded.partial_fit([question.pixels], ["red"])


def test_fast_takes_the_generated_start(tiny: Path) -> None:
    board = board_of(0, COLOURS)
    trace = estimators([str(tiny)]).adaptation(board, str(tiny), quick=True)().as_json(board, str(tiny))["trace"]
    assert len(trace) <= 1


def test_answers_stay_apart_while_others_adapt(tiny: Path) -> None:
    """Several adapt and ask at once on the page's own lanes; each answer equals that of an estimator of one's own."""
    backend = estimators([str(tiny)])
    colours = list(COLOURS.values())
    boards = [board_of(10 * i, {f"{i}-{at}": colours[(at + i) % 3] for at in range(2 + i % 2)}) for i in range(6)]
    question = pictures(5, COLOURS["blue"], 1)[0]

    async def scene() -> list[list[dict[str, float]]]:
        adapting, predicting = Lane("adapting", 2, 99), Lane("predicting", 2, 99)

        async def one(board: Board) -> list[dict[str, float]]:
            adapted = await adapting.call(backend.adaptation(board, str(tiny), quick=False))
            return await asyncio.gather(*(predicting.call(lambda: said(adapted, question)) for _ in range(4)))

        answers = await asyncio.gather(*(one(board) for board in boards))
        adapting.close()
        predicting.close()
        return answers

    for board, answers in zip(boards, asyncio.run(scene()), strict=True):
        expected = reference(board, tiny, question)
        for answer in answers:
            assert answer == pytest.approx(expected, abs=1e-5)


def test_what_ships_is_offered() -> None:
    backend = estimators()
    assert [choice.name for choice in backend.checkpoints] == ["photos", "characters"]
    assert {example.checkpoint for example in EXAMPLES.values()} == {"photos", "characters"}


def test_checkpoints_that_cannot_be_offered(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint 'nothing-like-it'"):
        estimators(["nothing-like-it"])
    with pytest.raises(UsageError, match="named twice"):
        estimators([str(tiny), str(tiny)])
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(tiny.read_bytes()[:200])
    with pytest.raises(CheckpointError):
        estimators([str(damaged)])

"""What each checkpoint that comes with the package says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genmeta.core.errors import CheckpointError
from genmeta.engine import read_header
from genmeta.engine.shipped import files


@dataclass(frozen=True)
class Checkpoint:
    """One row of ``genmeta list checkpoints``; the model card beside the file says more.

    Attributes:
        name: as :func:`genmeta.zoo.find` takes it.
        summary: what it is for, in one sentence.
        method: that was meta-trained.
        learner: the network whose weights are written.
        images: what it reads, as ``size×size×channels``.
        data: what it was meta-trained on.
        licence: of the checkpoint.
        megabytes: size of the file.
        file: where it is.
        card: the model card.
    """

    name: str
    summary: str
    method: str
    learner: str
    images: str
    data: str
    licence: str
    megabytes: float
    file: Path
    card: Path


def list_checkpoints() -> list[Checkpoint]:
    """Every checkpoint in the package, by name."""
    return [_describe(path) for path in files()]


def _describe(path: Path) -> Checkpoint:
    header = read_header(path)
    try:
        card, learner = header["card"], header["learner"]
        return Checkpoint(
            name=path.stem,
            summary=str(card["summary"]),
            method=str(header["method"]),
            learner=str(learner["name"]),
            images=f"{learner['size']}×{learner['size']}×{learner['channels']}",
            data=str(card["data"]),
            licence=str(card["licence"]),
            megabytes=round(path.stat().st_size / 1e6, 2),
            file=path,
            card=path.with_suffix(".md"),
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"The checkpoint {path.name!r} has no card: {error} is missing in its header.") from error

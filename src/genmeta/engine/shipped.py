"""The checkpoint files that come with the package, by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

DIRECTORY = Path(str(resources.files("genmeta"))) / "checkpoints"


def files() -> list[Path]:
    """Every checkpoint in the package, by name."""
    return sorted(DIRECTORY.glob("*.safetensors"))


def shipped(name: str) -> Path | None:
    """The file of the checkpoint called ``name``; ``None`` if there is none in the package."""
    return next((path for path in files() if path.stem == name), None)


def names() -> list[str]:
    """Names of the checkpoints in the package."""
    return [path.stem for path in files()]

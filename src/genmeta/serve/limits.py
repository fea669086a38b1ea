"""How much a page may ask of the machine that serves it."""

from __future__ import annotations

from dataclasses import dataclass

from genmeta.core.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """Bounds on one visitor and on all of them together.

    Attributes:
        upload_mb: size of one uploaded image file, in MB (10⁶ bytes).
        megapixels: pixels of one uploaded image, in 10⁶; read from its header, before it is decoded.
        side: images are kept with the shorter side reduced to this many pixels.
        classes: classes of a visitor.
        images: images of a class.
        pictures: images of a visitor.
        sessions: visitors at one time.
        memory_mb: pixels of all visitors' images, in MB.
        idle_minutes: a visitor who was silent for so long is forgotten; an open page is not silent.
        waiting: adaptations that may wait for their turn.
        adapting: adaptations at one time.
        body_seconds: how long an upload may take.
    """

    upload_mb: float = 20.0
    megapixels: float = 64.0
    side: int = 256
    classes: int = 100
    images: int = 100
    pictures: int = 500
    sessions: int = 100
    memory_mb: float = 1000.0
    idle_minutes: float = 15.0
    waiting: int = 100
    adapting: int = 1
    body_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UsageError(f"The page's limit {name} must be above zero, got {value}.")

    @property
    def upload_bytes(self) -> int:
        """Largest request body, in bytes."""
        return round(self.upload_mb * 1e6)

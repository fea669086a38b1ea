"""Characters drawn with the DejaVu and STIX font faces that come inside matplotlib."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Letters, punctuation and symbols. Numbers are left out: handwritten digits are a target never seen in training.
_CATEGORIES = "LPS"
_PATTERNS = ("DejaVu*.ttf", "STIX*.ttf")


@dataclass(frozen=True)
class Faces:
    """Font files, and the characters that each of them draws."""

    paths: tuple[Path, ...]

    @classmethod
    def of_matplotlib(cls) -> Faces:
        """The DejaVu and STIX faces, sorted by name."""
        import matplotlib

        folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        return cls(tuple(path for pattern in _PATTERNS for path in sorted(folder.glob(pattern))))

    @cached_property
    def holders(self) -> dict[str, list[int]]:
        """Character -> the faces that have a glyph for it."""
        from matplotlib.ft2font import FT2Font

        found: dict[str, list[int]] = {}
        for index, path in enumerate(self.paths):
            for code in FT2Font(str(path)).get_charmap():
                if unicodedata.category(chr(code))[0] in _CATEGORIES:
                    found.setdefault(chr(code), []).append(index)
        return found

    def fonts(self, em: int) -> list[ImageFont.FreeTypeFont]:
        """Every face at ``em`` pixels; the basic layout is the same whether or not libraqm is installed."""
        return [ImageFont.truetype(str(path), em, layout_engine=ImageFont.Layout.BASIC) for path in self.paths]


def ink(font: ImageFont.FreeTypeFont, character: str) -> Image.Image | None:
    """The character cut to its ink, bright on black; None when it leaves no ink."""
    left, top, right, bottom = map(int, font.getbbox(character, mode="L"))
    if right <= left or bottom <= top:
        return None
    # not font.getmask, whose result can only be read pixel by pixel
    image = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(image).text((-left, -top), character, fill=255, font=font)
    box = image.getbbox()
    return image.crop(box) if box else None


def centred(image: Image.Image, size: int, longer_side: float) -> np.ndarray:
    """Ink scaled, aspect kept, to ``longer_side`` pixels and centred on black.

    Returns:
        ``[size size]`` uint8, antialiased.
    """
    width, height = image.size
    window = size * max(width, height) / longer_side  # the side, in source pixels, of what becomes the result
    canvas = 2 * int(np.ceil(window / 2) + 1)
    board = Image.new("L", (canvas, canvas))
    board.paste(image, (canvas // 2 - width // 2, canvas // 2 - height // 2))
    # the ink of an odd width is half a pixel off the middle of the board
    x, y = (canvas + width % 2) / 2, (canvas + height % 2) / 2
    box = (x - window / 2, y - window / 2, x + window / 2, y + window / 2)
    return np.asarray(board.resize((size, size), Image.Resampling.BICUBIC, box=box))


def similarity(drawings: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """How much of their ink two characters share, averaged over the faces that draw both.

    ``s(a, b) = mean_f  a_f . b_f / (|a_f|^2 + |b_f|^2 - a_f . b_f)``, the soft intersection over union: 1 for the same
    drawing, 0 for no common ink (or no common face).

    Args:
        drawings: ``[F K h w]`` uint8, every character in every face.
        drawn: ``[F K]`` bool, which of them there are.

    Returns:
        ``[K K]`` float32 in [0, 1], symmetric.
    """
    n_characters = drawings.shape[1]
    total = np.zeros((n_characters, n_characters), np.float32)
    shared = np.zeros_like(total)
    for face, present in zip(drawings, drawn, strict=True):
        here = np.flatnonzero(present)
        if not len(here):
            continue
        flat = face[here].reshape(len(here), -1).astype(np.float32)
        common = flat @ flat.T
        energy = np.diag(common)
        block = np.ix_(here, here)
        total[block] += common / (energy[:, None] + energy[None, :] - common)
        shared[block] += 1
    mean = total / np.maximum(shared, 1)
    return np.maximum(mean, mean.T)


def distinct(drawings: Sequence[bytes]) -> list[int]:
    """Positions of the drawings that equal no earlier one: many faces draw an arrow alike."""
    seen: dict[bytes, int] = {}
    for position, drawing in enumerate(drawings):
        seen.setdefault(drawing, position)
    return list(seen.values())

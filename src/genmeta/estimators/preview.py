"""A picture of a training set: every image, framed by whether a model that was fitted without it gets it right."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from genmeta.core.files import atomic_path

# those of reports, which bring Matplotlib along: a second that a quick fit has not got
INK, MUTED, LINE, CARD, GOOD, BAD = "#1c2127", "#5d6670", "#dde1e6", "#fffffe", "#15803c", "#c0262d"
_SIDE, _GAP, _TEXT, _LEFT = 96, 10, 18, 150
_ROWS, _COLUMNS = 100, 10


def preview_picture(
    images: np.ndarray, targets: np.ndarray, predictions: np.ndarray, class_names: Sequence[str]
) -> Image.Image:
    """A row for each class: its images, green where the held-out prediction is right, red with the wrong class below.

    Args:
        images: ``[N H W C]`` uint8.
        targets: ``[N]`` class numbers.
        predictions: ``[N]`` class numbers predicted by models fitted without the image, −1 for none.
        class_names: of the classes; the first hundred are shown, and the first ten images of each.
    """
    shown = [np.flatnonzero(targets == k)[:_COLUMNS] for k in range(min(len(class_names), _ROWS))]
    high = _SIDE + _TEXT + _GAP
    width = _LEFT + max(map(len, shown)) * (_SIDE + _GAP) + _GAP
    picture = Image.new("RGB", (width, _TEXT + _GAP + len(shown) * high), CARD)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    legend = "green: right when fitted without it; red: wrong, with what was said; grey: was not left out"
    draw.text((_GAP, _GAP // 2), legend, MUTED, font)
    for k, members in enumerate(shown):
        top = _TEXT + _GAP + k * high
        draw.line([(0, top - _GAP // 2), (width, top - _GAP // 2)], LINE)
        draw.text((_GAP, top + _SIDE // 2 - 8), _short(class_names[k], draw, font, _LEFT - 2 * _GAP), INK, font)
        for column, n in enumerate(members):
            left = _LEFT + column * (_SIDE + _GAP)
            array = images[n][..., 0] if images.shape[-1] == 1 else images[n]
            picture.paste(Image.fromarray(array).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), (left, top))
            guess = int(predictions[n])
            colour = MUTED if guess < 0 else GOOD if guess == k else BAD
            draw.rectangle([left - 2, top - 2, left + _SIDE + 1, top + _SIDE + 1], outline=colour, width=3)
            if guess >= 0 and guess != k:
                draw.text((left, top + _SIDE + 2), _short(class_names[guess], draw, font, _SIDE), BAD, font)
    return picture


def save_preview(path: str | Path, picture: Image.Image) -> None:
    """Writes a PNG, atomically."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    with atomic_path(path) as temporary:
        temporary.write_bytes(stream.getvalue())


def _short(text: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """``text``, cut at the right where it is wider than ``width`` pixels; what the font cannot draw becomes ``?``."""
    text = " ".join(text.split())
    if not isinstance(font, ImageFont.FreeTypeFont):
        text = text.encode("latin-1", "replace").decode("latin-1")
    while draw.textlength(text, font) > width and len(text) > 1:
        text = text[:-2] + "…"
    return text

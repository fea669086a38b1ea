"""Tasks to try the page with, made on the spot from what every installation has: nothing is downloaded or stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image

from genmeta.serve.images import Picture, picture

_SHOTS, _TRIES = 4, 2
_SIDE = 112
_LETTERS = {"Ayb": "Ա", "Da": "Դ", "Xeh": "Խ", "Men": "Մ", "Feh": "Ֆ"}
_FACES = (
    "DejaVuSans", "DejaVuSerif-Bold", "DejaVuSans-Oblique", "DejaVuSerif-Italic", "DejaVuSans-Bold", "DejaVuSerif",
)  # fmt: skip
#: Parts of scikit-learn's two sample photos: class -> photo, left and top of squares of 96 pixels.
_PARTS = {
    "Pagoda": ("china.jpg", ((105, 40), (170, 130), (90, 230), (210, 250), (200, 60), (110, 150))),
    "Trees": ("china.jpg", ((440, 320), (345, 330), (544, 170), (40, 331), (544, 290), (150, 331))),
    "Dahlia": ("flower.jpg", ((190, 100), (320, 110), (250, 180), (200, 240), (330, 230), (255, 95))),
    "Leaves": ("flower.jpg", ((10, 70), (60, 180), (540, 60), (470, 180), (20, 250), (500, 240))),
}
_PART = 96


class Example(NamedTuple):
    """An example as the list shows it.

    Attributes:
        title: what the button says.
        checkpoint: the checkpoint it is for.
        draw: class -> its images, the last of them to be tried.
    """

    title: str
    checkpoint: str
    draw: Callable[[], Mapping[str, list[Image.Image]]]


class DrawnExample(NamedTuple):
    """An example, made.

    Attributes:
        checkpoint: the checkpoint it is for.
        classes: class name -> images to learn from.
        tries: further images, as data URIs, in an order that does not give the classes away.
    """

    checkpoint: str
    classes: dict[str, list[Picture]]
    tries: list[str]


def draw_example(name: str) -> DrawnExample:
    """Makes the example of that name, one of `EXAMPLES`; the same one each time."""
    example = EXAMPLES[name]
    drawn = {label: [picture(image) for image in images] for label, images in example.draw().items()}
    tries = [p.thumbnail for pictures in drawn.values() for p in pictures[_SHOTS:]]
    order = np.random.default_rng(0).permutation(len(tries))
    return DrawnExample(
        example.checkpoint,
        {label: pictures[:_SHOTS] for label, pictures in drawn.items()},
        [tries[i] for i in order],
    )


def _letters() -> dict[str, list[Image.Image]]:
    from genmeta.data.glyph_faces import Faces, centred, ink

    faces = Faces.of_matplotlib()
    fonts = dict(zip((path.stem for path in faces.paths), faces.fonts(160), strict=True))
    drawn: dict[str, list[Image.Image]] = {}
    for name, character in _LETTERS.items():
        inks = [ink(fonts[face], character) for face in _FACES]
        drawn[name] = [Image.fromarray(255 - centred(i, _SIDE, 0.7 * _SIDE)) for i in inks if i is not None]
    return drawn


def _digits() -> dict[str, list[Image.Image]]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    random = np.random.default_rng(3)
    drawn: dict[str, list[Image.Image]] = {}
    for digit in range(5):
        chosen = random.choice(np.flatnonzero(bunch.target == digit), _SHOTS + _TRIES, replace=False)
        drawn[str(digit)] = [_on_paper(bunch.images[i]) for i in chosen]
    return drawn


def _on_paper(values: np.ndarray) -> Image.Image:
    """One of the 8x8 digits (0 to 16, bright on black) as ink on white, enlarged."""
    grey = Image.fromarray(np.rint(255 - values * (255 / 16)).astype(np.uint8))
    paper, inner = Image.new("L", (_SIDE, _SIDE), 255), round(_SIDE * 20 / 28)
    paper.paste(grey.resize((inner, inner), Image.Resampling.BICUBIC), ((_SIDE - inner) // 2,) * 2)
    return paper


def _parts() -> dict[str, list[Image.Image]]:
    from sklearn.datasets import load_sample_image

    photos = {name: Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")}
    return {
        label: [photos[name].crop((x, y, x + _PART, y + _PART)) for x, y in corners]
        for label, (name, corners) in _PARTS.items()
    }


#: Every example by name.
EXAMPLES = {
    "photos": Example("Parts of photos", "photos", _parts),
    "letters": Example("Printed Armenian letters", "characters", _letters),
    "digits": Example("Handwritten digits", "characters", _digits),
}

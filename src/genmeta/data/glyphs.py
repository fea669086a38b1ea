"""Glyphs: characters as classes, font faces as images; comes with matplotlib, so it is always there.

Of the characters that 12 or more DejaVu and STIX faces draw in 12 or more ways, those that look like an earlier one are
left out, so that no class of one split can be told by having seen its twin in another: Cyrillic 'a' is Latin 'a'.
With matplotlib 3.11 that leaves 752 classes and 10,539 images (12 to 24 of each class) of about 1,700 characters:

========  =======================================  =======
split     scripts (classes)                        classes
========  =======================================  =======
train     Latin (359), Greek (128), Symbols (126)      613
val       Georgian (39)                                 39
test      Armenian (55), Cyrillic (45)                 100
========  =======================================  =======

Symbols are punctuation, arrows, currencies, mathematics and modifier letters, together. Accented letters count as
characters of their own where the accent can be seen. Drawing takes some ten seconds, once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
import PIL

from genmeta.data.cache import Block, stored_images
from genmeta.data.classes import ImageClasses
from genmeta.data.glyph_faces import Faces, centred, distinct, ink, similarity
from genmeta.data.progress import track
from genmeta.data.registry import DatasetInfo, Reader, Request

INFO = DatasetInfo(
    name="glyphs",
    summary="printed characters of six scripts in 12 to 20 font faces, split by script",
    how_to_get="Comes with matplotlib's fonts; nothing to download.",
    path="none",
    size=28,
    channels=1,
    options={
        "min_images": "least number of different drawings of a character (default 12)",
        "turns": "yes or no: each training class turned by 90, 180, 270 degrees is a class too (default no)",
    },
)
# Earlier scripts keep the copy of what looks alike.
SCRIPT_SPLITS = {
    "Latin": "train",
    "Greek": "train",
    "Symbols": "train",
    "Georgian": "val",
    "Armenian": "test",
    "Cyrillic": "test",
}
ALIKE = 0.8  # shared ink from which two characters are one class
ALIKE_FORMS = 0.65  # the same for a letter's other case, superscript, ... : C and c, x and subscript x
_RENDERER = 1
_VISIBLE = 96  # a line so long and thin that it fades when scaled is no class
_COMPARED_SIZE, _COMPARED_SIDE, _COMPARED_EM = 24, 20, 96


def script_of(character: str) -> str:
    """Name of the script, from the character's Unicode name; ``Symbols`` for all that belong to none of the five."""
    words = unicodedata.name(character, "").replace("-", " ").split()
    # a MODIFIER LETTER CYRILLIC EN belongs to Cyrillic, though its name begins otherwise
    for script in ("Georgian", "Armenian", "Cyrillic", "Greek", "Latin"):
        if script.upper() in words:
            return script
    return "Symbols"


def class_name(character: str) -> str:
    """``Latin/small letter a``."""
    script = script_of(character)
    name = unicodedata.name(character, f"U+{ord(character):04X}").removeprefix(script.upper() + " ")
    return f"{script}/{name.lower()}"


def open_glyphs(request: Request) -> ImageClasses:
    """Draws the glyphs, or takes them from the cache: the same pixels with the same matplotlib and Pillow."""
    import matplotlib

    least = request.integer("min_images", 12, 2, 24)
    turns = request.flag("turns", False)
    shape = (request.size, request.size, request.channels)
    identity = {
        "glyphs": _RENDERER, "matplotlib": matplotlib.__version__, "pillow": PIL.__version__, "min_images": least,
    }  # fmt: skip
    stored = stored_images(identity, shape, lambda: _blocks(shape, least), request.cache_dir)
    place = np.array([SCRIPT_SPLITS[name.split("/")[0]] for name in stored.class_names])
    return ImageClasses(
        name=request.text,
        images=stored.images,
        offsets=stored.offsets,
        class_names=stored.class_names,
        splits={split: np.flatnonzero(place == split) for split in ("train", "val", "test")},
        quarter_turns=frozenset({"train"} if turns else ()),
    )


def _blocks(shape: tuple[int, int, int], least: int) -> Iterator[Block]:
    faces = Faces.of_matplotlib()
    em = max(_COMPARED_EM, 4 * shape[0])  # drawn larger than the result, then averaged down
    fonts = faces.fonts(em)
    for character, own_faces in chosen_characters(faces, least):
        images = []
        for face in own_faces:
            drawing = ink(fonts[face], character)
            if drawing is not None:
                # large characters fill more of the image than small ones, within 50 and 86 % of it
                fill = np.clip(0.45 + 0.4 * max(drawing.size) / em, 0.5, 0.86)
                images.append(centred(drawing, shape[0], float(fill) * shape[0]))
        stack = np.stack(images)[..., None]
        yield Block(class_name(character), np.broadcast_to(stack, (len(images), *shape)))


def chosen_characters(faces: Faces, least: int) -> list[tuple[str, list[int]]]:
    """The characters that become classes, each with the faces that draw it differently, in the order of the scripts."""
    scripts = list(SCRIPT_SPLITS)
    characters = [character for character, holders in faces.holders.items() if len(holders) >= least]
    characters.sort(key=lambda character: (scripts.index(script_of(character)), character))
    drawings, drawn = _drawings(faces, characters)
    own_faces: list[list[int]] = []
    for position in range(len(characters)):
        have = np.flatnonzero(drawn[:, position])
        own_faces.append([int(have[i]) for i in distinct([drawings[face, position].tobytes() for face in have])])
    rich = [position for position in range(len(characters)) if len(own_faces[position]) >= least]
    kept = without_lookalikes([characters[i] for i in rich], similarity(drawings[:, rich], drawn[:, rich]))
    return [(characters[rich[i]], own_faces[rich[i]]) for i in kept]


def _drawings(faces: Faces, characters: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """``[F K h w]`` uint8 drawings of one scale, and ``[F K]`` bool: which of them there are."""
    shape = (len(faces.paths), len(characters))
    drawings = np.zeros((*shape, _COMPARED_SIZE, _COMPARED_SIZE), np.uint8)
    drawn = np.zeros(shape, bool)
    fonts = faces.fonts(_COMPARED_EM)
    for position, character in enumerate(track(characters, len(characters), "Drawing glyphs")):
        for face in faces.holders[character]:
            drawing = ink(fonts[face], character)
            if drawing is not None:
                drawings[face, position] = centred(drawing, _COMPARED_SIZE, _COMPARED_SIDE)
                drawn[face, position] = drawings[face, position].max() >= _VISIBLE
    return drawings, drawn


def without_lookalikes(characters: Sequence[str], shared_ink: np.ndarray) -> list[int]:
    """Positions of the characters to keep: none looks like one kept before, nor like any at all of an earlier split.

    Args:
        characters: in the order of `SCRIPT_SPLITS`.
        shared_ink: ``[K K]``, see `similarity`.
    """
    splits = np.array([SCRIPT_SPLITS[script_of(character)] for character in characters])
    forms = np.array([unicodedata.normalize("NFKC", character).casefold() for character in characters])
    kept = np.zeros(len(characters), bool)
    for position in range(len(characters)):
        earlier = np.arange(len(characters)) < position
        # a twin that was itself left out, for looking like a third, still stands for what that split shows
        rivals = earlier & (kept | (splits != splits[position]))
        alike = rivals & (shared_ink[position] >= ALIKE)
        alike |= earlier & (forms == forms[position]) & (shared_ink[position] >= ALIKE_FORMS)
        kept[position] = not alike.any()
    return [int(position) for position in np.flatnonzero(kept)]


READER = Reader(INFO, open_glyphs)

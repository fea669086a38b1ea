"""Boxes in Pascal VOC's XML format, one file for each image, in a folder or a zip.

Everingham et al., "The Pascal visual object classes challenge", 2010 (http://host.robots.ox.ac.uk/pascal/VOC).
"""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from xml.parsers import expat

from genmeta.core.errors import DataError, UsageError
from genmeta.data.box_images import BOX_OPTIONS, Annotated, BoxImages, by_base_name, find_image, load_boxes
from genmeta.data.box_source import BoxSource
from genmeta.data.pixels import BadImageError
from genmeta.data.registry import DatasetInfo, Request, SceneReader
from genmeta.data.sources import Source, open_source

INFO = DatasetInfo(
    name="voc",
    serves="detection",
    summary="your own boxes: Pascal VOC XML files and their images, in a folder or a zip",
    how_to_get="PATH is a folder or zip with images and one XML file for each, such as Annotations/ and JPEGImages/.",
    path="required",
    size=96,
    channels=3,
    options=dict(BOX_OPTIONS),
)
_DEEPEST = 16
_MOST_BYTES = 16 * 2**20
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class _RefusedError(Exception):
    """An XML file that no honest annotation looks like; the message is the reason."""


def open_voc(request: Request) -> BoxImages:
    """Opens a Pascal VOC data set.

    The image of an XML file is the one its ``filename`` names, or else the one called like the XML file. Coordinates
    count pixels from 1 and include the last one, as VOC's do. Both sides of an image are resized to ``size``.

    Raises:
        DataError: no XML file, one that is not VOC's, a bad image with ``on_bad_image="fail"``.
        UsageError: an option that is out of range.
    """
    path = request.path
    if path is None:
        raise UsageError("Data set 'voc' needs a path: write 'voc:PATH'.")
    source = open_source(path)
    files = [name for name in source.names if PurePosixPath(name).suffix.lower() == ".xml"]
    if not files:
        raise DataError(f"{str(path)!r} holds no XML file. Expected Pascal VOC annotations and their images.")
    by_base = by_base_name(source)
    by_stem: dict[str, list[str]] = {}
    for name in (name for names in by_base.values() for name in names):
        by_stem.setdefault(PurePosixPath(name).stem, []).append(name)
    annotated: list[Annotated] = []
    faults = 0
    for file in files:
        try:
            annotated.append(_read(source, file, by_base, by_stem))
        except (BadImageError, _RefusedError) as error:
            if request.on_bad_image == "fail":
                raise DataError(
                    f"{file!r} of {str(path)!r} cannot be used: {error}. "
                    "Repair or remove it, or leave such files out with --on-bad-image skip."
                ) from error
            faults += 1
    names = sorted({name for image in annotated for name in image.classes})
    remarks = [f"{faults} XML files that cannot be used were left out"] if faults else []
    return load_boxes(request, source, annotated, names, remarks)


def _read(source: Source, file: str, by_base: dict[str, list[str]], by_stem: dict[str, list[str]]) -> Annotated:
    fields, objects = read_voc(source.read(file))
    stem = PurePosixPath(file).stem
    wanted = fields.get("annotation/filename", "") or stem
    beside = file.rpartition("/")[0]
    above = beside.rpartition("/")[0]
    folders = [f"{folder}/" if folder else "" for folder in (beside, above)]
    folders += [f"{above}/JPEGImages/".lstrip("/"), f"{above}/images/".lstrip("/")]
    image = find_image(source, wanted, folders, by_base)
    if image is None and len(by_stem.get(stem, ())) == 1:
        image = by_stem[stem][0]
    size = [_number(fields.get(f"annotation/size/{side}", "")) for side in ("width", "height")]
    stated = (size[0], size[1]) if size[0] and size[1] and min(size[0], size[1]) > 0 else None
    boxes: list[tuple[float, float, float, float]] = []
    classes: list[str] = []
    for values in objects:
        name = values.get("name", "").strip()
        corners = [_number(values.get(f"bndbox/{corner}", "")) for corner in _CORNERS]
        if not name or None in corners:
            raise _RefusedError(f"an object {name!r} without a name or without the four numbers {', '.join(_CORNERS)}")
        left, top, right, bottom = (value for value in corners if value is not None)
        boxes.append((left - 1, top - 1, right, bottom))
        classes.append(name)
    return Annotated(image, wanted, stated, boxes, classes)


def read_voc(data: bytes) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The texts of an XML file by their path, and those of each ``object`` by their path inside it.

    Document types and entities are refused, for annotations need none and they can be made to grow without bound.
    """
    if len(data) > _MOST_BYTES:
        raise _RefusedError(f"it has more than {_MOST_BYTES // 2**20} MiB")
    fields: dict[str, str] = {}
    objects: list[dict[str, str]] = []
    path: list[str] = []
    texts: list[list[str]] = []

    def start(tag: str, _: object) -> None:
        if len(path) >= _DEEPEST:
            raise _RefusedError("it is nested too deeply")
        path.append(tag)
        texts.append([])
        if path == ["annotation", "object"]:
            objects.append({})

    def end(_: str) -> None:
        text = "".join(texts.pop()).strip()
        if path[:2] == ["annotation", "object"] and objects:
            # parts of an object (a person's head) have boxes of their own, deeper down; the first value counts
            objects[-1].setdefault("/".join(path[2:]), text)
        else:
            fields.setdefault("/".join(path), text)
        path.pop()

    def character(text: str) -> None:
        if texts:
            texts[-1].append(text)

    def refuse(*_: object) -> None:
        raise _RefusedError("it declares a document type, which annotations need not and which may be malicious")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, character
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, UnicodeError, LookupError, ValueError) as error:
        raise _RefusedError(f"not XML that can be read ({error})") from error
    if not any(name == "annotation" or name.startswith("annotation/") for name in fields):
        raise _RefusedError("its root is not 'annotation'")
    return fields, objects


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e7 else None


READER = SceneReader(INFO, lambda request: BoxSource(open_voc(request)))

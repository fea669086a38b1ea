"""Boxes in COCO's JSON format, with the images beside it, in a folder or a zip.

Lin et al., "Microsoft COCO: common objects in context", 2014 (https://arxiv.org/abs/1405.0312).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from genmeta.core.errors import DataError, UsageError, unknown
from genmeta.data.box_images import BOX_OPTIONS, Annotated, BoxImages, by_base_name, find_image, load_boxes
from genmeta.data.box_source import BoxSource
from genmeta.data.pixels import BadImageError
from genmeta.data.registry import DatasetInfo, Request, SceneReader
from genmeta.data.sources import Source, open_source

INFO = DatasetInfo(
    name="coco",
    serves="detection",
    summary="your own boxes: a COCO annotation file and its images, in a folder or a zip",
    how_to_get="PATH is a folder or zip of images and one COCO JSON file, or that file with the images beside it.",
    path="required",
    size=96,
    channels=3,
    options={"annotations": "name of the JSON file inside PATH, where there are several", **BOX_OPTIONS},
)
_PARTS = ("images", "annotations", "categories")


def open_coco(request: Request) -> BoxImages:
    """Opens a COCO data set.

    Images are looked for beside the annotation file, in ``images/`` there, and then by name anywhere in ``PATH``.
    Boxes marked ``iscrowd`` are left out. Both sides of an image are resized to ``size``, and its boxes with it.

    Raises:
        DataError: no annotation file, one that is not COCO's, an unknown category or image number, a bad image with
            ``on_bad_image="fail"``.
        UsageError: an option that is out of range.
    """
    path = request.path
    if path is None:
        raise UsageError("Data set 'coco' needs a path: write 'coco:PATH'.")
    chosen = request.spec.options.get("annotations")
    if path.suffix.lower() == ".json" and path.is_file():
        if chosen is not None and chosen != path.name:
            raise UsageError(f"{request.text!r} names two annotation files. Leave out annotations={chosen!r}.")
        path, chosen = path.parent, path.name
    source = open_source(path)
    file = _annotation_file(source, chosen)
    where = f"{file!r} of {str(source.path)!r}"
    found = read_coco(where, _content(source, file, where))
    names = _category_names(where, found["categories"])
    return load_boxes(request, source, *_images(request, source, file, where, found, names))


def read_coco(where: str, data: bytes) -> Mapping[str, list[Any]]:
    """The lists ``images``, ``annotations`` and ``categories`` of an annotation file.

    Args:
        where: the file, for messages.
        data: its content.

    Raises:
        DataError: not JSON, nested too deeply, or not of this form.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DataError(f"{where} is not JSON that can be read: {reason}. Expected a COCO annotation file.") from error
    missing = [part for part in _PARTS if not isinstance(content, dict) or not isinstance(content.get(part), list)]
    if missing:
        raise DataError(f"{where} is not a COCO annotation file: it has no list {missing[0]!r}. Expected {_PARTS}.")
    for part in _PARTS:
        for row in content[part]:
            if not isinstance(row, dict):
                raise DataError(f"{where} is not a COCO annotation file: {part!r} holds {str(row)[:40]!r}.")
    return {part: content[part] for part in _PARTS}


def _annotation_file(source: Source, chosen: str | None) -> str:
    files = [name for name in source.names if PurePosixPath(name).suffix.lower() == ".json"]
    if chosen is not None:
        if chosen not in files:
            raise unknown(f"annotation file of {str(source.path)!r}:", chosen, files)
        return chosen
    if len(files) == 1:
        return files[0]
    if not files:
        raise DataError(f"{str(source.path)!r} holds no JSON file. Expected a COCO annotation file and its images.")
    raise DataError(
        f"{str(source.path)!r} holds {len(files)} JSON files: {', '.join(files[:4])}. "
        f"Say which: add ?annotations={files[0]}"
    )


def _content(source: Source, file: str, where: str) -> bytes:
    try:
        return source.read(file)
    except BadImageError as error:
        raise DataError(f"{where} cannot be read: {error}.") from error


def _category_names(where: str, categories: list[dict[str, Any]]) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for row in categories:
        number, name = _key(row.get("id")), row.get("name")
        if number is None or not isinstance(name, str) or not name.strip():
            raise DataError(f"{where}: category {str(row)[:60]} needs an id and a name.")
        if number in names or name in names.values():
            raise DataError(f"{where} has two categories with the id {number!r} or the name {name!r}. Rename one.")
        names[number] = name
    return names


def _images(
    request: Request, source: Source, file: str, where: str, found: Mapping[str, list[Any]], names: Mapping[Any, str]
) -> tuple[list[Annotated], list[str], list[str]]:
    folder = file.rpartition("/")[0]
    folders = [f"{folder}/" if folder else "", f"{folder}/images/".lstrip("/"), "images/", ""]
    by_base = by_base_name(source)
    annotated: dict[Any, Annotated] = {}
    for row in found["images"]:
        number, wanted = _key(row.get("id")), row.get("file_name")
        if number is None or not isinstance(wanted, str):
            raise DataError(f"{where}: image {str(row)[:60]} needs an id and a file_name.")
        if number in annotated:
            raise DataError(f"{where} has two images with the id {number!r}: {wanted!r} is the second.")
        size = _numbers((row.get("width"), row.get("height")))
        stated = (size[0], size[1]) if size is not None and min(size) > 0 else None
        annotated[number] = Annotated(find_image(source, wanted, folders, by_base), wanted, stated, [], [])
    crowds = faults = 0
    for row in found["annotations"]:
        if row.get("iscrowd"):
            crowds += 1
            continue
        reason = _add(row, annotated, names)
        if reason is not None:
            if request.on_bad_image == "fail":
                raise DataError(f"{where}: {reason}. Repair it, or leave such out with --on-bad-image skip.")
            faults += 1
    remarks = [f"{crowds} boxes around crowds were left out"] if crowds else []
    remarks += [f"{faults} annotations that make no sense were left out"] if faults else []
    return list(annotated.values()), list(names.values()), remarks


def _add(row: Mapping[str, Any], images: Mapping[Any, Annotated], names: Mapping[Any, str]) -> str | None:
    """Gives a box to its image; returns what is wrong with it."""
    image = images.get(_key(row.get("image_id")))
    if image is None:
        return f"annotation {row.get('id')!r} is of image {row.get('image_id')!r}, which is not listed"
    of_image = f"annotation {row.get('id')!r} of image {image.wanted!r}"
    name = names.get(_key(row.get("category_id")))
    if name is None:
        return f"{of_image} has the category {row.get('category_id')!r}, which is not listed"
    box = row.get("bbox")
    values = _numbers(tuple(box)) if isinstance(box, list) and len(box) == 4 else None
    if values is None:
        return f"{of_image} has the bbox {str(box)[:60]}; expected four numbers: left, top, width, height"
    left, top, width, height = values
    image.boxes.append((left, top, left + width, top + height))
    image.classes.append(name)
    return None


def _key(value: object) -> int | str | None:
    """A number that identifies something: a whole number, or a text as some programs write."""
    return value if isinstance(value, (int, str)) and not isinstance(value, bool) else None


def _numbers(values: tuple[object, ...]) -> list[float] | None:
    out: list[float] = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e7:
            return None
        out.append(float(value))
    return out if all(math.isfinite(value) for value in out) else None


READER = SceneReader(INFO, lambda request: BoxSource(open_coco(request)))

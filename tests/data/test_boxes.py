"""COCO and VOC boxes: what is read, what is put right, what is refused and how it is said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_helpers import Tree, encoded, noise, png
from PIL import Image

from genmeta.core.errors import DataError, DataWarning, UsageError
from genmeta.data.box_images import BoxImages
from genmeta.data.coco import INFO as COCO
from genmeta.data.coco import open_coco
from genmeta.data.registry import settle
from genmeta.data.spec import DataSpec
from genmeta.data.voc import INFO as VOC
from genmeta.data.voc import open_voc

Make = Callable[..., Path]


def opened(spec: str, size: int | None = 32, on_bad_image: str = "fail") -> BoxImages:
    parsed = DataSpec.parse(spec)
    info, function = {"coco": (COCO, open_coco), "voc": (VOC, open_voc)}[parsed.name]
    asked = settle(
        spec, parsed, info, size=size, channels=None, download=False, on_bad_image=on_bad_image, cache_dir=None
    )
    return function(asked)


def coco(boxes: list[tuple[int, int, list[float]]], images: int = 2, **more: Any) -> dict[str, Any]:
    """``(image, category, bbox)`` as a COCO file over images of 40 x 20 pixels."""
    listed = [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 20} for i in range(images)]
    rows = [
        {"id": n, "image_id": i, "category_id": k, "bbox": box, "iscrowd": 0} for n, (i, k, box) in enumerate(boxes)
    ]
    return {"images": listed, "annotations": rows, "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
            **more}  # fmt: skip


def tree(content: Any, images: int = 2, prefix: str = "") -> dict[str, bytes]:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return {"boxes.json": raw, **{f"{prefix}{i}.png": noise(i, (40, 20)) for i in range(images)}}


GOOD = [(0, 7, [4.0, 2.0, 20.0, 10.0]), (1, 3, [0.0, 0.0, 40.0, 20.0]), (1, 7, [10.0, 5.0, 8.0, 4.0])]


@pytest.mark.parametrize("prefix", ["", "images/", "deep/inside/"])
@pytest.mark.parametrize("packed", [False, True])
def test_coco_boxes_are_scaled_with_their_image(make_folder: Make, make_zip: Make, prefix: str, packed: bool) -> None:
    path = (make_zip if packed else make_folder)(tree(coco(GOOD), prefix=prefix))
    data = opened(f"coco:{path}")
    assert data.images.shape == (2, 32, 32, 3)
    assert data.images.dtype == np.uint8
    assert data.class_names == ("cat", "dog")
    assert data.image_names == ("0.png", "1.png")
    np.testing.assert_allclose(data.boxes, [[3.2, 3.2, 19.2, 19.2], [0, 0, 32, 32], [8, 8, 14.4, 14.4]], rtol=1e-6)
    assert data.labels.tolist() == [0, 1, 0]
    assert data.offsets.tolist() == [0, 1, 3]
    assert data.images_of(0).tolist() == [0, 1]
    assert data.images_of(1).tolist() == [1]
    assert data.remarks == ()
    assert data.splits["test"].tolist() == [0, 1]


def test_the_annotation_file_itself_may_be_named(make_folder: Make) -> None:
    path = make_folder({**tree(coco(GOOD)), "other.json": b"{}"})
    assert len(opened(f"coco:{path / 'boxes.json'}").boxes) == 3
    assert len(opened(f"coco:{path}?annotations=boxes.json").boxes) == 3
    with pytest.raises(DataError, match=r"holds 2 JSON files.*annotations=boxes.json"):
        opened(f"coco:{path}")
    with pytest.raises(UsageError, match=r"Did you mean 'boxes.json'"):
        opened(f"coco:{path}?annotations=box.json")


def test_boxes_are_clipped_and_dropped_and_counted(make_folder: Make) -> None:
    boxes = [*GOOD, (0, 7, [30.0, 10.0, 50.0, 50.0]), (0, 7, [50.0, 2.0, 9.0, 9.0]), (0, 3, [5.0, 5.0, 0.0, 9.0]),
             (0, 3, [5.0, 5.0, -4.0, 9.0])]  # fmt: skip
    content = coco(boxes, images=3, categories=[{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"},
                                                {"id": 0, "name": "things"}])  # fmt: skip
    content["annotations"].append({**content["annotations"][0], "id": 99, "iscrowd": 1})
    path = make_folder(tree(content, images=3))
    with pytest.warns(DataWarning) as caught:
        data = opened(f"coco:{path}")
    for part in ("1 boxes reach beyond", "3 boxes without area", "1 images show no object", "1 boxes around crowds",
                 "1 classes have no box and were left out, such as 'things'"):  # fmt: skip
        assert part in str(caught[0].message)
    assert len(data.boxes) == 4
    assert data.offsets.tolist() == [0, 2, 4, 4]
    assert data.boxes.min() >= 0
    assert data.boxes.max() <= 32
    assert (data.boxes[:, 2:] > data.boxes[:, :2]).all()


def with_row(**changes: Any) -> dict[str, Any]:
    content = coco(GOOD)
    content["annotations"][1] |= changes
    return content


REFUSED = {
    "not JSON": (b"{'images': 1", "is not JSON"),
    "deep": (b"[" * 200_000, "nested too deeply|not JSON"),
    "another format": ({"images": [], "shapes": []}, "no list 'annotations'"),
    "rows of another kind": ({"images": [3], "annotations": [], "categories": []}, "'images' holds '3'"),
    "unknown category": (with_row(category_id=8), r"annotation 1 of image '1.png' has the category 8"),
    "unknown image": (with_row(image_id=12), r"annotation 1 is of image 12, which is not listed"),
    "three numbers": (with_row(bbox=[1, 2, 3]), r"annotation 1 of image '1.png' has the bbox \[1, 2, 3\]"),
    "infinite": (with_row(bbox=[1, 2, 3, float("inf")]), r"annotation 1 of image '1.png' has the bbox"),
    "text": (with_row(bbox=["a", 2, 3, 4]), r"annotation 1 of image '1.png' has the bbox"),
    "category twice": (coco(GOOD, categories=[{"id": 7, "name": "cat"}, {"id": 7, "name": "dog"}]), "two categories"),
    "nameless category": (coco(GOOD, categories=[{"id": 7}]), "needs an id and a name"),
    "image twice": ({**coco(GOOD), "images": [{"id": 0, "file_name": "0.png"}] * 2}, "two images with the id 0"),
    "nameless image": ({**coco(GOOD), "images": [{"id": 0}]}, "needs an id and a file_name"),
    "no boxes": (coco([]), "no box with any area"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::genmeta.core.errors.DataWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_coco_faults_name_the_file(make_folder: Make, name: str) -> None:
    content, message = REFUSED[name]
    path = make_folder(tree(content))
    with pytest.raises(DataError, match=message) as caught:
        opened(f"coco:{path}")
    assert re.search(r"boxes\.json|photos", str(caught.value))


def test_coco_faults_can_be_skipped(make_folder: Make) -> None:
    path = make_folder(tree(with_row(category_id=8)))
    with pytest.warns(DataWarning, match="1 annotations that make no sense"):
        assert len(opened(f"coco:{path}", on_bad_image="skip").boxes) == 2


def spoiled(files: dict[str, bytes], how: str) -> dict[str, bytes]:
    if how == "missing":
        del files["1.png"]
    elif how == "truncated":
        files["1.png"] = files["1.png"][:200]
    elif how == "turned":
        files["1.png"] = noise(1, (20, 40))
    else:
        files["a/1.png"], files["b/1.png"] = files["1.png"], files.pop("1.png")
    return files


@pytest.mark.parametrize(
    "how, reason",
    [("missing", "no such file"), ("truncated", "truncated"), ("turned", "20 x 40 pixels, but its boxes are for 40 x"),
     ("ambiguous", "several of this name")],
)  # fmt: skip
def test_images_that_cannot_be_used(make_folder: Make, how: str, reason: str) -> None:
    path = make_folder(spoiled(tree(coco(GOOD)), how))
    with pytest.raises(DataError, match=rf"'1\.png'.*{reason}"):
        opened(f"coco:{path}")
    with pytest.warns(DataWarning, match="classes have no box"):
        data = opened(f"coco:{path}", on_bad_image="skip")
    assert data.image_names == ("0.png",)
    assert len(data.skipped) == 1
    assert data.skipped[0].startswith("1.png: ")
    with pytest.raises(DataError, match=r"'1\.png'"):
        opened(f"coco:{path}")  # the cache remembers what was skipped


def test_a_photo_turned_by_its_metadata_keeps_its_boxes(make_folder: Make) -> None:
    image = Image.fromarray(np.zeros((40, 20, 3), np.uint8))
    tag = Image.Exif()
    tag[0x0112] = 6
    files = {**tree(coco(GOOD)), "1.png": encoded(image, exif=tag)}
    assert len(opened(f"coco:{make_folder(files)}").boxes) == 3


def test_many_classes_are_split_and_few_are_for_testing(make_folder: Make) -> None:
    names = [{"id": k, "name": f"class{k}"} for k in range(12)]
    rows = [(0, k, [1.0, 1.0, 5.0, 5.0]) for k in range(12)]
    path = make_folder(tree(coco(rows, images=1, categories=names), images=1))
    splits = opened(f"coco:{path}").splits
    assert [len(splits[s]) for s in ("train", "val", "test")] == [7, 2, 3]
    with pytest.raises(UsageError, match="more than all classes"):
        opened(f"coco:{path}?val=0.6&test=0.6")


def voc(objects: str, name: str = "0.png") -> bytes:
    return (
        f"<annotation><folder>x</folder><filename>{name}</filename>"
        f"<size><width>40</width><height>20</height><depth>3</depth></size>{objects}</annotation>"
    ).encode()


def voc_object(name: str, *box: float) -> str:
    tags = "".join(f"<{t}>{v}</{t}>" for t, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    part = "<part><name>head</name><bndbox><xmin>9</xmin></bndbox></part>"
    return f"<object><name>{name}</name><difficult>0</difficult><bndbox>{tags}</bndbox>{part}</object>"


def voc_tree(*annotations: bytes) -> Tree:
    files = {f"Annotations/{i}.xml": data for i, data in enumerate(annotations)}
    return files | {f"JPEGImages/{i}.png": noise(i, (40, 20)) for i in range(len(annotations))}


@pytest.mark.parametrize("packed", [False, True])
def test_voc_counts_pixels_from_one(make_folder: Make, make_zip: Make, packed: bool) -> None:
    files = voc_tree(
        voc(voc_object("dog", 1, 1, 40, 20) + voc_object("cat", 5, 3, 24, 12)), voc(voc_object("cat", 2, 2, 9, 9), "")
    )
    data = opened(f"voc:{(make_zip if packed else make_folder)(files)}", size=40)
    assert data.class_names == ("cat", "dog")
    assert data.labels.tolist() == [1, 0, 0]
    np.testing.assert_allclose(data.boxes[:2], [[0, 0, 40, 40], [4, 4, 24, 24]])
    assert data.remarks == ()


BOMB = b"<!DOCTYPE a [<!ENTITY x 'xxxx'><!ENTITY y '&x;&x;&x;'>]><annotation><filename>&y;</filename></annotation>"
VOC_REFUSED = {
    "bomb": (BOMB, "declares a document type"),
    "cut off": (voc(voc_object("cat", 1, 1, 9, 9))[:-30], "not XML"),
    "empty": (b"", "not XML"),
    "another root": (b"<svg><g/></svg>", "root is not 'annotation'"),
    "deep": (b"<annotation>" * 50 + b"</annotation>" * 50, "nested too deeply"),
    "no name": (voc(voc_object("", 1, 1, 9, 9)), "without a name"),
    "no number": (voc("<object><name>cat</name><bndbox><xmin>a</xmin></bndbox></object>"), "without the four numbers"),
}


@pytest.mark.filterwarnings("ignore::genmeta.core.errors.DataWarning")
@pytest.mark.parametrize("name", VOC_REFUSED)
def test_voc_faults_name_the_file(make_folder: Make, name: str) -> None:
    content, message = VOC_REFUSED[name]
    path = make_folder(voc_tree(voc(voc_object("cat", 1, 1, 9, 9)), content))
    with pytest.raises(DataError, match=rf"'Annotations/1\.xml'.*{message}"):
        opened(f"voc:{path}")
    assert opened(f"voc:{path}", on_bad_image="skip").image_names == ("0.png",)


def test_nothing_to_read(make_folder: Make) -> None:
    path = make_folder({"a.png": png()})
    with pytest.raises(DataError, match="no JSON file"):
        opened(f"coco:{path}")
    with pytest.raises(DataError, match="no XML file"):
        opened(f"voc:{path}")


@pytest.mark.filterwarnings("ignore::genmeta.core.errors.DataWarning")
@pytest.mark.parametrize("name, classes", [("raccoon", 1), ("bccd", 3), ("cards", 6)])
def test_real_sets(real_data: Path, name: str, classes: int) -> None:
    data = opened(f"coco:{real_data / 'detection' / f'{name}.zip'}")
    assert len(data.class_names) == classes
    assert len(data.images) >= 200
    assert all(len(data.images_of(k)) > 50 for k in range(classes))

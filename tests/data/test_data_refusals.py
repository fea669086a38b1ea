"""What readers refuse, and in which words: the rarer cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from data_helpers import Tree, png

from genmeta.core.errors import DataError, UsageError
from genmeta.data import open_dataset, open_scenes
from genmeta.data import sources as sources_module
from genmeta.data import voc as voc_module
from genmeta.data.sources import ZipSource
from genmeta.data.spec import DataSpec

Make = Callable[[Tree], Path]


def said(spec: str, opening: Callable[..., object] = open_dataset, kind: type[Exception] = UsageError) -> str:
    with pytest.raises(kind) as caught:
        opening(spec)
    return str(caught.value)


def test_data_of_the_other_kind(tmp_path: Path) -> None:
    assert "has images of several objects, not images by class: it is for segmentation and det" in said(
        f"coco:{tmp_path}"
    )
    assert "'glyphs' has images by class; segmentation and detection need images of sev" in said("glyphs", open_scenes)


def test_options_and_their_values(make_folder: Make) -> None:
    place = make_folder({"a/1.png": png(1), "b/1.png": png(2)})
    assert said(f"folder:{place}?siz=3").startswith("Unknown option of data set 'folder' 'siz'. Did you mean 'size'")
    assert "Unknown value of option 'color' in " in said(f"folder:{place}?color=blue")
    with pytest.raises(UsageError, match="holds a zero byte, which no path or option can hold"):
        DataSpec.parse("folder:a\0b")


def test_an_annotation_file_named_twice_or_wrongly(tmp_path: Path) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert "names two annotation files. Leave out annotations='other.json'." in said(
        f"coco:{file}?annotations=other.json", open_scenes
    )
    assert "Unknown annotation file of " in said(f"coco:{tmp_path}?annotations=other.json", open_scenes)


def test_an_annotation_of_absurd_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voc_module, "_MOST_BYTES", 2**20)
    (tmp_path / "a.xml").write_bytes(b"<annotation>" + b" " * 2**20 + b"</annotation>")
    assert "it has more than 1 MiB" in said(f"voc:{tmp_path}", open_scenes, DataError)


def test_omniglot_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "images_background").mkdir()
    assert "holds no <alphabet>/<character>/*.png. Expected Omniglot's images_background.zip: get it again." in said(
        f"omniglot:{tmp_path}", kind=DataError
    )


def test_a_zip_that_is_too_much_in_all(make_zip: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources_module, "MAX_TOTAL_BYTES", 100)
    with pytest.raises(DataError, match=r"unpacks to \d+ bytes; at most 100 are read\. Split it\."):
        ZipSource(make_zip({"a/1.png": png(1), "b/1.png": png(2)}))


def test_several_lists_of_splits(make_folder: Make) -> None:
    tree = {f"data/{name}/1.png": png(k) for k, name in enumerate("ab")}
    lists = {f"splits/{who}/{split}.txt": b"a" for who in ("one", "two") for split in ("train", "test")}
    place = make_folder({**tree, **lists})
    assert "holds several lists of splits: one, two. Choose one with splits=NAME." in said(f"cifar-fs:{place}")
    assert "Unknown value of option 'splits' (folders of lists in " in said(f"cifar-fs:{place}?splits=three")

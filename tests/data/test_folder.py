"""Class folders and zips of them: layouts, splits, limits."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_helpers import Tree, check_form, classes_tree, noise, png

from genmeta.core.errors import DataError, DataWarning, UsageError
from genmeta.data import ImageClasses, open_dataset, sources
from genmeta.tasks import ClassificationTasks

Make = Callable[..., Path]


def names_of(data: ImageClasses, split: str) -> list[str]:
    return [data.class_names[index] for index in data.splits[split]]


def test_class_folders(make_folder: Make) -> None:
    data = open_dataset(f"folder:{make_folder(classes_tree(20, 3))}", size=16)
    check_form(data)
    assert data.image_shape == (3, 16, 16)
    assert data.class_names == tuple(f"class{k:02}" for k in range(20))
    assert [len(data.splits[split]) for split in ("train", "val", "test")] == [12, 3, 5]


def test_few_classes_are_all_for_testing(make_folder: Make) -> None:
    root = make_folder(classes_tree(9, 1))
    data = open_dataset(f"folder:{root}", size=8)
    assert names_of(data, "test") == list(data.class_names)
    with pytest.raises(DataError, match=r"fewer than 10 classes is for scoring alone.*val=0\.2&test=0\.2.*genmeta fit"):
        ClassificationTasks(data, "train", ways=2, shots=1, queries=1)
    asked = open_dataset(f"folder:{root}?test=0.5&val=0", size=8)
    assert [len(asked.splits[split]) for split in ("train", "val", "test")] == [5, 0, 4]


def test_seed_changes_the_split_and_repeats(make_folder: Make) -> None:
    root = make_folder(classes_tree(20, 1))
    zero, again, one = (open_dataset(f"folder:{root}?seed={seed}", size=8).splits["test"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(zero, again)
    assert set(zero) != set(one)


def test_zip_equals_folder_and_top_folder_is_passed_over(make_folder: Make, make_zip: Make) -> None:
    tree = classes_tree(3)
    folder = open_dataset(f"folder:{make_folder(tree)}", size=8)
    plain = open_dataset(f"folder:{make_zip(tree)}", size=8)
    wrapped = {f"top/{name}": data for name, data in tree.items()} | {
        "__MACOSX/top/class00/._0.png": b"junk", "top/.DS_Store": b"junk", "top/class00/.hidden.png": b"junk",
        "top/readme.txt": b"text", "top/class01/notes.txt": b"text",
    }  # fmt: skip
    nested = open_dataset(f"folder:{make_zip(wrapped, 'wrapped.zip')}", size=8)
    assert folder.class_names == plain.class_names == nested.class_names == ("class00", "class01", "class02")
    np.testing.assert_array_equal(folder.images, plain.images)
    np.testing.assert_array_equal(folder.images, nested.images)
    assert nested.skipped == ()


def test_zip_written_on_windows(make_zip: Make) -> None:
    tree = {name.replace("/", "\\"): data for name, data in classes_tree(2).items()}
    assert open_dataset(f"folder:{make_zip(tree)}", size=8).class_names == ("class00", "class01")


def test_nested_groups_within_and_merge(make_folder: Make) -> None:
    root = make_folder({f"{domain}/{name}": noise(seed) for seed, domain in enumerate(("photo", "sketch"))
                        for name in ("cat/1.png", "dog/1.png")})  # fmt: skip
    assert open_dataset(f"folder:{root}").class_names == ("photo/cat", "photo/dog", "sketch/cat", "sketch/dog")
    sketch = open_dataset(f"folder:{root}?within=sketch")
    assert sketch.class_names == ("cat", "dog")
    assert len(sketch.images) == 2
    merged = open_dataset(f"folder:{root}?merge=yes")
    assert merged.class_names == ("cat", "dog")
    assert list(merged.counts()) == [2, 2]
    with pytest.raises(DataError, match="no images below a folder 'painting'"):
        open_dataset(f"folder:{root}?within=painting")


def test_split_folders(make_folder: Make) -> None:
    tree = {f"{split}/{split}{k}/0.png": noise(k) for split in ("train", "valid", "test") for k in range(2)}
    root = make_folder(tree)
    data = open_dataset(f"folder:{root}", size=8)
    check_form(data)
    assert names_of(data, "train") == ["train0", "train1"]
    assert names_of(data, "val") == ["valid0", "valid1"]
    assert names_of(data, "test") == ["test0", "test1"]
    with pytest.raises(UsageError, match="cannot change"):
        open_dataset(f"folder:{root}?seed=3")


def test_a_class_in_two_splits_is_refused(make_folder: Make) -> None:
    root = make_folder({f"{split}/cat/0.png": noise(len(split)) for split in ("train", "test")})
    with pytest.raises(DataError, match=r"'cat' .* is in .* merge=yes"):
        open_dataset(f"folder:{root}")
    merged = open_dataset(f"folder:{root}?merge=yes", size=8)
    assert merged.class_names == ("cat",)
    assert len(merged.images) == 2


def test_images_beside_class_folders_are_named(make_folder: Make) -> None:
    data = open_dataset(f"folder:{make_folder({**classes_tree(2), 'stray.png': png()})}", size=8)
    assert data.class_names == ("class00", "class01")
    assert data.skipped == ("stray.png: lies in no class folder",)


@pytest.mark.parametrize(
    "tree,said",
    [
        ({}, "no files"),
        ({"a/x.txt": b"text"}, "1 files, none an image"),
        ({"1.png": png(), "2.png": png()}, "2 images, such as '1.png', but no class folders"),
    ],
)
def test_not_class_folders(make_folder: Make, tree: Tree, said: str) -> None:
    with pytest.raises(DataError, match="<class>/<image>") as caught:
        open_dataset(f"folder:{make_folder(tree)}")
    assert said in str(caught.value)


def test_absent_or_not_a_zip(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is nothing at"):
        open_dataset(f"folder:{tmp_path / 'nowhere'}")
    (tmp_path / "file.zip").write_bytes(b"no zip at all")
    with pytest.raises(DataError, match="not a zip that can be read"):
        open_dataset(f"folder:{tmp_path / 'file.zip'}")
    with pytest.raises(DataError, match=r"Expected a folder or a zip|cannot be read"):
        open_dataset(f"folder:{tmp_path / ('x' * 300)}")


@pytest.mark.parametrize("name", ["../out/1.png", "/abs/1.png", "a/../../1.png", "..\\out\\1.png", "C:/x/1.png"])
def test_zip_that_points_outside(make_zip: Make, name: str) -> None:
    with pytest.raises(DataError, match="points outside the zip"):
        open_dataset(f"folder:{make_zip({**classes_tree(1), name: png()})}")


@pytest.mark.parametrize(
    "limit,value,said",
    [("MAX_FILES", 3, "holds 4 files"), ("MAX_FILE_BYTES", 50, "zip bomb"), ("MAX_TOTAL_BYTES", 900, "Split it")],
)
def test_zip_limits(make_zip: Make, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, said: str) -> None:
    path = make_zip(classes_tree(2))
    assert len(open_dataset(f"folder:{path}", size=8).images) == 4
    monkeypatch.setattr(sources, limit, value)
    with pytest.raises(DataError, match=said):
        open_dataset(f"folder:{path}", size=8)


def test_damaged_zip_entry_is_a_bad_image(make_zip: Make) -> None:
    path = make_zip(classes_tree(2))
    data = bytearray(path.read_bytes())
    start = data.index(b"class00/0.png") + len("class00/0.png")
    data[start + 20 : start + 60] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"class00/0\.png.*cannot be unpacked"):
        open_dataset(f"folder:{path}", size=8)
    assert list(open_dataset(f"folder:{path}", size=8, on_bad_image="skip").counts()) == [1, 2]


def test_links_are_followed_but_not_in_circles(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder(classes_tree(2, 1))
    elsewhere = make_folder({"9.png": noise(9)}, "elsewhere")
    (root / "class02").symlink_to(elsewhere)
    (root / "class00" / "loop").symlink_to(root)
    data = open_dataset(f"folder:{root}", size=8)
    assert data.class_names == ("class00", "class01", "class02")
    (root / "class01" / "gone.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"gone\.png.*No such file"):
        open_dataset(f"folder:{root}", size=8)


def test_names_that_are_not_unicode(make_folder: Make) -> None:
    root = make_folder(classes_tree(1, 1))
    strange = os.fsdecode(b"caf\xe9")
    try:
        (root / strange).mkdir()
    except OSError:
        pytest.skip("this file system takes only names in Unicode")
    (root / strange / "0.png").write_bytes(png())
    data = open_dataset(f"folder:{root}", size=8)
    assert data.class_names == (strange, "class00")


def benchmark_tree(prefix: str = "") -> dict[str, bytes]:
    return {f"{prefix}{name}/{i}.png": noise(i) for name in ("ant", "bee", "cat", "dog") for i in range(2)}


LISTS = {"train": "ant\nbee\n", "val": "cat\n", "test": "dog\n\n"}


@pytest.mark.parametrize("base", ["", "data/", "images/"])
@pytest.mark.parametrize("lists", ["", "splits/", "splits/bertinetto/"])
@pytest.mark.parametrize("top", ["", "cifar100/"])
def test_lists_of_classes(make_zip: Make, base: str, lists: str, top: str) -> None:
    tree = benchmark_tree(top + base) | {f"{top}{lists}{k}.txt": v.encode() for k, v in LISTS.items()}
    data = open_dataset(f"cifar-fs:{make_zip(tree)}")
    check_form(data)
    assert data.image_shape == (3, 32, 32)
    assert (names_of(data, "train"), names_of(data, "val"), names_of(data, "test")) == (
        ["ant", "bee"],
        ["cat"],
        ["dog"],
    )


@pytest.mark.parametrize("flat", [True, False])
def test_lists_of_files(make_folder: Make, flat: bool) -> None:
    tree: dict[str, bytes] = {}
    rows = {"train": ["n01", "n02"], "val": ["n03"], "test": ["n04"]}
    for split, labels in rows.items():
        lines = [f"{label}_{i}.jpg,{label}" for label in labels for i in range(2)]
        tree[f"{split}.csv"] = "\n".join(["filename,label", *lines, lines[0]]).encode()
        for i, line in enumerate(lines):
            name, label = line.split(",")
            tree[f"images/{name}" if flat else f"images/{label}/{name}"] = png(i)
    data = open_dataset(f"mini-imagenet:{make_folder(tree)}", size=16)
    check_form(data)
    assert names_of(data, "train") == ["n01", "n02"]
    assert names_of(data, "test") == ["n04"]
    assert list(data.counts()) == [2, 2, 2, 2]  # the row that is there twice counts once


def test_split_folders_of_a_benchmark(make_folder: Make) -> None:
    tree = {f"{split}/n{k}/0.png": png() for k, split in enumerate(("train", "val", "test"))}
    data = open_dataset(f"mini-imagenet:{make_folder(tree)}", size=8)
    assert [names_of(data, split) for split in ("train", "val", "test")] == [["n0"], ["n1"], ["n2"]]


def test_lists_that_do_not_fit(make_folder: Make) -> None:
    with pytest.raises(DataError, match="does not say which classes"):
        open_dataset(f"cifar-fs:{make_folder(benchmark_tree(), 'a')}")
    wrong = {f"{k}.txt": v.encode() for k, v in LISTS.items()} | {"val.txt": b"cow\n"}
    with pytest.raises(DataError, match=r"'cow', a class folder of 'val\.txt'"):
        open_dataset(f"cifar-fs:{make_folder(benchmark_tree() | wrong, 'b')}")
    twice = {f"{k}.txt": v.encode() for k, v in LISTS.items()} | {"val.txt": b"dog\n"}
    with pytest.raises(DataError, match="Keep one"):
        open_dataset(f"cifar-fs:{make_folder(benchmark_tree() | twice, 'c')}")
    two = {f"splits/{name}/{k}.txt": v.encode() for name in ("mine", "yours") for k, v in LISTS.items()}
    root = make_folder(benchmark_tree() | two, "d")
    with pytest.raises(UsageError, match="splits=NAME"):
        open_dataset(f"cifar-fs:{root}")
    with pytest.raises(UsageError, match="Did you mean 'mine'"):
        open_dataset(f"cifar-fs:{root}?splits=mina")
    assert names_of(open_dataset(f"cifar-fs:{root}?splits=mine"), "test") == ["dog"]


def test_copies_within_a_class_are_said_every_time(make_folder: Make) -> None:
    tree = classes_tree(3)
    place = make_folder({**tree, "class00/copy.png": tree["class00/0.png"], "class01/0.png": tree["class00/0.png"]})
    for _ in range(2):  # decoded, then from the cache
        with pytest.warns(
            DataWarning, match=r"holds copies of images within a class: 1, in 1 of its classes, such as 'class00'"
        ):
            open_dataset(f"folder:{place}", size=12)


def test_files_of_one_name_are_one_class(make_folder: Make) -> None:
    vendors = ("red", "blue")
    tree = {f"{vendors[i]}/smile{k:02}.png": noise(2 * k + i) for k in range(12) for i in range(2)}
    root = make_folder(tree)
    data = open_dataset(f"folder:{root}?class=file", size=8)
    check_form(data)
    assert data.class_names == tuple(f"smile{k:02}" for k in range(12))
    assert set(data.counts()) == {2}
    assert sorted(np.concatenate(list(data.splits.values()))) == list(range(12))
    with pytest.raises(UsageError, match="say nothing, so merge has no use"):
        open_dataset(f"folder:{root}?class=file&merge=yes", size=8)

"""The cache: the same pixels again, rebuilt when damaged, whole or absent."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from data_helpers import classes_tree, noise

from genmeta.core.errors import DataError, RunError
from genmeta.data import ImageClasses, cache, open_dataset, progress
from genmeta.data.cache import Block, stored_images

Make = Callable[..., Path]
SHAPE = (8, 8, 3)


def blocks(n: int = 3) -> Iterator[Block]:
    for k in range(n):
        yield Block(f"c{k}", np.full((k + 1, *SHAPE), 10 * k % 256, np.uint8))


def never() -> Iterator[Block]:
    raise AssertionError("the cache was not used")
    yield


def entry(folder: Path) -> tuple[Path, Path]:
    return next(folder.glob("*.npy")), next(folder.glob("*.json"))


def test_written_once_and_read_back(tmp_path: Path) -> None:
    first = stored_images({"a": 1}, SHAPE, blocks, tmp_path)
    again = stored_images({"a": 1}, SHAPE, never, tmp_path)
    for stored in (first, again):
        assert isinstance(stored.images, np.memmap)
        assert not stored.images.flags.writeable
        assert stored.images.shape == (6, *SHAPE)
        assert stored.images[:, 0, 0, 0].tolist() == [0, 10, 10, 20, 20, 20]
        assert stored.offsets.tolist() == [0, 1, 3, 6]
        assert stored.class_names == ("c0", "c1", "c2")
    other = stored_images({"a": 2}, SHAPE, lambda: blocks(1), tmp_path)
    assert len(other.images) == 1
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    "damage", ["short", "long", "empty", "garbage", "no array", "no json", "bad json", "other json"]
)
def test_damaged_entries_are_built_again(tmp_path: Path, damage: str) -> None:
    stored_images({}, SHAPE, blocks, tmp_path)
    array, description = entry(tmp_path)
    content = array.read_bytes()
    {
        "short": lambda: array.write_bytes(content[:-100]),
        "long": lambda: array.write_bytes(content + b"x"),
        "empty": lambda: array.write_bytes(b""),
        "garbage": lambda: array.write_bytes(b"garbage" * 300),
        "no array": lambda: array.unlink(),
        "no json": lambda: description.unlink(),
        "bad json": lambda: description.write_text("{"),
        "other json": lambda: description.write_text(json.dumps({"counts": [1], "class_names": ["x"], "skipped": []})),
    }[damage]()
    again = stored_images({}, SHAPE, blocks, tmp_path)
    assert again.offsets.tolist() == [0, 1, 3, 6]
    assert array.read_bytes() == content
    assert stored_images({}, SHAPE, never, tmp_path).images.sum() == again.images.sum() > 0


def equal(one: ImageClasses, other: ImageClasses) -> None:
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.offsets, other.offsets)
    assert one.class_names == other.class_names
    assert one.skipped == other.skipped
    for split, indices in one.splits.items():
        np.testing.assert_array_equal(indices, other.splits[split])


def test_what_the_key_depends_on(make_folder: Make, tmp_path: Path) -> None:
    root, place = make_folder(classes_tree(2)), tmp_path / "cache"

    def entries(spec: str) -> int:
        open_dataset(spec, cache_dir=place)
        return len(list(place.glob("*.npy")))

    first = open_dataset(f"folder:{root}?size=8", cache_dir=place)
    equal(first, open_dataset(f"folder:{root}?size=8", cache_dir=place))
    equal(first, open_dataset(f"folder:{root}?size=8", cache_dir=tmp_path / "elsewhere"))
    assert entries(f"folder:{root}?size=8&seed=5") == 1  # the same images, split otherwise
    assert entries(f"folder:{root}?size=9") == 2
    assert entries(f"folder:{root}?size=8&color=gray") == 3
    assert entries(f"folder:{root}?size=8&invert=yes") == 4
    assert entries(f"folder:{root}?size=8&background=black") == 5
    changed = root / "class00" / "0.png"
    changed.write_bytes(noise(77))
    os.utime(changed, ns=(1, 1))
    assert entries(f"folder:{root}?size=8") == 6
    assert (open_dataset(f"folder:{root}?size=8", cache_dir=place).images[0] != first.images[0]).any()


def test_spec_goes_before_arguments(make_folder: Make) -> None:
    root = make_folder(classes_tree(1))
    assert open_dataset(f"folder:{root}?size=8&color=gray", size=16, channels=3).image_shape == (1, 8, 8)
    assert open_dataset(f"folder:{root}", size=16, channels=1).image_shape == (1, 16, 16)


def test_environment_names_the_place(make_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENMETA_CACHE", str(tmp_path / "named"))
    open_dataset(f"folder:{make_folder(classes_tree(1))}", size=8)
    assert len(list((tmp_path / "named").glob("*.npy"))) == 1
    monkeypatch.delenv("GENMETA_CACHE")
    assert cache.cache_directory(None) == Path.home() / ".cache" / "genmeta" / "images"


def test_nothing_is_left_when_building_fails(tmp_path: Path) -> None:
    def failing() -> Iterator[Block]:
        yield from blocks(1)
        raise DataError("bad image")

    with pytest.raises(DataError, match="bad image"):
        stored_images({}, SHAPE, failing, tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="No image could be read"):
        stored_images({}, SHAPE, lambda: iter(()), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_disk_full(tmp_path: Path) -> None:
    """A limit on the size of files makes the very write fail that a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(RunError, match="Set GENMETA_CACHE"):
            stored_images({}, SHAPE, lambda: blocks(30), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
    assert len(stored_images({}, SHAPE, lambda: blocks(30), tmp_path).images) == 465


def test_disk_full_says_so(tmp_path: Path) -> None:
    def full() -> Iterator[Block]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield

    with pytest.raises(RunError, match=r"The disk is full.*Set GENMETA_CACHE"):
        stored_images({}, SHAPE, full, tmp_path)


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="Set GENMETA_CACHE"):
        stored_images({}, SHAPE, blocks, tmp_path / "file" / "cache")


def test_progress_changes_nothing_of_what_is_tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", -1.0)  # past it at once
    assert list(progress.track(range(5), 5, "Counting")) == [0, 1, 2, 3, 4]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress.track(range(5), 5, "Counting")) == [0, 1, 2, 3, 4]
    assert list(progress.track([], 0, "Counting")) == []


def test_two_at_once(tmp_path: Path) -> None:
    gate = threading.Barrier(2, timeout=20)
    results: list[np.ndarray] = []

    def waiting() -> Iterator[Block]:
        gate.wait()  # both are building before either has written
        yield from blocks()

    def build() -> None:
        results.append(np.array(stored_images({}, SHAPE, waiting, tmp_path).images))

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    np.testing.assert_array_equal(results[0], results[1])
    assert len(list(tmp_path.iterdir())) == 2

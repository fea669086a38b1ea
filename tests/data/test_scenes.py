"""Painted scenes: exact masks and boxes, every class in every support image, nothing left to chance but the seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genmeta.core.errors import DataError, UsageError
from genmeta.core.randomness import seeded
from genmeta.core.types import IGNORE
from genmeta.data import SceneSource, open_dataset, open_scenes
from genmeta.data.scene_paint import boxes_of, place, scribble, textures
from genmeta.tasks import SegmentationTasks


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty classes of two cut-out shapes, each of one bright colour."""
    root = tmp_path_factory.mktemp("pictures")
    for k in range(20):
        folder = root / f"shape{k:02}"
        folder.mkdir()
        for i in range(2):
            pixels = np.zeros((40, 30, 4), np.uint8)
            pixels[4 + i : 36, 3:27] = [(11 * k) % 200 + 55, (53 * k) % 200 + 55, (97 * k) % 200 + 55, 255]
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def source(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> SceneSource:
    return open_scenes(f"scenes:{pictures}?test=0.4", cache_dir=tmp_path_factory.mktemp("cache"))


def draw(source: SceneSource, seed: int = 0, ways: int = 3, shots: int = 2, queries: int = 3, n_tasks: int = 4):
    random = np.random.default_rng(seed)
    pool = source.splits["train"]
    classes = np.stack([random.permutation(pool)[:ways] for _ in range(n_tasks)])
    return source.draw("train", classes, shots, queries, random)


def test_splits_share_no_class(source: SceneSource) -> None:
    found = np.concatenate([source.splits[split] for split in ("train", "val", "test")])
    assert sorted(found) == list(range(20))
    assert len(source.splits["test"]) == 8


def test_the_same_seed_paints_the_same(source: SceneSource) -> None:
    first, again, other = draw(source), draw(source), draw(source, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.images, other.images)


def test_support_images_show_every_class_and_query_images_one_at_least(source: SceneSource) -> None:
    for seed in range(5):
        scenes = draw(source, seed)
        assert scenes.masks is not None
        there = np.stack([(scenes.masks == k).any((2, 3)) for k in (1, 2, 3)], -1)
        assert there[:, :2].mean() > 0.97  # one may be covered by another, now and then
        assert there[:, 2:].any(-1).all()
        assert 0.4 < there[:, 2:].mean() < 0.95


def test_boxes_fit_their_masks(source: SceneSource) -> None:
    scenes = draw(source)
    assert scenes.masks is not None
    assert scenes.boxes is not None
    assert scenes.labels is not None
    for at in np.ndindex(scenes.masks.shape[:2]):
        for box, label in zip(scenes.boxes[at], scenes.labels[at], strict=True):
            rows, columns = np.nonzero(scenes.masks[at] == label + 1)
            if label == IGNORE:
                continue
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        seen = set(scenes.labels[at].tolist()) - {IGNORE}
        assert seen == set((np.unique(scenes.masks[at]) - 1).tolist()) - {-1}


def test_masks_lie_where_the_objects_are(source: SceneSource) -> None:
    """Under a mask the image has the object's one colour, give or take its blended edge."""
    scenes = draw(source)
    assert scenes.masks is not None
    spreads = []
    for at in np.ndindex(scenes.masks.shape[:2]):
        for k in (1, 2, 3):
            inside = scenes.images[at][scenes.masks[at] == k].astype(float)
            if len(inside) > 20:
                middle = np.median(inside, 0)
                spreads.append((np.abs(inside - middle).max(-1) < 12).mean())
    assert np.mean(spreads) > 0.8


def test_objects_of_no_class_of_the_task_are_background(source: SceneSource) -> None:
    scenes = draw(source, shots=8, queries=1)
    assert scenes.masks is not None
    assert set(np.unique(scenes.masks)) == {0, 1, 2, 3}
    assert len(np.unique(scenes.images.reshape(-1, 3), axis=0)) > 1000


def test_a_grid_of_fewer_cells_has_larger_objects(pictures: Path) -> None:
    def sides(spec: str) -> np.ndarray:
        scenes = draw(open_scenes(f"scenes:{pictures}?{spec}"), ways=1, n_tasks=8)
        assert scenes.boxes is not None
        assert scenes.labels is not None
        boxes = scenes.boxes[scenes.labels == 0]
        return (boxes[:, 2:] - boxes[:, :2]).max(1)

    large, usual, small = (np.median(sides(f"grid={cells}")) for cells in (1, 3, 6))
    assert large > 1.5 * usual > 2 * small
    with pytest.raises(UsageError, match="grid"):
        open_scenes(f"scenes:{pictures}?grid=0")


def test_scribbles_take_labels_from_support_masks_alone(pictures: Path) -> None:
    scenes = draw(open_scenes(f"scenes:{pictures}?scribbles=0.3"))
    assert scenes.masks is not None
    assert 0.2 < (scenes.masks[:, :2] != IGNORE).mean() < 0.4
    assert (scenes.masks[:, 2:] != IGNORE).all()
    masks = np.zeros((1, 1, 8, 8), np.int16)
    scribble(masks, 0.0, np.random.default_rng(0))
    assert (masks == IGNORE).all()


def test_a_cut_out_is_placed_where_and_as_large_as_asked() -> None:
    square = torch.ones(2, 1, 16, 16)
    placed = place(square, torch.tensor([0.5, 0.25]), torch.zeros(2), torch.tensor([[0.5, 0.5], [0.75, 0.25]]), 32)
    boxes = boxes_of((placed[:, 0] > 0.5).long() - 1, 1)
    assert boxes[0, 0].tolist() == [8, 8, 24, 24]
    assert boxes[1, 0].tolist() == [20, 4, 28, 12]
    assert boxes_of(torch.full((1, 4, 4), -1), 1).tolist() == [[[0, 0, 0, 0]]]


def test_textures_differ_and_are_colours() -> None:
    painted = textures(4, 32, np.random.default_rng(0))
    assert painted.shape == (4, 3, 32, 32)
    assert 0 <= painted.min() < painted.max() <= 1
    assert torch.pdist(painted.flatten(1)).min() > 1


def test_photos_as_backgrounds(pictures: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (50, 40), (10, 200, 30)).save(photos / "a.png")
    scenes = draw(open_scenes(f"scenes:{pictures}?backgrounds={photos}"))
    green = (scenes.images == (10, 200, 30)).all(-1)
    assert green.mean() > 0.4


def test_grey_scenes_and_sizes(pictures: Path) -> None:
    source = open_scenes(f"scenes:{pictures}?color=gray&size=32")
    assert source.image_shape == (1, 32, 32)
    assert draw(source).images.shape == (4, 5, 32, 32, 1)


def test_class_by_file_name(tmp_path: Path) -> None:
    for v, vendor in enumerate(("one", "two")):
        (tmp_path / vendor).mkdir()
        for k, name in enumerate(("cat", "dog", "owl")):
            pixels = np.zeros((8, 8, 4), np.uint8)
            pixels[2:6, 2:6] = 255
            pixels[3, 3, :3] = 20 * (3 * v + k)  # no two are copies
            Image.fromarray(pixels).save(tmp_path / vendor / f"{name}.png")
    assert open_scenes(f"scenes:{tmp_path}?class=file").class_names == ("cat", "dog", "owl")
    assert open_scenes(f"scenes:{tmp_path}").class_names == ("one", "two")


def test_pictures_that_cannot_be_cut_out_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "opaque.png")
    with pytest.raises(DataError, match=r"'a/opaque\.png' of .* cannot be used: has no transparency, which is what"):
        open_scenes(f"scenes:{tmp_path}")
    Image.new("RGBA", (8, 8)).save(tmp_path / "a" / "opaque.png")
    with pytest.raises(DataError, match=r"'a/opaque\.png' of .* cannot be used: is transparent everywhere"):
        open_scenes(f"scenes:{tmp_path}")


def test_options_and_kinds_that_do_not_fit_are_refused(pictures: Path) -> None:
    with pytest.raises(UsageError, match=r"Option 'test' in 'scenes\?test=0\.5' is about pictures: write 'scenes:PATH"):
        open_scenes("scenes?test=0.5")
    with pytest.raises(UsageError, match=r"val=0\.8 and test=0\.5 .* are more than all classes\. Lower them\."):
        open_scenes(f"scenes:{pictures}?val=0.8&test=0.5")
    with pytest.raises(UsageError, match=r"'glyphs' has images by class; segmentation and detection need images of"):
        open_scenes("glyphs")
    with pytest.raises(UsageError, match=r"'scenes' has images of several objects, not images by class: it is for"):
        open_dataset("scenes")
    with pytest.raises(UsageError, match=r"Unknown data set 'scene'\. Did you mean 'scenes'\?"):
        open_scenes("scene")


def test_tasks_are_made_of_a_split(source: SceneSource) -> None:
    tasks = SegmentationTasks(source, "test", ways=3, shots=2, queries=2)
    task = tasks.sample(3, rng=seeded(0))
    assert task.ways == 4
    assert task.support.images.shape == (3, 2, 3, 64, 64)
    assert task.support.labels.shape == (3, 2, 64, 64)
    assert (task.class_ids[:, 0] == 0).all()
    assert set((task.class_ids[:, 1:] - 1).flatten().tolist()) <= set(source.splits["test"].tolist())
    assert tasks.class_name(0) == "background"
    assert tasks.class_name(int(task.class_ids[0, 1])).startswith("shape")
    assert tasks.n_classes == 21
    assert tasks.fingerprint() != SegmentationTasks(source, "test", ways=2).fingerprint()


@pytest.mark.parametrize(
    "settings,error,message",
    [
        ({"split": "all"}, UsageError, r"Unknown split 'all'"),
        ({"queries": 0}, UsageError, r"--queries must be 1 or more, got 0\."),
        ({"ways": 9, "split": "test"}, DataError, r"9-way tasks need 9 classes, but split 'test' of .* has 8\. Lower"),
    ],
)
def test_tasks_that_cannot_be_made_are_refused(
    source: SceneSource, settings: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        SegmentationTasks(source, **settings)  # type: ignore[arg-type]

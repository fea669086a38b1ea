"""Images with masks: pairing, classes, unlabelled pixels, and masks that are refused by name."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genmeta.core.errors import DataError, UsageError
from genmeta.core.randomness import seeded
from genmeta.core.types import IGNORE
from genmeta.data import open_scenes
from genmeta.data.masks import middle_square
from genmeta.tasks import SegmentationTasks

REAL = Path(__file__).parents[3] / "shared" / "data" / "segmentation"
real_only = pytest.mark.skipif(not REAL.is_dir(), reason="the real segmentation sets are not here")


def shade(mask: np.ndarray) -> np.ndarray:
    return np.repeat((40 * mask.astype(int) % 256).astype(np.uint8)[..., None], 3, 2)


def write(root: Path, masks: dict[str, np.ndarray], mode: str | None = None) -> Path:
    for name, mask in masks.items():
        for folder in ("images", "masks"):
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shade(mask)).save(root / "images" / f"{name}.png")
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    return root


def toy_masks(count: int = 8, ways: int = 4, height: int = 24, width: int = 32) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    masks = {}
    for i in range(count):
        mask = np.zeros((height, width), np.uint8)
        for k in range(1, ways):
            y, x = random.integers(0, height - 8), random.integers(4, width - 12)
            mask[y : y + 8, x : x + 8] = k
        mask[0, 4:8] = [k % ways for k in range(4)]
        masks[f"im{i}"] = mask
    return masks


def test_masks_follow_their_images(tmp_path: Path) -> None:
    """The image's shade says its class number, so after cutting and scaling both must still agree."""
    source = open_scenes(f"masks:{write(tmp_path, toy_masks())}?test=0.9&val=0&size=24")
    task = SegmentationTasks(source, "test", ways=3, shots=2, queries=2).sample(4, rng=seeded(0))
    assert task.ways == 4
    numbers = (task.support.images[:, :, 0] * 255 / 40).round().long()
    for t in range(4):
        for k in range(4):
            want = int(task.class_ids[t, k])
            assert (numbers[t][task.support.labels[t] == k] == want).all()


def test_classes_that_a_task_is_not_about_are_its_background(tmp_path: Path) -> None:
    source = open_scenes(f"masks:{write(tmp_path, toy_masks())}?test=1&val=0&size=24")
    task = SegmentationTasks(source, "test", ways=1, shots=2, queries=2).sample(8, rng=seeded(0))
    assert set(task.support.labels.unique().tolist()) == {0, 1}
    assert len(set(task.class_ids[:, 1].tolist())) > 1


def test_support_and_query_share_no_image_and_support_shows_the_classes(tmp_path: Path) -> None:
    masks = toy_masks(12)
    for name in ("im0", "im1", "im2"):
        masks[name] = np.zeros_like(masks[name])  # images without any object
        masks[name][0, 0] = int(name[2:]) + 1  # (a pixel outside the middle square tells them apart)
    source = open_scenes(f"masks:{write(tmp_path, masks)}?test=1&val=0&size=24")
    tasks = SegmentationTasks(source, "test", ways=3, shots=4, queries=3)
    for seed in range(5):
        task = tasks.sample(1, rng=seeded(seed))
        both = task.support.joined(task.query)
        assert len({image.numpy().tobytes() for image in both.images[0]}) == 7
        for k in (1, 2, 3):
            assert (task.support.labels == k).flatten(2).any(-1).all()
            assert (task.query.labels > 0).flatten(2).any(-1).all()


def test_folders_say_the_splits(tmp_path: Path) -> None:
    masks = toy_masks(6)
    named = {f"{s}/{n}": m for s, n, m in zip(["train", "val", "test"] * 2, masks, masks.values(), strict=True)}
    source = open_scenes(f"masks:{write(tmp_path / 'below', named)}")
    assert [source.fewest_images(split) for split in ("train", "val", "test")] == [2, 2, 2]
    for split in ("train", "val", "test"):  # the same names in each
        write(tmp_path / "above" / split, dict(list(masks.items())[:3]))
    source = open_scenes(f"masks:{tmp_path / 'above'}")
    assert [source.fewest_images(split) for split in ("train", "val", "test")] == [3, 3, 3]


def test_unlabelled_background_and_names(tmp_path: Path) -> None:
    write(tmp_path, toy_masks())
    (tmp_path / "meta.json").write_text(json.dumps({"classes": ["sky", "road", "car", "void"]}))
    source = open_scenes(f"masks:{tmp_path}?background=none&ignore=3&test=1&val=0")
    assert source.class_names == ("sky", "road", "car")
    task = SegmentationTasks(source, "test", ways=3, shots=2, queries=2).sample(1, rng=seeded(0))
    assert set(task.support.labels.unique().tolist()) == {IGNORE, 1, 2, 3}
    assert open_scenes(f"masks:{tmp_path}?background=1&classes=a,b,c,d").class_names == ("a", "c", "d")


def test_instances_become_one_class(tmp_path: Path) -> None:
    masks = {n: (m.astype(np.int32) * 300).astype(np.uint16) for n, m in toy_masks().items()}  # 16 bits
    source = open_scenes(f"masks:{write(tmp_path, masks)}?instances=yes&test=1&val=0")
    assert source.class_names == ("object",)
    task = SegmentationTasks(source, "test", ways=1, shots=1, queries=1).sample(1, rng=seeded(0))
    assert set(task.support.labels.unique().tolist()) == {0, 1}


def test_black_and_white_16_bit_palette_and_grey_as_colour_are_read(tmp_path: Path) -> None:
    expected = None
    for kind in ("grey", "black and white", "16 bit", "palette", "rgb"):
        root = tmp_path / kind
        masks = toy_masks(ways=2)
        write(root, masks)
        for name, mask in masks.items():
            file = root / "masks" / f"{name}.png"
            if kind == "black and white":
                Image.fromarray(mask * 255).save(file)
            elif kind == "16 bit":
                Image.fromarray(mask.astype(np.uint16)).save(file)
            elif kind == "palette":
                image = Image.new("P", mask.shape[::-1])
                image.putdata(mask.flatten().tolist())
                image.putpalette([9, 9, 9, 255, 0, 0])
                image.save(file)
            elif kind == "rgb":
                Image.fromarray(np.repeat(mask[..., None], 3, 2)).save(file)
        source = open_scenes(f"masks:{root}?test=1&val=0")
        task = SegmentationTasks(source, "test", ways=1, shots=3, queries=2).sample(1, rng=seeded(0))
        expected = task.support.labels if expected is None else expected
        assert (task.support.labels == expected).all(), kind


@pytest.mark.parametrize(
    "mask,options,message",
    [
        (np.zeros((10, 32), np.uint8), "", r"the mask is 32 × 10 pixels, its image 32 × 24"),
        (np.full((24, 32), 9, np.uint8), "&classes=a,b", r"the mask holds the value 9, but class numbers are 0 to 1;"),
        (
            np.full((24, 32), 700, np.uint16),
            "",
            r"the mask holds the value 700, but at most 255 classes are read; .* instances=yes",
        ),
        (np.arange(24 * 32 * 3).reshape(24, 32, 3).astype(np.uint8), "", r"the mask has 3 colour channels; expected"),
        (np.full((24, 32), 0.5, np.float32), "", r"the mask holds fractions; expected whole class numbers"),
        (np.zeros((24, 32), bool), "", r"the mask is a JPEG, whose compression changes class numbers; store masks as"),
    ],
)
def test_a_bad_mask_is_refused_by_name_or_skipped(tmp_path: Path, mask: np.ndarray, options: str, message: str) -> None:
    masks = toy_masks(ways=2)
    write(tmp_path, masks)
    suffix = {"f": "tiff", "b": "jpg"}.get(mask.dtype.kind, "png")
    (tmp_path / "masks" / "im3.png").unlink()
    Image.fromarray(mask).convert("L" if suffix == "jpg" else None).save(tmp_path / "masks" / f"im3.{suffix}")
    spec = f"masks:{tmp_path}?test=1&val=0{options}"
    with pytest.raises(DataError, match=rf"File 'masks/im3\.{suffix}' of .* cannot be used: {message}"):
        open_scenes(spec)
    source = open_scenes(spec, on_bad_image="skip")
    assert any("im3" in reason for reason in source.skipped)
    assert source.fewest_images("test") == 7
    with pytest.raises(DataError, match=rf"'masks/im3\.{suffix}'"):
        open_scenes(spec)  # not hidden by the cache of the call that skipped


def test_a_damaged_image_or_mask_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, toy_masks())
    file = tmp_path / "masks" / "im2.png"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(DataError, match=r"File 'masks/im2\.png' of .* cannot be used: the mask cannot be read"):
        open_scenes(f"masks:{tmp_path}")
    write(tmp_path, toy_masks())
    (tmp_path / "images" / "im2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"File 'images/im2\.png' of .* cannot be used: not an image"):
        open_scenes(f"masks:{tmp_path}")


def test_layouts_without_pairs_or_objects_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "images" / "a.png")
    with pytest.raises(DataError, match=r"holds no image with a mask: expected images/NAME\.jpg .* 1 images and 0"):
        open_scenes(f"masks:{tmp_path}")
    write(tmp_path, {"b": np.zeros((16, 16), np.uint8)})
    with pytest.raises(DataError, match=r"hold no object at all, only background\. Check background="):
        open_scenes(f"masks:{tmp_path}?test=1&val=0")
    write(tmp_path, toy_masks())
    source = open_scenes(f"masks:{tmp_path}?test=1&val=0")
    assert source.skipped == ("images/a.png: has no mask",)
    with pytest.raises(DataError, match=r"20-shot tasks with 3 queries need 23 images, but .* has 8 of its rarest"):
        SegmentationTasks(source, "test", ways=2, shots=20)
    with pytest.raises(UsageError, match=r"Option ignore='x' in .* is not a list of numbers"):
        open_scenes(f"masks:{tmp_path}?ignore=x")
    with pytest.raises(UsageError, match=r"are more than all images\. Lower them\."):
        open_scenes(f"masks:{tmp_path}?val=0.7&test=0.7")


def test_a_zip_is_read_as_a_folder_is(tmp_path: Path) -> None:
    write(tmp_path / "set", toy_masks())
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted((tmp_path / "set").rglob("*.png")):
            archive.write(file, "top/" + str(file.relative_to(tmp_path / "set")))
    one, other = (open_scenes(f"masks:{tmp_path / name}?test=1&val=0") for name in ("set", "set.zip"))
    tasks = [SegmentationTasks(s, "test", ways=2, shots=2, queries=2).sample(2, rng=seeded(0)) for s in (one, other)]
    assert (tasks[0].support.images == tasks[1].support.images).all()


def test_the_middle_square_takes_the_nearest_pixel() -> None:
    mask = np.arange(4 * 6).reshape(4, 6)
    assert middle_square(mask, 4).tolist() == mask[:, 1:5].tolist()
    assert middle_square(mask, 2).tolist() == [[8, 10], [20, 22]]
    assert middle_square(mask.T, 4).tolist() == mask.T[1:5].tolist()


def test_numbers_are_not_mistaken_for_others(tmp_path: Path) -> None:
    void = np.zeros((24, 32), np.uint8)
    void[:, 16:] = 255
    write(tmp_path / "void", {**toy_masks(ways=2), "im3": void})  # unlabelled, not black and white
    source = open_scenes(f"masks:{tmp_path / 'void'}?ignore=255&test=1&val=0&size=24")
    assert [np.unique(mask).tolist() for mask in source.pixels[3:4, ..., -1]] == [[0, 255]]
    source = open_scenes(f"masks:{tmp_path / 'void'}?ignore=255&instances=yes&test=1&val=0&size=24")
    assert np.unique(source.pixels[3, ..., -1]).tolist() == [0, 255]
    names = ",".join(f"c{k}" for k in range(300))
    with pytest.raises(DataError, match=r"names 300 classes; at most 255 are read\. Merge some"):
        open_scenes(f"masks:{tmp_path / 'void'}?classes={names}")
    with pytest.raises(UsageError, match=r"Option ignore='-1' in .* is not a list of numbers"):
        open_scenes(f"masks:{tmp_path / 'void'}?ignore=-1")


def test_a_damaged_list_of_classes_is_named(tmp_path: Path) -> None:
    write(tmp_path, toy_masks())
    for text in ("{", "[" * 100_000):
        (tmp_path / "meta.json").write_text(text)
        with pytest.raises(DataError, match=r"'meta\.json' of .* cannot be read .* Repair or remove it, or name the"):
            open_scenes(f"masks:{tmp_path}")
    (tmp_path / "meta.json").write_text("[]")  # of something else
    assert open_scenes(f"masks:{tmp_path}").class_names == ("class 1", "class 2", "class 3")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, toy_masks())
    Image.new("L", (32, 24)).save(tmp_path / "masks" / "im3.bmp")
    with pytest.raises(DataError, match=r"holds both 'masks/im3\.bmp' and 'masks/im3\.png', and which is meant"):
        open_scenes(f"masks:{tmp_path}")


@real_only
@pytest.mark.parametrize(
    "spec,classes",
    [
        ("em_membrane_256.zip?background=1&size=64", ("membrane",)),
        ("dsb2018_nuclei_256.zip?instances=yes&size=64", ("object",)),
    ],
)
def test_real_sets_open(spec: str, classes: tuple[str, ...]) -> None:
    source = open_scenes(f"masks:{REAL / spec}")
    assert source.class_names == classes
    task = SegmentationTasks(source, "test", ways=1, shots=5, queries=3).sample(1, rng=seeded(0))
    assert set(task.support.labels.unique().tolist()) == {0, 1}

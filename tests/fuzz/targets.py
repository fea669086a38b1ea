"""What is fuzzed: functions of bytes that must end with a result or with an error of the library, and nothing else."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from genmeta.core.errors import CheckpointError, DataError, GenmetaError, UsageError
from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.core.types import IGNORE
from genmeta.data.box_images import _clean, by_base_name
from genmeta.data.coco import _category_names, _images, read_coco
from genmeta.data.layout import SPLITS
from genmeta.data.masks import INFO as MASKS
from genmeta.data.masks import NO_LABEL, blocks_of, mask_values, masked_images, pairs_of, reading_of
from genmeta.data.opening import READERS
from genmeta.data.pixels import BadImageError, Pixels
from genmeta.data.registry import Request, settle
from genmeta.data.sources import ZipSource
from genmeta.data.spec import DataSpec
from genmeta.data.voc import _read as read_voc_file
from genmeta.data.voc import _RefusedError
from genmeta.engine.checkpoint import SCHEMA, load, load_state, read_header
from genmeta.engine.run_directory import RunDirectory
from genmeta.tasks import Range

#: A place in memory, where there is one: fuzzers write a file for every input.
_PLACE = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
_HOME = tempfile.TemporaryDirectory(prefix="fuzz-", dir=_PLACE)
HOME = Path(_HOME.name)


class Images:
    """A source of three images and one annotation file, whose content is the input."""

    def __init__(self, data: bytes) -> None:
        self.path, self.identity, self._data = Path("there"), "", data
        self.names = ("Annotations/a.xml", "images/a.png", "images/b.png", "other/b.png")

    def read(self, name: str) -> bytes:
        return self._data


def spec(data: bytes) -> None:
    """A data spec, settled against its reader; what was parsed is written and read again."""
    text = data.decode("utf-8", "surrogateescape")
    parsed = DataSpec.parse(text)
    assert DataSpec.parse(str(parsed)) == parsed
    if parsed.name in READERS:
        asked = {"size": None, "channels": None, "download": False, "on_bad_image": "fail", "cache_dir": None}
        request = settle(text, parsed, READERS[parsed.name].info, **asked)  # type: ignore[arg-type]
        assert request.size in range(8, 513)
        _ = request.path, request.flag("merge", False), request.fraction("val", 0.1), request.integer("seed", 0, 0, 9)


def checkpoint(data: bytes) -> None:
    """A model file and a training state."""
    path = HOME / "model.safetensors"
    path.write_bytes(data)
    with contextlib.suppress(GenmetaError):
        read_header(path)
    with contextlib.suppress(GenmetaError):
        load_state(path)
    load(path)


def config(data: bytes) -> None:
    """A run's settings, a training's and an evaluation's settings, ranges."""
    with contextlib.suppress(GenmetaError), RunDirectory(HOME / "run") as run:
        (HOME / "run" / "config.json").write_bytes(data)
        run.read_config()
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(UsageError):
        Range.parse(text, "ways")
    with contextlib.suppress(UsageError):
        _ = EvaluationConfig("glyphs", adapt_steps=text).steps
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(given, dict):
        header = {"schema": SCHEMA, "method": "protonet", "options": {}, "learner": {"name": "mlp"}, **given}
        with contextlib.suppress(CheckpointError):
            save_file({"a": torch.zeros(1)}, HOME / "described.safetensors", metadata={"genmeta": json.dumps(header)})
            load(HOME / "described.safetensors")
        numbers = {name: value for name, value in given.items() if name in TrainConfig.__dataclass_fields__}
        if all(isinstance(value, (int, float, str)) for value in numbers.values()):
            with contextlib.suppress(TypeError):
                TrainConfig(**{"method": "maml", "data": "glyphs", "run": "run", **numbers})


def coco(data: bytes) -> None:
    """A COCO annotation file beside some images."""
    source = Images(data)
    found = read_coco("there", data)
    names = _category_names("there", found["categories"])  # type: ignore[arg-type]
    for policy in ("skip", "fail"):
        request = Request("coco:there", DataSpec.parse("coco:there"), 32, 3, on_bad_image=policy)  # type: ignore[arg-type]
        annotated, _, _ = _images(request, source, "a.json", "there", found, names)
        for image in annotated:
            boxes, classes = _clean(image, image.size or (32.0, 24.0), 32, Counter())
            assert len(boxes) == len(classes)
            assert np.isfinite(boxes).all()
            assert (boxes >= 0).all()
            assert (boxes <= 32).all()


def voc(data: bytes) -> None:
    """A VOC annotation file beside some images."""
    source = Images(data)
    by_base = by_base_name(source)
    with contextlib.suppress(_RefusedError):
        image = read_voc_file(source, "Annotations/a.xml", by_base, {"a": ["images/a.png"]})
        boxes, _ = _clean(image, image.size or (32.0, 24.0), 32, Counter())
        assert np.isfinite(boxes).all()


def image(data: bytes) -> None:
    """An image file."""
    for pixels in (Pixels(16, 3), Pixels(8, 1, invert=True)):
        with contextlib.suppress(BadImageError):
            array = pixels.decode(data)
            assert array.shape == pixels.shape
            assert array.dtype == np.uint8


#: How masks can be meant; the content of a mask is also tried as the set's ``meta.json``.
_MEANT = ("", "?ignore=0,255&background=none", "?classes=a,b,c", "?instances=yes&ignore=7&background=3")


class Masked(Images):
    """A source of two images with masks; the masks, and what may name their classes, are the input."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.names = ("images/a.png", "images/b.png", "masks/a.png", "masks/b.png", "meta.json")
        self.size = (24, 16)
        with contextlib.suppress(Exception), Image.open(io.BytesIO(data)) as found:
            self.size = min(found.width, 256), min(found.height, 256)

    def read(self, name: str) -> bytes:
        return _picture(self.size) if name.startswith("images") else self._data


@functools.lru_cache(maxsize=1024)
def _picture(size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 90)).save(file, "png")
    return file.getvalue()


def mask(data: bytes) -> None:
    """A mask file beside an image, read as each kind of mask, to the task that is drawn from it."""
    source = Masked(data)
    for meant, policy in (("", "fail"), *((meant, "skip") for meant in _MEANT)):
        text = f"masks:there{meant}"
        asked = {"size": 8, "channels": 1, "download": False, "on_bad_image": policy, "cache_dir": None}
        request = settle(text, DataSpec.parse(text), MASKS, **asked)  # type: ignore[arg-type]
        with contextlib.suppress(DataError):
            _one_reading(request, source)
    try:
        mask_values(data, source.size)
    except BadImageError as error:
        raise DataError(str(error)) from error


def _one_reading(request: Request, source: Masked) -> None:
    pairs, _ = pairs_of(source)
    reading = reading_of(request, source)
    by_split = {split: list(pairs) if split == "test" else [] for split in SPLITS}
    blocks = {block.class_name: block for block in blocks_of(request, source, by_split, pairs, reading)}
    pixels = blocks["test"].images
    assert len(pixels) + len(blocks["test"].skipped) == len(pairs)
    if len(pixels):
        # no number is turned into another one, such as 256 into 0
        values = set(mask_values(source.read("masks/a.png")).flatten().tolist())
        known = range(2) if reading.instances else {*(values - reading.ignore), *(range(2) if 255 in values else ())}
        assert set(pixels[..., -1].flatten().tolist()) <= {*known, NO_LABEL}
        assert NO_LABEL not in pixels[..., -1] or values & reading.ignore
    places = {split: np.arange(len(pixels)) if split == "test" else np.arange(0) for split in SPLITS}
    images = masked_images(request, reading, pixels, places, "", ())
    if images.splits["test"].size and len(pixels) > 1:
        drawn = images.draw("test", images.splits["test"][None, :1], 1, 1, np.random.default_rng(0))
        assert drawn.images.dtype == np.uint8
        assert drawn.masks is not None
        assert set(np.unique(drawn.masks).tolist()) <= {IGNORE, 0, 1}


def archive(data: bytes) -> None:
    """A zip of images."""
    path = HOME / "images.zip"
    path.write_bytes(data)
    source = ZipSource(path)
    for name in source.names[:20]:
        assert ".." not in name.split("/")
        with contextlib.suppress(BadImageError):
            source.read(name)


#: Name -> target.
TARGETS: dict[str, Callable[[bytes], None]] = {
    "spec": spec,
    "checkpoint": checkpoint,
    "config": config,
    "coco": coco,
    "voc": voc,
    "image": image,
    "mask": mask,
    "archive": archive,
}


def run(name: str, data: bytes) -> str:
    """Runs a target; returns ``done`` or the kind of the library's error. Anything else is a finding, and raised."""
    try:
        TARGETS[name](data)
    except GenmetaError as error:
        if not str(error).strip():
            raise TypeError("an error without a message") from error
        return type(error).__name__
    return "done"

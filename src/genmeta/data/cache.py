"""Images decoded once: ``<key>.npy`` is mapped into memory, ``<key>.json`` beside it says what it holds.

The JSON file is written last and names the array's shape, so an entry without it, or whose array has another size, is
not an entry and is built again. Two processes that build the same entry write the same bytes; the later one wins.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from genmeta.core.errors import DataError, RunError
from genmeta.core.files import atomic_path, write_text

_SCHEMA = 1


class Block(NamedTuple):
    """One class on its way into the cache: its images ``[n H W C]`` uint8, and those left out as ``name: reason``."""

    class_name: str
    images: np.ndarray
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stored:
    """What a cache entry holds; the fields are those of ``ImageClasses``.

    Attributes:
        copies: class -> how many of its images equal an earlier one of the same class, pixel by pixel.
    """

    images: np.ndarray
    offsets: np.ndarray
    class_names: tuple[str, ...]
    skipped: tuple[str, ...]
    copies: Mapping[str, int] = field(default_factory=dict)


def cache_directory(cache_dir: Path | None) -> Path:
    """The argument, else ``$GENMETA_CACHE``, else ``~/.cache/genmeta/images``."""
    named = cache_dir or os.environ.get("GENMETA_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "genmeta" / "images"


def stored_images(
    identity: Mapping[str, Any],
    shape: tuple[int, int, int],
    blocks: Callable[[], Iterable[Block]],
    cache_dir: Path | None = None,
) -> Stored:
    """Loads the entry of ``identity``, building it first where it is absent or damaged.

    Args:
        identity: everything the pixels depend on, as JSON values; its hash is the key.
        shape: ``(H, W, C)`` of every image.
        blocks: called to make the images when the entry must be built; one block for each class.
        cache_dir: see `cache_directory`.

    Raises:
        DataError: ``blocks`` gave no image at all.
        RunError: the cache cannot be written.
    """
    text = json.dumps({"schema": _SCHEMA, "shape": shape, **identity}, sort_keys=True)
    base = cache_directory(cache_dir) / hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    array_path, json_path = base.with_suffix(".npy"), base.with_suffix(".json")
    stored = _load(array_path, json_path, shape)
    if stored is not None:
        return stored
    try:
        # an old description must never stand beside a new array
        json_path.unlink(missing_ok=True)
        with atomic_path(array_path, "caching decoded images in") as temporary:
            written = _write(temporary, shape, blocks())
        # ASCII, since names of files need not be valid Unicode
        write_text(json_path, json.dumps(written))
    except (RunError, OSError) as error:
        reason = str(error) if isinstance(error, RunError) else f"Failed writing {str(base)!r}: {error.strerror}."
        raise RunError(f"{reason} Set GENMETA_CACHE to put decoded images elsewhere.") from error
    # not through the description on disk: another process that builds the same entry may be replacing it
    stored = _assemble(array_path, written, shape)
    if stored is None:
        raise RunError(f"The images just cached in {str(array_path)!r} cannot be read back. Check the disk.")
    return stored


def _write(path: Path, shape: tuple[int, int, int], blocks: Iterable[Block]) -> dict[str, Any]:
    """Appends the blocks to an ``.npy`` file; its length is written into the header at the end.

    Plain writes rather than a writable memory map: a full disk is then an error and not a bus error.
    """
    counts: list[int] = []
    names: list[str] = []
    skipped: list[str] = []
    copies: dict[str, int] = {}
    with path.open("wb") as file:
        begin = _write_header(file, 0, shape)
        for block in blocks:
            skipped.extend(block.skipped)
            if len(block.images):
                names.append(block.class_name)
                counts.append(len(block.images))
                images = [np.ascontiguousarray(image, dtype=np.uint8).tobytes() for image in block.images]
                if repeated := len(images) - len({hashlib.sha256(image).digest() for image in images}):
                    copies[block.class_name] = repeated
                file.writelines(images)
        if not counts:
            listed = "; ".join(skipped[:3])
            raise DataError(f"No image could be read{': ' + listed if listed else ''}. Check the files.")
        file.seek(0)
        if _write_header(file, sum(counts), shape) != begin:
            raise RunError("The array's header changed its length. Report this with the version of numpy.")
    return {
        "shape": [sum(counts), *shape],
        "counts": counts,
        "class_names": names,
        "skipped": skipped,
        "copies": copies,
    }


def _write_header(file: BinaryIO, length: int, shape: tuple[int, int, int]) -> int:
    # numpy pads the header so that the first axis can grow in place
    header = {"descr": "|u1", "fortran_order": False, "shape": (length, *shape)}
    np.lib.format.write_array_header_1_0(file, header)
    return int(file.tell())


def _load(array_path: Path, json_path: Path, shape: tuple[int, int, int]) -> Stored | None:
    try:
        written = json.loads(json_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return _assemble(array_path, written, shape)


def _assemble(array_path: Path, written: Any, shape: tuple[int, int, int]) -> Stored | None:
    """The entry, or None where the array is not the one that ``written`` describes."""
    try:
        images = np.load(array_path, mmap_mode="r")
        counts = np.array(written["counts"], dtype=np.int64)
        names, skipped = tuple(written["class_names"]), tuple(written["skipped"])
        copies = dict(written.get("copies", {}))
        exact = array_path.stat().st_size == images.offset + images.nbytes
    except (OSError, ValueError, TypeError, KeyError, EOFError, AttributeError):
        return None
    whole = images.dtype == np.uint8 and images.shape == (counts.sum(), *shape) and len(counts) == len(names)
    if not (whole and exact):
        return None
    return Stored(images, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), names, skipped, copies)

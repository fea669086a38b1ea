"""Lists that say which split a class or a file is in: ``train.txt``, ``val.txt``, ``test.txt``, or ``.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from genmeta.core.errors import DataError, UsageError, unknown
from genmeta.data.layout import SPLITS, is_image
from genmeta.data.pixels import BadImageError
from genmeta.data.sources import Source

_IMAGE_FOLDERS = ("data", "images", "")


class Placed:
    """Files by class folder, and class folder -> ``(split, class name)``; grows line by line."""

    def __init__(self) -> None:
        self.files: dict[str, list[str]] = {}
        self.places: dict[str, tuple[str, str]] = {}
        self._owners: dict[str, str] = {}

    def add(self, split: str, class_name: str, names: Sequence[str]) -> None:
        """Adds files to a class of a split; a file that is listed twice counts once.

        Raises:
            DataError: a file was added to another class before.
        """
        key = f"{split}/{class_name}"
        files = self.files.setdefault(key, [])
        for name in names:
            owner = self._owners.get(name)
            if owner is None:
                self._owners[name] = key
                files.append(name)
            elif owner != key:
                raise DataError(f"The lists of splits put {name!r} into {owner!r} and into {key!r}. Keep one.")
        self.places[key] = (split, class_name)


def find_lists(source: Source, asked: str | None, preferred: Sequence[str]) -> dict[str, str] | None:
    """``split -> name of its list``, or None where there are no such lists.

    Args:
        source: where to look.
        asked: name of the folder of lists to take, as the user gave it.
        preferred: which folders of lists to take among several, when nothing is asked.

    Raises:
        UsageError: there is no such folder of lists, or several of which none is preferred.
    """
    folders: dict[str, dict[str, str]] = {}
    for name in source.names:
        path = PurePosixPath(name)
        if path.stem in SPLITS and path.suffix in (".txt", ".csv"):
            folders.setdefault(str(path.parent), {}).setdefault(path.stem, name)
    folders = {folder: lists for folder, lists in folders.items() if {"train", "test"} <= lists.keys()}
    short = {PurePosixPath(folder).name or ".": lists for folder, lists in folders.items()}
    if asked is not None:
        if asked not in short:
            raise unknown(f"value of option 'splits' (folders of lists in {str(source.path)!r}):", asked, short)
        return short[asked]
    if len(folders) <= 1:
        return next(iter(folders.values()), None)
    for name in preferred:
        if name in short:
            return short[name]
    raise UsageError(
        f"{str(source.path)!r} holds several lists of splits: {', '.join(sorted(short))}. Choose one with splits=NAME."
    )


def read_lists(source: Source, lists: Mapping[str, str]) -> Placed:
    """Reads the lists: lines that name a class or an image, or rows of ``filename,label``.

    Raises:
        DataError: a list cannot be read, or names what is not there.
    """
    finder = _Finder(source)
    placed = Placed()
    for split, list_name in lists.items():
        for names in _rows(source, list_name):
            label = names[1] if len(names) > 1 else ""
            if is_image(names[0]):
                file = finder.file(names[0], label)
                placed.add(split, label or PurePosixPath(file).parent.name, [file])
            else:
                label = PurePosixPath(names[0]).name
                placed.add(split, label, finder.folder(names[0], list_name))
    if not placed.files:
        raise DataError(f"The lists {', '.join(lists.values())} in {str(source.path)!r} are empty. Get the data again.")
    return placed


def _rows(source: Source, list_name: str) -> list[list[str]]:
    try:
        text = source.read(list_name).decode("utf-8-sig")
    except (BadImageError, UnicodeDecodeError) as error:
        raise DataError(f"The list {list_name!r} in {str(source.path)!r} cannot be read: {error}.") from error
    if list_name.endswith(".csv"):
        try:
            rows = [[cell.strip() for cell in row[:2]] for row in csv.reader(io.StringIO(text)) if row]
        except csv.Error as error:
            raise DataError(f"The list {list_name!r} in {str(source.path)!r} is not CSV: {error}.") from error
        # the header, if there is one, names no image
        return [row for position, row in enumerate(rows) if row[0] and (position > 0 or is_image(row[0]))]
    return [[line.strip().strip("/")] for line in text.splitlines() if line.strip().strip("/")]


class _Finder:
    """Finds the files that lists name, below ``data/``, ``images/`` or directly, wherever these stand."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._files = {name for name in source.names if is_image(name)}
        self._by_base: dict[str, list[str]] = {}
        self._by_folder: dict[str, list[str]] = {}
        for name in sorted(self._files):
            self._by_base.setdefault(PurePosixPath(name).name, []).append(name)
            self._by_folder.setdefault(str(PurePosixPath(name).parent), []).append(name)
        self._folders: dict[str, list[str]] = {}
        for folder in self._by_folder:
            self._folders.setdefault(PurePosixPath(folder).name, []).append(folder)

    def file(self, name: str, label: str) -> str:
        for base in _IMAGE_FOLDERS:
            for middle in ("", label):
                candidate = str(PurePosixPath(base, middle, name))
                if candidate in self._files:
                    return candidate
        found = [file for file in self._by_base.get(PurePosixPath(name).name, ()) if f"/{file}".endswith(f"/{name}")]
        if len(found) > 1:
            found = [file for file in found if label in PurePosixPath(file).parts] or found
        return self._only(found, name, "image")

    def folder(self, name: str, list_name: str) -> list[str]:
        for base in _IMAGE_FOLDERS:
            candidate = str(PurePosixPath(base, name))
            if candidate in self._by_folder:
                return self._by_folder[candidate]
        found = [
            folder for folder in self._folders.get(PurePosixPath(name).name, ()) if f"/{folder}".endswith(f"/{name}")
        ]
        return self._by_folder[self._only(found, name, f"class folder of {list_name!r}")]

    def _only(self, found: Sequence[str], name: str, kind: str) -> str:
        if len(found) == 1:
            return found[0]
        what = f"{len(found)} times in" if found else "not in"
        raise DataError(
            f"{name!r}, a {kind} in the lists of splits, is {what} {str(self._source.path)!r}. "
            "Expected it below data/, images/ or beside the lists."
        )

"""Files in a folder or in a zip, seen the same way; a zip is read in memory and never unpacked."""

from __future__ import annotations

import hashlib
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from genmeta.core.errors import DataError
from genmeta.data.pixels import BadImageError

MAX_FILES = 5_000_000
MAX_FILE_BYTES = 256 * 2**20
MAX_TOTAL_BYTES = 64 * 2**30
_MAX_DEPTH = 12
# What zipfile and the decompressors behind it raise on damaged entries.
_DAMAGE = (
    OSError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, ValueError,
    LookupError,
)  # fmt: skip


class Source(Protocol):
    """Named files.

    Attributes:
        path: where they are.
        names: sorted relative names with ``/``; hidden files are left out.
        identity: changes when the content does.
    """

    path: Path
    names: tuple[str, ...]
    identity: str

    def read(self, name: str) -> bytes:
        """Content of one file; raises `BadImageError` with the reason when it cannot be read."""
        ...


def open_source(path: Path) -> Source:
    """Opens a folder or a zip.

    Raises:
        DataError: nothing there, neither a folder nor a zip, or a zip that is damaged or not safe to read.
    """
    try:
        if path.is_dir():
            return FolderSource(path)
        if path.is_file():
            return ZipSource(path)
    except OSError as error:
        raise DataError(
            f"{str(error.filename or path)!r} cannot be read: {error.strerror}. Check its permissions."
        ) from error
    raise DataError(f"There is nothing at {str(path)!r}. Expected a folder or a zip: check the path.")


class FolderSource:
    """The files below a folder; links are followed, but never in a circle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        digest = hashlib.sha256()
        found: list[str] = []
        for name, size, time_ns in sorted(_walk(path)):
            found.append(name)
            digest.update(f"{name}\0{size}\0{time_ns}\0".encode("utf-8", "surrogateescape"))
        self.names = tuple(found)
        self.identity = digest.hexdigest()

    def read(self, name: str) -> bytes:
        """Content of one file."""
        try:
            with (self.path / name).open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise BadImageError(error.strerror or str(error)) from error
        if len(data) > MAX_FILE_BYTES:
            raise BadImageError(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
        return data


class ZipSource:
    """The entries of a zip."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.identity = hashlib.file_digest(file, "sha256").hexdigest()
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise DataError(
                f"{str(path)!r} is not a zip that can be read ({error}). Expected a folder or a zip."
            ) from error
        # a name can be empty, on which zipfile's own is_dir() fails
        infos = [info for info in self._zip.infolist() if info.filename and not info.filename.endswith("/")]
        _refuse_unsafe(path, infos)
        self._infos = {_posix(info): info for info in infos if not _hidden(_posix(info))}
        self.names = tuple(sorted(self._infos))

    def read(self, name: str) -> bytes:
        """Content of one entry; ``zipfile`` never gives more than the size that was checked on opening."""
        try:
            return self._zip.read(self._infos[name])
        except _DAMAGE as error:
            raise BadImageError(f"cannot be unpacked ({error})") from error


def _refuse_unsafe(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    if len(infos) > MAX_FILES:
        raise DataError(f"{str(path)!r} holds {len(infos)} files; at most {MAX_FILES} are read. Split it.")
    total = 0
    for info in infos:
        name = PurePosixPath(_posix(info))
        if name.is_absolute() or ".." in name.parts or (name.parts and name.parts[0].endswith(":")):
            raise DataError(
                f"{str(path)!r} holds the entry {info.filename!r}, which points outside the zip. "
                "It may be malicious: pack the class folders again."
            )
        if info.file_size > MAX_FILE_BYTES:
            raise DataError(
                f"Entry {info.filename!r} of {str(path)!r} unpacks to {info.file_size} bytes; "
                f"at most {MAX_FILE_BYTES} are read. It may be a zip bomb: leave it out."
            )
        total += info.file_size
    if total > MAX_TOTAL_BYTES:
        raise DataError(f"{str(path)!r} unpacks to {total} bytes; at most {MAX_TOTAL_BYTES} are read. Split it.")


def _posix(info: zipfile.ZipInfo) -> str:
    return info.filename.replace("\\", "/")  # some programs on Windows write it so


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _walk(root: Path) -> Iterator[tuple[str, int, int]]:
    """Yields ``(relative name, bytes, time of change in ns)`` of every file that is not hidden."""

    def visit(folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, int, int]]:
        status = os.stat(folder)
        here = (status.st_dev, status.st_ino)
        if here in above or len(above) > _MAX_DEPTH:
            return  # a link to a folder that we are in
        with os.scandir(folder) as entries:
            for entry in entries:
                if _hidden(entry.name):
                    continue
                try:
                    if entry.is_dir():
                        yield from visit(entry.path, f"{prefix}{entry.name}/", above | {here})
                    elif entry.is_file():
                        found = entry.stat()
                        yield f"{prefix}{entry.name}", found.st_size, found.st_mtime_ns
                    elif entry.is_symlink():
                        yield f"{prefix}{entry.name}", 0, 0  # a broken link: reading it says so
                except FileNotFoundError:
                    continue  # removed while we look

    yield from visit(str(root), "", frozenset())

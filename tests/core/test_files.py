"""Files are whole or absent, whatever goes wrong while they are written."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from genmeta.core.errors import RunError
from genmeta.core.files import atomic_path, write_json, write_text


def write_half(target: Path, error: BaseException) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error


def test_text_and_json(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "α\n")
    write_json(tmp_path / "b.json", {"θ": [1, 2]})
    assert (tmp_path / "new" / "a.txt").read_bytes() == "α\n".encode()
    assert (tmp_path / "b.json").read_text(encoding="utf-8") == '{\n  "θ": [\n    1,\n    2\n  ]\n}\n'


def test_the_file_gets_ordinary_permissions(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "a", "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path, error: BaseException, there: bool) -> None:
    target = tmp_path / "file"
    if there:
        target.write_text("before")
    with pytest.raises(type(error)):
        write_half(target, error)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == ([("file", "before")] if there else [])


@pytest.mark.parametrize(
    "code,todo",
    [
        (errno.ENOSPC, "The disk is full: free some space, or choose another place."),
        (errno.EDQUOT, "The disk is full: free some space, or choose another place."),
        (errno.EROFS, "The place cannot be written: choose a directory you own."),
        (errno.EIO, "Check the path and try again."),
    ],
)
def test_operating_system_errors_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, todo: str
) -> None:
    target = tmp_path / "file"
    target.write_text("before")

    def fail(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunError) as caught:
        write_text(target, "after")
    assert str(caught.value) == (
        f"Failed writing {str(target)!r}: {os.strerror(code)}. {todo} Nothing was left half-written."
    )
    assert [file.read_text() for file in tmp_path.iterdir()] == ["before"]


def test_a_full_disk_in_the_middle_of_writing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="The disk is full"):
        write_half(tmp_path / "file", OSError(errno.ENOSPC, "No space left on device"))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_hold_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"Failed writing .*file/below': .*Check the path and try again\."):
        write_text(tmp_path / "file" / "below", "x")


def test_flushed_before_it_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order that a power loss cannot break: content on disk, then the name, then the directory that holds it."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def flush(handle: int) -> None:
        done.append("directory" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def rename(source: Path, target: Path) -> None:
        assert Path(source).read_text() == "whole"
        done.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "replace", rename)
    write_text(tmp_path / "file", "whole")
    assert done == ["file", "rename", "directory"]

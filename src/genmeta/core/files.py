"""Files that are either whole or absent: write beside the target, flush to disk, rename."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genmeta.core.errors import RunError, UsageError


def explain_os_error(error: OSError, path: Path, doing: str) -> RunError:
    """Turns an operating-system error into a message that says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        todo = "The disk is full: free some space, or choose another place."
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        todo = "The place cannot be written: choose a directory you own."
    else:
        todo = "Check the path and try again."
    return RunError(f"Failed {doing} {str(path)!r}: {error.strerror or error}. {todo} Nothing was left half-written.")


@contextlib.contextmanager
def atomic_path(path: str | Path, doing: str = "writing") -> Iterator[Path]:
    """Yields a temporary path in the target's directory; on success it replaces the target, on failure it is removed.

    Raises:
        RunError: the disk is full, the directory is read-only, ... (the target keeps its earlier content); or the
            target is there and no file, such as ``/dev/null``, which a rename would replace.
        UsageError: no file can be called so.
    """
    path = Path(path)
    if "\0" in str(path):
        raise UsageError(f"Expected the path of a file to write, got {str(path)!r}.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise RunError(f"Failed {doing} {str(path)!r}: it is a folder or a device. Give the name of a file.")
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # temporary files are private; give the result the permissions a plain open() would have
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
        temporary = None
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the rename itself survives a power cut
        finally:
            os.close(directory)
    except OSError as error:
        raise explain_os_error(error, path, doing) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text atomically; what is no text, as in names of files, becomes escapes that JSON reads back."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | Path, value: Any) -> None:
    """Writes JSON atomically, with a stable layout."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

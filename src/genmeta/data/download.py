"""Fetching one file: shown while it runs, checked against its known sum, whole or absent."""

from __future__ import annotations

import hashlib
import http.client
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from genmeta.core.errors import DataError
from genmeta.core.files import atomic_path

_CHUNK = 1 << 18
_TIMEOUT_SECONDS = 60


class Remote(NamedTuple):
    """A file at a web address, and the md5 sum it must have."""

    url: str
    md5: str


def download_file(remote: Remote, target: Path) -> None:
    """Downloads to ``target``.

    Raises:
        DataError: the address cannot be reached, or what came is not the file that was published.
        RunError: the target cannot be written.
    """
    with atomic_path(target, "downloading to") as temporary:
        digest = hashlib.md5(usedforsecurity=False)  # the sum that the publishers of the data give
        with temporary.open("wb") as file:
            for chunk in _chunks(remote, target):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != remote.md5:
            raise DataError(
                f"What came from {remote.url} has md5 {digest.hexdigest()}, expected {remote.md5}. "
                f"Try again, or download it by hand and put it at {str(target)!r}."
            )


def _chunks(remote: Remote, target: Path) -> Iterator[bytes]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    failure = (
        f"{remote.url} cannot be downloaded ({{}}). Check the connection and try again, "
        f"or download it by hand and put it at {str(target)!r}."
    )
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    hidden = not sys.stderr.isatty()
    # errors of the network are caught around each call that can raise them, so that errors of the disk are not
    try:
        response = urllib.request.urlopen(remote.url, timeout=_TIMEOUT_SECONDS)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(failure.format(error)) from error
    with response, Progress(*columns, console=Console(stderr=True), transient=True, disable=hidden) as progress:
        length = response.headers.get("Content-Length")
        bar = progress.add_task(target.name, total=int(length) if length else None)
        while True:
            try:
                chunk = response.read(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise DataError(failure.format(error)) from error
            if not chunk:
                return
            progress.advance(bar, len(chunk))
            yield chunk

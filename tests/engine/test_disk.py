"""A disk that is full or cannot be written: a message, what was saved is whole, and the run goes on later."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from runs import check_same_runs

from genmeta.core.errors import RunError
from genmeta.core.settings import TrainConfig
from genmeta.engine import load, train
from genmeta.engine.checkpoint import load_state

Config = Callable[..., TrainConfig]


def mount(*arguments: str) -> str:
    """Empty, or why not."""
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip() or ("" if done.returncode == 0 else "mount failed")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if reason := mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)):
        pytest.skip(f"a small disk cannot be mounted here: {reason}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_disk_that_fills_up(config: Config, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = []
    monkeypatch.setattr(threading, "excepthook", silent.append)
    broken, straight = config("hypernet", "disk/run", steps=20), config("hypernet", "straight", steps=20)
    train(straight, progress=False)
    with pytest.raises(RunError, match=r"The disk is full: free some space, or choose another place\."):
        train(broken, progress=False)
    run = Path(broken.run)
    kept = load_state(run / "last.ckpt")["step"] if (run / "last.ckpt").exists() else None
    assert not list(run.glob(".*.part"))
    if (run / "model.safetensors").exists():
        load(run)
    assert mount("-o", "remount,size=64m", str(small_disk)) == ""
    train(broken, resume=True, progress=False)
    check_same_runs(straight.run, broken.run)
    assert kept is None or kept < 20
    assert silent == []


def test_a_disk_that_can_only_be_read(config: Config, small_disk: Path) -> None:
    assert mount("-o", "remount,size=64m", str(small_disk)) == ""
    settings = config("protonet", "disk/run")
    train(settings, progress=False)
    assert mount("-o", "remount,ro", str(small_disk)) == ""
    load(settings.run)
    for name, resume in (("disk/run", True), ("disk/new", False)):
        with pytest.raises(RunError, match=r"Failed creating the run directory .*: Read-only file system\. The place "):
            train(config("protonet", name), resume=resume, progress=False)


@pytest.mark.parametrize("write", range(1, 9))
def test_whichever_write_finds_the_disk_full(config: Config, monkeypatch: pytest.MonkeyPatch, write: int) -> None:
    """Every write is flushed to the disk, and here one of the flushes fails; what stood before still stands."""
    straight, broken = config("protonet", "straight"), config("protonet", "broken")
    with monkeypatch.context() as patch:
        seen, fsync = [], os.fsync

        def full(handle: int) -> None:
            seen.append(handle)
            if len(seen) == 2 * write - 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(handle)

        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="The disk is full"):
            train(broken, progress=False)
    train(straight, progress=False)
    assert not list(Path(broken.run).glob(".*.part"))
    train(broken, resume=True, progress=False)
    check_same_runs(straight.run, broken.run)

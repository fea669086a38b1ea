"""What happens where kernels cannot be compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_batching import EXACT
from toys import normals

from genmeta.core import batching
from genmeta.core.batching import After, native
from genmeta.core.errors import RunError, UsageError


class TestWithoutACompiler:
    """No compiler, no write access, no such setting: the library goes on, or says what is wrong."""

    @pytest.fixture(autouse=True)
    def fresh(self) -> Iterator[None]:
        native._load.cache_clear()
        native._directory.cache_clear()
        yield
        native._load.cache_clear()
        native._directory.cache_clear()

    @pytest.fixture
    def no_compiler(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("CXX", raising=False)

    @pytest.mark.usefixtures("no_compiler")
    def test_nothing_is_said(self) -> None:
        assert native.library() is None
        images = normals(2, 4, 6, 6)
        out = batching.group_norm(images, 2, torch.ones(4).double(), torch.zeros(4).double(), 1, After(True, 0.0))
        torch.testing.assert_close(out, F.relu(F.max_pool2d(F.group_norm(images, 2), 2)), **EXACT)

    @pytest.mark.usefixtures("no_compiler")
    def test_unless_it_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GENMETA_KERNELS", "on")
        with pytest.raises(RunError, match="no C\\+\\+ compiler was found"):
            native.library()

    def test_a_compiler_that_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CXX", "false")
        monkeypatch.setenv("GENMETA_KERNELS_CACHE", "")
        assert native.library() is None

    def test_a_setting_that_does_not_exist(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GENMETA_KERNELS", "of")
        with pytest.raises(UsageError, match="GENMETA_KERNELS"):
            native.library()

    def test_a_cache_that_cannot_be_written(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("GENMETA_KERNELS_CACHE", str(tmp_path / "file" / "below"))
        directory = native._directory()
        assert directory.is_dir()
        assert tmp_path not in directory.parents
        directory.rmdir()

"""Small synthetic data sets, a private cache for every test, and the real Omniglot where it is at hand."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from data_helpers import Tree

from genmeta.data import ImageClasses, open_dataset


@pytest.fixture(autouse=True)
def private_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own cache or data."""
    monkeypatch.setenv("GENMETA_CACHE", str(tmp_path / "default-cache"))
    monkeypatch.setenv("GENMETA_DATA", str(tmp_path / "default-data"))


@pytest.fixture(scope="session")
def glyph_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache in which glyphs are drawn once."""
    return tmp_path_factory.mktemp("glyphs")


@pytest.fixture(scope="session")
def glyphs(glyph_cache: Path) -> ImageClasses:
    return open_dataset("glyphs", cache_dir=glyph_cache)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets beside the repository."""
    named = os.environ.get("GENMETA_TEST_DATA")
    folder = Path(named) if named else Path(__file__).parents[2].parent / "shared" / "data"
    if not (folder / "images_background.zip").exists():
        pytest.skip(f"needs real data in {folder} (or in $GENMETA_TEST_DATA)")
    return folder


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[Tree], Path]:
    """Writes files below a new folder."""

    def make(tree: Tree, name: str = "photos") -> Path:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        for relative, data in tree.items():
            (root / relative).parent.mkdir(parents=True, exist_ok=True)
            (root / relative).write_bytes(data)
        return root

    return make


@pytest.fixture
def make_zip(tmp_path: Path) -> Callable[[Tree], Path]:
    """Writes files into a new zip."""

    def make(tree: Tree, name: str = "photos.zip") -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for relative, data in tree.items():
                archive.writestr(relative, data)
        return tmp_path / name

    return make

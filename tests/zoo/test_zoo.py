"""Checkpoints by name, by path and by Hub id; without the network."""

from __future__ import annotations

import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from toys import make_learner, make_method

from genmeta.core.errors import CheckpointError, UsageError
from genmeta.engine import load, shipped
from genmeta.engine.checkpoint import learner_header, save_model
from genmeta.zoo import find, from_pretrained, hub, list_checkpoints, push_to_hub


@pytest.fixture
def file(tmp_path: Path) -> Path:
    learner = make_learner()
    header = {"method": "protonet", "options": {}, "learner": learner_header(learner.config)}
    card = {"summary": "a toy", "data": "noise", "licence": "none"}
    path = tmp_path / "shipped" / "toy.safetensors"
    save_model(path, make_method("protonet", learner), {**header, "card": card})
    path.with_suffix(".md").write_text("# toy")
    return path


@pytest.fixture
def package(file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As if the package came with this one checkpoint."""
    monkeypatch.setattr(shipped, "DIRECTORY", file.parent)
    return file


def test_by_name_and_by_path(package: Path) -> None:
    assert find("toy") == find(package) == find(str(package)) == package
    assert from_pretrained("toy").method == "protonet"
    (only,) = list_checkpoints()
    assert (only.name, only.learner, only.images, only.licence) == ("toy", "conv4", "12×12×1", "none")
    assert only.card.read_text() == "# toy"
    assert 0 < only.megabytes < 10


def test_its_name_stands_for_it_wherever_a_checkpoint_is_read(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load("toy").method == "protonet"
    monkeypatch.chdir(tmp_path)
    Path("toy").mkdir()  # the user's own comes first
    with pytest.raises(CheckpointError, match="'toy' holds no"):
        load("toy")


def test_what_is_no_checkpoint(package: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint 'absent'.*\(toy\)"):
        find("absent")
    with pytest.raises(CheckpointError, match=r"no checkpoint 'models/absent\.safetensors'"):
        find("models/absent.safetensors")
    save_model(package.with_name("bare.safetensors"), make_method("protonet"), {"method": "protonet"})
    with pytest.raises(CheckpointError, match=r"'bare\.safetensors' has no card"):
        list_checkpoints()


class FakeHub(types.ModuleType):
    """A Hub of one repository in a local folder, in the place of huggingface_hub."""

    def __init__(self, root: Path) -> None:
        super().__init__("huggingface_hub")
        self.root, self.asked = root, []  # type: ignore[var-annotated]
        self.errors = types.SimpleNamespace(HfHubHTTPError=ConnectionError)
        fake = self

        class HfApi:
            def __init__(self, token: str | None) -> None: ...

            def create_repo(self, repo: str, private: bool, exist_ok: bool) -> None:
                assert exist_ok
                fake.asked.append(("create", repo, private))
                (fake.root / repo).mkdir(parents=True, exist_ok=True)

            def upload_file(self, path_or_fileobj: str, path_in_repo: str, repo_id: str) -> str:
                if repo_id.startswith("others/"):
                    raise ConnectionError("403 Forbidden")
                shutil.copy(path_or_fileobj, fake.root / repo_id / path_in_repo)
                return f"hub/{repo_id}/{path_in_repo}"

        self.HfApi = HfApi

    def hf_hub_download(self, repo_id: str, filename: str, revision: str | None) -> str:
        self.asked.append((repo_id, filename, revision))
        path = self.root / repo_id / filename
        if not path.is_file():
            raise ConnectionError(f"404: no {filename} in {repo_id}\nlong story")
        return str(path)


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(tmp_path / "hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    return fake


def test_to_the_hub_and_back(package: Path, fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert push_to_hub(package, "me/toy") == "hub/me/toy/model.safetensors"
    assert ("create", "me/toy", True) in fake_hub.asked
    assert (fake_hub.root / "me/toy/README.md").read_text() == "# toy"
    for name, revision in (("me/toy", None), ("hf:me/toy", None), ("me/toy@v1.0", "v1.0")):
        assert find(name).read_bytes() == package.read_bytes()
        assert fake_hub.asked[-1] == ("me/toy", "model.safetensors", revision)
    # a path goes before an id, unless the id says that it is one
    monkeypatch.chdir(package.parent)
    Path("me").mkdir()
    shutil.copy(package, "me/toy")
    asked = len(fake_hub.asked)
    assert find("me/toy") == Path("me/toy")
    assert len(fake_hub.asked) == asked
    find("hf:me/toy")
    assert len(fake_hub.asked) == asked + 1


def test_what_the_hub_refuses(
    package: Path, fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"of 'me/absent': 404: no model\.safetensors in me/absent\. Check"):
        find("me/absent")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="network is switched off"):
        find("me/absent")
    with pytest.raises(CheckpointError, match=r"did not take .* as 'others/toy': 403"):
        push_to_hub(package, "others/toy")
    (tmp_path / "secret.txt").write_text("not a model")
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        push_to_hub(tmp_path / "secret.txt", "me/toy")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"genmeta\[hub\]"):
        find("me/toy")


def test_the_real_client_is_called_as_it_wants_to_be() -> None:
    real = pytest.importorskip("huggingface_hub", reason="needs genmeta[hub]")
    import inspect

    inspect.signature(real.hf_hub_download).bind(repo_id="me/toy", filename="model.safetensors", revision=None)
    api: Any = real.HfApi
    inspect.signature(api.create_repo).bind(None, "me/toy", private=True, exist_ok=True)
    inspect.signature(api.upload_file).bind(None, path_or_fileobj="f", path_in_repo="p", repo_id="me/toy")
    assert issubclass(real.errors.HfHubHTTPError, OSError)
    assert hub._hub() is real

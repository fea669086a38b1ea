"""The page as a client meets it: what it answers, what it refuses, and what it never touches."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serve_helpers import png, running, toy_backend

from genmeta.serve.limits import Limits

LIMITS = Limits(upload_mb=0.5, body_seconds=1.0)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running(toy_backend(), LIMITS) as address:
        yield address


@contextlib.contextmanager
def visitor(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
        client.headers["x-session"] = client.post("/api/session").json()["token"]
        yield client


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with visitor(address) as client:
        yield client


def teach(client: httpx.Client, **classes: Any) -> None:
    """Two images of each colour, adapted to."""
    for each in client.get("/api/session").json()["classes"]:
        client.delete(f"/api/classes/{each['id']}")
    for name, colour in classes.items():
        number = client.post("/api/classes", json={"name": name}).json()["id"]
        for size in (24, 25):
            image = png(colour, (size, size))
            assert client.post(f"/api/classes/{number}/images", content=image).status_code == 200
    assert client.post("/api/adapt", json={"quick": True}).status_code == 202
    until = time.monotonic() + 20
    while client.get("/api/progress").json()["job"]["state"] != "done":
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_page_and_its_files(address: str) -> None:
    page = httpx.get(address, trust_env=False)
    assert "<h1>" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    for name in ("style.css", "app.js", "pad.js", "icon.svg"):
        assert httpx.get(f"{address}/{name}", trust_env=False).status_code == 200
    # nothing in them asks another machine for anything
    for file in (Path(sys.modules["genmeta.serve"].__path__[0]) / "page").iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, file
        assert "https://" not in text, file
        assert "innerHTML" not in text, file


def test_teach_and_ask(client: httpx.Client) -> None:
    early = client.post("/api/predict", content=png())
    assert (early.status_code, early.json()["error"][:18]) == (409, "Press Adapt first:")
    assert client.get("/api/model").status_code == 409
    assert client.post("/api/adapt", json={}).json()["error"].startswith("To tell things apart")
    teach(client, red=(250, 0, 0), blue=(0, 0, 250))
    state = client.get("/api/session").json()
    assert state["adapted"]["estimate"] == {"right": 4, "of": 4}
    answer = client.post("/api/predict", content=png((10, 0, 230))).json()
    assert answer["answers"][0]["name"] == "blue"
    assert answer["thumbnail"].startswith("data:image/webp;base64,")
    model = client.get("/api/model")
    assert model.content == b"blue,red"
    assert 'filename="model.safetensors"' in model.headers["content-disposition"]
    image = state["classes"][0]["images"][0]["id"]
    assert client.delete(f"/api/images/{image}").status_code == 200
    assert client.get("/api/progress").json()["adapted"]["stale"]
    assert client.patch(f"/api/classes/{state['classes'][0]['id']}", json={"name": "blue"}).status_code == 400
    assert client.put("/api/checkpoint", json={"checkpoint": "characters"}).json()["checkpoint"] == "characters"


@pytest.mark.parametrize("name, ways", [("photos", 4), ("letters", 5), ("digits", 5)])
def test_examples_ship(client: httpx.Client, name: str, ways: int) -> None:
    state = client.post("/api/example", json={"example": name}).json()
    assert [len(each["images"]) for each in state["classes"]] == [4] * ways
    assert len(state["tries"]) == 2 * ways
    shown = {image["thumbnail"] for each in state["classes"] for image in each["images"]}
    assert len(shown | set(state["tries"])) == 6 * ways  # what is tried was not learned from
    assert state["checkpoint"] == ("photos" if name == "photos" else "characters")


def test_sessions_do_not_see_each_other(address: str, client: httpx.Client) -> None:
    teach(client, red=(250, 0, 0), blue=(0, 0, 250))
    numbers = [each["id"] for each in client.get("/api/session").json()["classes"]]
    with visitor(address) as other:
        assert [each["images"] for each in other.get("/api/session").json()["classes"]] == [[], []]
        assert other.get("/api/session").json()["adapted"] is None
        for number in numbers:
            assert other.post(f"/api/classes/{number}/images", content=png()).status_code == 404
            assert other.delete(f"/api/classes/{number}").status_code == 404
        assert other.post("/api/predict", content=png()).status_code == 409
        assert other.delete("/api/session").status_code == 200
        gone = other.get("/api/session")
        assert (gone.status_code, "has ended" in gone.json()["error"]) == (410, True)
    assert len(client.get("/api/session").json()["classes"]) == 2
    for token in ("", "x" * 32, "../../etc/passwd"):
        answer = httpx.get(f"{address}/api/session", headers={"x-session": token}, trust_env=False)
        assert answer.status_code == 410


def test_other_sites_are_refused(address: str, client: httpx.Client) -> None:
    foreign = client.get("/api/session", headers={"host": "evil.example:7860"})
    assert (foreign.status_code, foreign.json()["error"]) == (403, "This page answers only on the machine it runs on.")
    crossing = client.post("/api/session", headers={"origin": "https://evil.example"})
    assert (crossing.status_code, crossing.json()["error"]) == (403, "This page takes no requests from other sites.")
    assert client.post("/api/session", headers={"origin": "null"}).status_code == 403
    assert client.post("/api/session", headers={"origin": address}).status_code == 200
    assert "access-control-allow-origin" not in client.get("/api/session").headers


def test_uploads_are_bounded(client: httpx.Client) -> None:
    number = client.get("/api/session").json()["classes"][0]["id"]
    where = f"/api/classes/{number}/images"
    large = client.post(where, content=bytes(600_000))
    assert (large.status_code, "larger than the 0.5 MB" in large.json()["error"]) == (413, True)
    chunked = client.post(where, content=(bytes(10_000) for _ in range(100)))
    assert chunked.status_code == 413

    def slow() -> Iterator[bytes]:
        yield b"\x89PNG"
        time.sleep(1.5)
        yield b"\r\n"

    late = client.post(where, content=slow())
    assert (late.status_code, late.json()["error"]) == (408, "That upload took too long.")
    assert client.post(where, content=b"text").status_code == 415
    assert client.get("/api/session").json()["classes"][0]["images"] == []


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff", b"[" * 50_000, b'{"name": "' + b"x" * 200_000 + b'"}', b'"name"', b"null"]
)
def test_requests_that_are_not_the_pages(client: httpx.Client, content: bytes) -> None:
    answer = client.post("/api/classes", content=content)
    assert (answer.status_code, answer.json()["error"]) == (400, "That request is not one of this page's.")


def test_numbers_for_names_do_no_harm(client: httpx.Client) -> None:
    assert client.post("/api/classes", json={"name": ["a"]}).json()["name"] == "Class 3"
    assert client.post("/api/example", json={"example": {"a": 1}}).status_code == 404
    assert client.put("/api/checkpoint", json={"checkpoint": "/etc/passwd"}).status_code == 404
    assert client.put("/api/classes/1", json={}).status_code == 405


opened: list[str] | None = None


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if opened is not None and event in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename"):
        opened.append(str(arguments[0]))


sys.addaudithook(_listen)


def test_no_path_from_a_client_is_opened(client: httpx.Client, tmp_path: Path) -> None:
    """Python itself reports every file that is opened, while a client names one wherever it can."""
    global opened
    teach(client, red=(250, 0, 0), blue=(0, 0, 250))  # what is imported on first use is imported
    target = tmp_path / "marker-secret.png"
    target.write_bytes(png())
    number = client.get("/api/session").json()["classes"][0]["id"]
    path = str(target)
    opened = []
    try:
        raw = {"content-type": f'multipart/form-data; name="file"; filename="{path}"', "x-file-name": path}
        client.post(f"/api/classes/{number}/images", content=png(), headers=raw)
        client.post(f"/api/classes/{number}/images", content=path.encode())
        client.post("/api/predict", json={"path": path, "url": f"file://{path}"})
        client.post("/api/classes", json={"name": path[-60:]})
        client.patch(f"/api/classes/{number}", json={"name": "../marker-secret.png", "path": path})
        client.put("/api/checkpoint", json={"checkpoint": path})
        client.post("/api/example", json={"example": path})
        client.post("/api/adapt", json={"quick": True, "path": path, "checkpoint": path})
        for hostile in (
            path,
            f"/..{path}",
            f"/file={path}",
            f"/%2e%2e{path}",
            f"/page/{path}",
            "/../app.py",
            "/static/../app.py",
        ):
            answer = client.get(hostile)
            assert answer.status_code in (404, 410), hostile
        client.get("/api/model")
        seen = list(opened)
    finally:
        opened = None
    assert not [each for each in seen if "marker" in each]
    # the model passes through a private directory, which is removed by descriptor; nothing else is opened at all
    private = str(Path(tempfile.gettempdir()) / "genmeta-")
    own = [each.startswith(private) or each == "model.safetensors" or each.isdecimal() for each in seen]
    assert any(own)
    assert all(own), seen


def test_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with running(toy_backend()) as address, visitor(address) as client:
        teach(client, red=(250, 0, 0), blue=(0, 0, 250))
        client.get("/api/model")
        client.delete("/api/session")
    assert list(tmp_path.iterdir()) == []


def test_a_second_adaptation_waits_for_the_first() -> None:
    with running(toy_backend(seconds=0.5)) as address, visitor(address) as client:
        teach(client, red=(250, 0, 0), blue=(0, 0, 250))
        assert client.post("/api/adapt", json={"quick": False}).status_code == 202
        again = client.post("/api/adapt", json={"quick": False})
        assert (again.status_code, again.json()["error"]) == (409, "It is adapting already.")
        # and meanwhile the earlier model goes on answering
        assert client.post("/api/predict", content=png((9, 0, 250))).json()["answers"][0]["name"] == "blue"

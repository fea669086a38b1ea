"""The page: whole, self-contained, escaped, well formed."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from genmeta.core.errors import RunError, UsageError
from genmeta.core.types import Examples, Weights
from genmeta.engine import Evaluation
from genmeta.reports import (
    Picture,
    Report,
    Section,
    Table,
    Text,
    accuracy_curves,
    calibration_curves,
    render,
    score_table,
    steps_table,
    task_picture,
    weights_picture,
    write_report,
)

HOSTILE = '<script>alert("1")</script> & $\\frac$'


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (3, 2), (10, 200, 30)).save(out, "png")
    return out.getvalue()


@pytest.fixture
def full(
    evaluations: dict[str, Evaluation], make_task: Callable[..., tuple], make_weights: Callable[..., Weights]
) -> Report:
    methods = {HOSTILE: evaluations["maml"], **evaluations}
    names = [HOSTILE, "漢字"]
    support, query, probabilities = make_task(2, 3)
    blocks = (
        score_table(methods, (0, 1, 5), "maml"),
        steps_table(methods),
        accuracy_curves(methods),
        calibration_curves(methods),
        task_picture(Examples(*support), query, probabilities, names),
        weights_picture(make_weights(2), make_weights(2, seed=1), names),
        Picture(png(), f"green {HOSTILE}", HOSTILE),
        Text(f"one {HOSTILE}\n\ntwo"),
    )
    first = Section(HOSTILE, HOSTILE, blocks)
    return Report(HOSTILE, HOSTILE, (first, Section("b"), Section("c")), {HOSTILE: HOSTILE, "commit": "abc"})


def test_page_is_well_formed_and_identifiers_are_unique(full: Report, read: Callable) -> None:
    page = read(render(full))
    assert page.faults == []
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) > 20
    assert len(set(ids)) == len(ids)
    # what is referred to is there
    refers = [a[key] for _, a in page.tags for key in ("href", "xlink:href") if a.get(key, "").startswith("#")]
    assert refers
    assert {refer[1:] for refer in refers} <= set(ids)


def test_page_needs_nothing_else(full: Report, read: Callable) -> None:
    text = render(full)
    page = read(text)
    assert "http" not in text.replace("http-equiv", "")
    assert "@import" not in text
    assert {"script", "link", "iframe", "object"}.isdisjoint(tag for tag, _ in page.tags)
    sources = [a[key] for tag, a in page.tags for key in ("src", "href") if key in a]
    assert sources
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)


def test_hostile_text_stays_text(full: Report, read: Callable) -> None:
    text = render(full)
    assert "<script" not in text
    page = read(text)
    for element in ("title", "h1", "h2", "p", "th", "td", "figcaption", "a"):
        assert HOSTILE in page.words[element], element
    assert any(HOSTILE in attributes["alt"] for attributes in page.all("img"))
    assert sum(HOSTILE in attributes.get("aria-label", "") for attributes in page.all("svg")) == 4


def test_every_picture_has_words_and_decodes(full: Report, read: Callable) -> None:
    page = read(render(full))
    svgs, images = page.all("svg"), page.all("img")
    assert (len(svgs), len(images)) == (4, 1)
    assert all(len(svg["aria-label"]) > 20 and svg["role"] == "img" for svg in svgs)
    inner = [a["href"] for a in page.all("image")]
    assert len(inner) > 10
    for source in [images[0]["src"], *inner]:
        data = base64.b64decode("".join(source.removeprefix("data:image/png;base64,").split()), validate=True)
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.format == "PNG"
    data = base64.b64decode(images[0]["src"].partition(",")[2])
    assert data == png()


def test_table_cells_are_aligned_and_stressed(read: Callable) -> None:
    table = Table(("Name", "Score"), (("a", "1.5 ± 0.2"), ("b", "–")), "caption", frozenset({(0, 1)}))
    page = read(render(Report("t", "s", (Section("h", "", (table,)),))))
    assert [a.get("class") for a in page.all("td")] == ["number", "number none"]
    assert page.words["strong"] == ["1.5 ± 0.2"]
    assert [a["scope"] for a in page.all("th")] == ["col", "col", "row", "row"]
    assert page.all("nav") == []  # one section needs no contents


def test_an_opaque_figure_keeps_its_colours() -> None:
    figure = Figure(figsize=(1, 1), facecolor="white")
    figure.text(0.1, 0.1, "x", color="#1c2127")
    clear = Figure(figsize=(1, 1), facecolor="none")
    clear.text(0.1, 0.1, "x", color="#1c2127")
    opaque, themed = (render(Report("t", "s", (Section("h", "", (Picture(f, "x"),)),))) for f in (figure, clear))
    assert "fill: #1c2127" in opaque
    assert "fill: var(--ink)" in themed
    assert "fill: #1c2127" not in themed


def test_equal_reports_are_equal_text(evaluations: dict[str, Evaluation]) -> None:
    first, second = (render(Report("t", "s", (Section("h", "", (accuracy_curves(evaluations),)),))) for _ in "ab")
    assert first == second


def test_write_replaces_whole_or_not_at_all(tmp_path: Path, full: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(path, Report("first", "s"))
    before = path.read_bytes()
    assert b"first" in before

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fails)
        with pytest.raises(RunError, match="disk is full"):
            write_report(path, full)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    write_report(path, full)
    assert path.read_text(encoding="utf-8") == render(full)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Picture(b"GIF89a", "x"), "6 bytes do not begin as a PNG"),
        (lambda: Picture(png(), "  "), "needs an alt text"),
        (lambda: Table(("a", "b"), (("1", "2"), ("1",))), "Row 1 of the table has 1 cells, but there are 2 headers"),
    ],
)
def test_bad_blocks_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()

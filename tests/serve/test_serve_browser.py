"""The page in a real browser without a network: two classes, pictures, adapt, answers, drawing, download."""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from serve_helpers import png, running

from genmeta.estimators import FewShotClassifier
from genmeta.serve.checkpoints import estimators

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "GENMETA_CHROMIUM" not in os.environ,
    reason="no chromium is installed (Debian: apt-get install chromium; or set GENMETA_CHROMIUM to one)",
)
playwright = pytest.importorskip("playwright.sync_api")

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
RED, BLUE = (210, 30, 40), (30, 50, 220)


class Visit:
    """One page, and what went wrong in it."""

    def __init__(self, page: playwright.Page, address: str) -> None:
        self.page, self.address = page, address
        self.outside: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self._note(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector("html[data-ready=yes]")

    def _note(self, url: str) -> None:
        if not url.startswith((self.address + "/", "data:", f"blob:{self.address}")):
            self.outside.append(url)

    def files(self, name: str, data: bytes) -> object:
        """What a browser hands to the place where a file is dropped."""
        return self.page.evaluate_handle(
            """([name, data]) => {
                const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], name, { type: "image/png" }));
                return transfer;
            }""",
            [name, base64.b64encode(data).decode()],
        )

    def stroke(self, canvas: str, *points: tuple[float, float]) -> None:
        """Draws a line through points given as fractions of the pad."""
        self.page.locator(canvas).scroll_into_view_if_needed()
        box = self.page.locator(canvas).bounding_box()
        assert box is not None
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=4)
        self.page.mouse.up()


@pytest.fixture
def visit(tiny: Path) -> Iterator[Visit]:
    with running(estimators([str(tiny)])) as address, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=os.environ.get("GENMETA_CHROMIUM", CHROMIUM), args=list(FLAGS), timeout=120_000
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900}, accept_downloads=True)
        page.set_default_timeout(60_000)
        try:
            yield Visit(page, address)
        finally:
            browser.close()


def test_from_pictures_to_a_model(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    expect = playwright.expect
    expect.set_options(timeout=60_000)
    assert page.locator("h1").inner_text() == "Teach it with a few pictures"
    expect(page.locator("#adapt")).to_be_disabled()

    # two classes, named and filled
    for at, (name, colour) in enumerate({"Robin": RED, "Jay": BLUE}.items()):
        card = page.locator(".class").nth(at)
        card.locator(".name").fill(name)
        card.locator(".name").press("Enter")
        files = [
            {"name": f"{i}.png", "mimeType": "image/png", "buffer": png(tuple(c - 9 * i for c in colour))}
            for i in range(3)
        ]
        card.locator("input[type=file]").set_input_files(files)
        expect(card.locator(".thumb img")).to_have_count(3)

    # a file that is no image is refused in words, in the page
    page.locator(".class").nth(0).locator("input[type=file]").set_input_files(
        [{"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"not an image"}]
    )
    expect(page.locator(".toast")).to_contain_text("notes.jpg: That file is no image that can be read here")
    page.locator(".toast button").click()

    # a picture can also be dropped on its class; the same one again is refused, and a name half typed stays
    card = page.locator(".class").nth(1)
    card.locator(".name").fill("Blue j")
    for _ in range(2):
        card.dispatch_event("drop", {"dataTransfer": visit.files("dropped.png", png((20, 70, 250)))})
        expect(card.locator(".thumb img")).to_have_count(4)
    expect(page.locator(".toast")).to_contain_text("dropped.png: That picture is already in this class")
    page.locator(".toast button").click()
    assert card.locator(".name").input_value() == "Blue j"
    card.locator(".name").fill("Jay")
    card.locator(".name").press("Enter")
    card.locator(".thumb").nth(3).hover()
    card.locator(".thumb .remove").nth(3).click()
    expect(card.locator(".thumb")).to_have_count(3)

    # a picture drawn on the pad joins a class, and is taken out again
    page.locator(".class").nth(1).get_by_role("button", name="Draw", exact=True).click()
    visit.stroke("#draw-pad", (0.3, 0.3), (0.7, 0.3), (0.4, 0.8))
    page.locator("#draw-add").click()
    expect(page.locator("#draw-count")).to_contain_text("1 drawing added")
    page.locator("#draw-close").click()
    expect(page.locator(".class").nth(1).locator(".thumb")).to_have_count(4)
    page.locator(".class").nth(1).locator(".thumb").nth(3).hover()
    page.locator(".class").nth(1).locator(".thumb .remove").nth(3).click()
    expect(page.locator(".class").nth(1).locator(".thumb")).to_have_count(3)

    # adapt: an estimate, accuracy against steps
    page.locator("#adapt").click()
    expect(page.locator("#learned .score")).to_contain_text("of 6 right")
    expect(page.locator("#learned svg.plot .dot")).not_to_have_count(0)

    # new pictures, with how sure it is
    page.locator("#try-files").set_input_files(
        [{"name": "new.png", "mimeType": "image/png", "buffer": png((200, 40, 50))}]
    )
    expect(page.locator("#answers .bar-row")).to_have_count(2)
    shown = [re.fullmatch(r"(\d+) %", text) for text in page.locator("#answers .value").all_inner_texts()]
    assert sum(int(match[1]) for match in shown if match) in (99, 100, 101)
    answer = page.locator("#answers .best b").inner_text()
    assert answer in ("Robin", "Jay")

    # a drawing is answered while the pen moves on
    page.locator("#tab-draw").click()
    visit.stroke("#try-pad", (0.2, 0.5), (0.8, 0.5))
    expect(page.locator("#live .bar-row")).to_have_count(2)

    # the file that is downloaded answers as the page did
    with page.expect_download() as download:
        page.locator("#download").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.name == "model.safetensors"
    model = FewShotClassifier.load(file)
    assert model.classes_.tolist() == ["Jay", "Robin"]
    new = tmp_path / "new.png"
    new.write_bytes(png((200, 40, 50)))
    assert model.predict([new]).tolist() == [answer]

    # a change outdates what was learned; another tab's page is empty; a reload finds everything again
    page.locator(".class").nth(0).locator(".thumb").nth(0).hover()
    page.locator(".class").nth(0).locator(".thumb .remove").nth(0).click()
    expect(page.locator("#ready")).to_contain_text("Adapt again")
    other = page.context.browser.new_page()
    other.goto(visit.address)
    expect(other.locator(".class")).to_have_count(2)
    expect(other.locator(".thumb")).to_have_count(0)
    page.reload()
    expect(page.locator(".thumb")).to_have_count(5)

    assert visit.outside == []
    assert visit.errors == []

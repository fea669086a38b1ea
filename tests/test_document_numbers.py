"""Every number on the pages has a source: a generated table, a paper that is named, or the file that sets it."""

from __future__ import annotations

import re
import tomllib

import pytest

from document_blocks import PAGES, ROOT

TABLE = re.compile(r"<!-- table: \w+ -->.*?<!-- end -->", re.DOTALL)
SOURCES = tomllib.loads((ROOT / "tests" / "document_numbers.toml").read_text(encoding="utf-8"))

#: ``97.7``, ``+1.2``, also with an interval behind; not in versions, addresses, and names such as 5w1s.
NUMBER = re.compile(r"(?<![\w.:/-])\d+\.\d+(?![\w%.]*\.\d)(?!\w)")
INTERVAL = re.compile(r"\d+(?:\.\d+)? ± \d+(?:\.\d+)?")


def prose(text: str) -> str:
    """The page without generated tables, code, and addresses of links."""
    text = TABLE.sub("", text)
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`\n]*`", "", text)
    return re.sub(r"\]\([^)]*\)|<https?:[^>]*>|\[\d{4}\.\d{5}\]", "]", text)


def generated() -> str:
    return "\n".join(table for page in PAGES for table in TABLE.findall(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_number_has_a_source(page: object) -> None:
    text, tables = prose(page.read_text(encoding="utf-8")), generated()  # type: ignore[attr-defined]
    told = set(NUMBER.findall(tables))
    for interval in INTERVAL.findall(text):
        assert interval in tables or interval in SOURCES["published"], f"{interval} is in no generated table"
    for number in set(NUMBER.findall(INTERVAL.sub("", text))):
        known = number in told or number in SOURCES["published"] or number in SOURCES["settings"]
        assert known, f"{number} has no source; make it part of a generated table, or name one in document_numbers.toml"


def test_sources_hold_what_they_are_named_for() -> None:
    spent = "\n".join(prose(page.read_text(encoding="utf-8")) for page in PAGES)
    for number, file in SOURCES["settings"].items():
        assert number in (ROOT / file).read_text(encoding="utf-8"), f"{file} does not hold {number}"
    for number in {**SOURCES["published"], **SOURCES["settings"]}:
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", spent), f"{number} stands on no page any more"


def test_published_numbers_are_said_to_be_published() -> None:
    """A number of a paper stands in a paragraph or table row that names a person or the word published."""
    names = {word for said in SOURCES["published"].values() for word in re.findall(r"[A-Z]\w+", said)}
    told = set(NUMBER.findall(generated()))
    for page in PAGES:
        for paragraph in re.split(r"\n\n", prose(page.read_text(encoding="utf-8"))):
            for number in NUMBER.findall(paragraph):
                if number in SOURCES["published"] and number not in told:
                    assert names & set(re.findall(r"\w+", paragraph)) or "published" in paragraph, f"{page}: {number}"


def test_tables_are_written_by_the_script() -> None:
    """A table with an interval in it is a generated one."""
    for page in PAGES:
        for line in TABLE.sub("", page.read_text(encoding="utf-8")).splitlines():
            assert not (line.startswith("|") and INTERVAL.search(line)), f"{page.name}: {line}"

"""A short, deterministic pass of the fuzzers; ``make fuzz`` runs them for as long as you like."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from strategies import STRATEGIES
from targets import TARGETS, run

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(file for file in CORPUS.glob("*/*"))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Remarks of decoders on damaged files are no failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_the_corpus_ends_as_it_should(file: Path) -> None:
    outcome = run(file.parent.name, file.read_bytes())
    # what is valid says so in its name
    assert (outcome == "done") == file.name.startswith(("valid", "kept"))


def test_every_target_has_a_corpus_and_a_strategy() -> None:
    assert TARGETS.keys() == STRATEGIES.keys() == {file.parent.name for file in FILES}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_nothing_but_results_and_our_errors(target: str) -> None:
    # each call of the inner function sees one input; hypothesis repeats it with the same inputs every time
    @settings(max_examples=60, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=STRATEGIES[target] | st.binary(max_size=30))
    def check(data: bytes) -> None:
        run(target, data)

    check()

"""What cannot be sampled is refused at once, with what to do; ranges are read as they are written."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import make_classes

from genmeta.core.errors import DataError, UsageError
from genmeta.tasks import ClassificationTasks, Range

NOTHING = np.array([], dtype=np.int64)


def message(kind: type[Exception], **settings: Any) -> str:
    with pytest.raises(kind) as caught:
        ClassificationTasks(**{"data": make_classes(), **settings})
    return str(caught.value)


def test_too_many_ways() -> None:
    assert message(DataError, ways="2-7") == (
        "7-way tasks need 7 classes, but split 'train' of 'toy' has 6. Lower --ways."
    )
    assert "has 24" in message(DataError, ways=25, quarter_turns=True)


def test_too_few_images() -> None:
    data = make_classes(12, [9, 9, 7, 8, 9, 9] + [9] * 6)
    got = message(DataError, data=data, shots="1-5", queries=4)
    assert got.startswith("5-way 1-5-shot with 4 queries needs 9 images of each class, but 'class02' has 7. ")
    assert "Lower shots or queries, or pass min_images=9" in got
    assert "to drop such classes" in got


@pytest.mark.parametrize("ways", [1, "1-5"])
def test_one_class_is_no_task(ways: int | str) -> None:
    assert message(UsageError, ways=ways) == (
        f"In tasks of one class there is nothing to tell apart, got --ways {ways}. Give 2 or more."
    )


def test_no_class_left() -> None:
    assert message(DataError, min_images=8).startswith("Split 'train' of 'toy' has no classes.")


def test_an_empty_split() -> None:
    data = make_classes()
    data = make_classes(splits={**data.splits, "val": NOTHING})
    assert message(DataError, data=data, split="val") == (
        "Split 'val' of 'toy' has no classes. Splits with classes: train, test."
    )


def test_unknown_names() -> None:
    assert message(UsageError, split="tset") == "Unknown split 'tset'. Did you mean 'test'? Known: test, train, val."
    assert message(UsageError, augment="afine") == (
        "Unknown augmentation 'afine'. Did you mean 'affine'? Known: affine, elastic, none, style."
    )


def test_no_queries() -> None:
    assert message(UsageError, queries=0) == "--queries must be 1 or more, got 0."


@pytest.mark.parametrize("text", ["", "five", "2-", "-3", "2-3-4", "2.5", "2–5", "5 - x", "²"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Range.parse(text, "ways")
    assert str(caught.value) == f"--ways takes a number or a range such as 5 or 5-20, got {text!r}."


@pytest.mark.parametrize("text", ["0", "0-3", "5-2"])
def test_ranges_that_hold_nothing(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Range.parse(text, "shots")
    assert str(caught.value) == f"--shots needs 1 or more and a range that does not run backwards, got {text!r}."


@settings(deadline=None)
@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 2**32))
def test_ranges_round_trip_and_hold_their_draws(low: int, more: int, seed: int) -> None:
    wanted = Range(low, low + more)
    assert Range.parse(str(wanted), "ways") == wanted
    assert Range.parse(wanted, "ways") is wanted
    assert Range.parse(low, "ways") == Range(low, low)
    drawn = wanted.draw(np.random.default_rng(seed))
    assert low <= drawn <= low + more


@settings(deadline=None)
@given(st.text(max_size=8))
def test_any_text_is_a_range_or_an_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        parsed = Range.parse(text, "ways")
        assert 1 <= parsed.low <= parsed.high
        assert Range.parse(str(parsed), "ways") == parsed


def test_both_ends_are_drawn() -> None:
    rng = np.random.default_rng(0)
    assert {Range(2, 4).draw(rng) for _ in range(50)} == {2, 3, 4}

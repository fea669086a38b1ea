"""Names to things, and what is said where there is no such name."""

from __future__ import annotations

import pytest

from genmeta.core.errors import UsageError, unknown
from genmeta.core.registry import Registry


def colours() -> Registry[int]:
    registry: Registry[int] = Registry("colour")
    for i, name in enumerate(("red", "green", "blue")):
        assert registry.register(name)(i) == i
    return registry


def test_names_come_in_the_order_of_registration() -> None:
    registry = colours()
    assert registry.names() == list(registry) == ["red", "green", "blue"]
    assert (registry["blue"], "red" in registry, "pink" in registry) == (2, True, False)


def test_an_unknown_name_gets_the_nearest_known_ones() -> None:
    with pytest.raises(
        UsageError, match=r"^Unknown colour 'gren'\. Did you mean 'green' or 'red'\? Known: blue, green, red\.$"
    ):
        colours()["gren"]
    with pytest.raises(UsageError, match=r"^Unknown colour 'xyz'\. Known: blue, green, red\.$"):
        colours()["xyz"]


def test_of_very_many_names_some_are_told() -> None:
    message = str(unknown("network", "n1000", [f"n{i:03}" for i in range(200)]))
    assert message.endswith("n039 and 160 more.")
    assert "Did you mean 'n100'" in message


def test_a_name_is_given_once() -> None:
    with pytest.raises(UsageError, match="There already is a colour named 'red'; choose another name"):
        colours().register("red")(9)

"""Options of methods: as typed on a command line, as saved, and what is refused."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genmeta.core.errors import UsageError
from genmeta.methods import METHODS, Method, make_options


def strings(value: Any) -> list[str]:
    """How a value may be typed."""
    if isinstance(value, bool):
        return ["true", "yes", "1", "True"] if value else ["false", "no", "0", "FALSE"]
    return [str(value), repr(value)] if not isinstance(value, str) else [value]


@pytest.mark.parametrize("name", METHODS.names())
def test_defaults_survive_being_typed(name: str) -> None:
    method = METHODS[name]
    defaults = method.options()
    assert make_options(method, {}) == defaults
    for field in dataclasses.fields(defaults):
        value = getattr(defaults, field.name)
        assert make_options(method, {field.name: value}) == defaults
        for text in strings(value):
            assert make_options(method, {field.name: text}) == defaults


def value_of(field: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    kind = type(field.default)
    return {
        bool: st.booleans(),
        int: st.integers(1, 10**6),
        float: st.floats(0, 1e6),
        str: st.just(field.default),
    }[kind]


def settings_of(name: str) -> st.SearchStrategy[tuple[Method, dict[str, Any]]]:
    method = METHODS[name]
    values = {field.name: value_of(field) for field in dataclasses.fields(method.options)}
    return st.fixed_dictionaries({}, optional=values).map(lambda given: (method, given))


@settings(deadline=None)
@given(st.sampled_from(METHODS.names()).flatmap(settings_of))
def test_typed_options_are_read_as_they_were(case: tuple[Method, dict[str, Any]]) -> None:
    method, values = case
    try:
        method.options(**values)
    except UsageError as error:
        # settings that exclude each other are refused however they come
        with pytest.raises(UsageError, match=re.escape(str(error))):
            make_options(method, {name: strings(value)[0] for name, value in values.items()})
        return
    options = make_options(method, values)
    assert {name: getattr(options, name) for name in values} == values
    assert make_options(method, {name: strings(value)[0] for name, value in values.items()}) == options
    assert make_options(method, dataclasses.asdict(options)) == options


def message(given: dict[str, Any], name: str = "maml") -> str:
    with pytest.raises(UsageError) as caught:
        make_options(METHODS[name], given)
    return str(caught.value)


@pytest.mark.parametrize("value", ["5.7", 5.7, "five", "", None, [1], "nan", "inf", float("inf"), True])
def test_what_is_no_whole_number(value: object) -> None:
    if value is True:
        assert make_options(METHODS["maml"], {"inner_steps": value}).inner_steps == 1
        return
    said = message({"inner_steps": value})
    assert said == f"Option 'inner_steps' of 'maml' takes a value of type int such as 3, got {value!r}."


@pytest.mark.parametrize("value", ["maybe", "", 1, 0.0, None, "2"])
def test_what_is_neither_yes_nor_no(value: object) -> None:
    said = message({"first_order": value})
    assert said == f"Option 'first_order' of 'maml' takes a value of type bool such as False, got {value!r}."


@pytest.mark.parametrize("value", ["fast", "", None, "0,1"])
def test_what_is_no_number(value: object) -> None:
    said = message({"inner_lr": value})
    assert said == f"Option 'inner_lr' of 'maml' takes a value of type float such as 0.1, got {value!r}."


def test_unknown_options_and_spaces() -> None:
    assert message({"inner_step": 1}).startswith("Unknown option of 'maml' 'inner_step'. Did you mean 'inner_steps'")
    assert message({"generate": "flim"}) == (
        "Unknown space to generate 'flim'. Did you mean 'film'? Known: all, film, head, rows."
    )
    assert "takes" not in message({"inner_lr": "1"}, "protonet")


@pytest.mark.parametrize(
    "name,value", [("hidden", -1), ("hidden", 10**30), ("inner_steps", "-2"), ("inner_lr", "inf"), ("inner_lr", "nan")]
)
def test_counts_below_nothing_and_numbers_without_end(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"Option '{name}' of 'hypernet' takes a value of type"):
        make_options(METHODS["hypernet"], {name: value})

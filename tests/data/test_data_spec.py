"""Data specs: round trip, and nothing but the library's own errors for garbage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genmeta.core.errors import GenmetaError, UsageError
from genmeta.data import DataSpec, available, open_dataset

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
specs = st.builds(
    DataSpec,
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True),
    st.none() | texts.filter(bool),
    st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True), texts, max_size=3),
)


@given(specs)
def test_round_trip(spec: DataSpec) -> None:
    assert DataSpec.parse(str(spec)) == spec


@given(st.text(max_size=30) | st.builds("{}?{}".format, st.sampled_from(["glyphs", "digits", "folder:x"]), texts))
def test_garbage_is_a_usage_error_or_a_spec(text: str) -> None:
    try:
        spec = DataSpec.parse(text)
    except UsageError as error:
        assert repr(text) in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert DataSpec.parse(str(spec)) == spec


@given(st.sampled_from(["glyphs", "digits", "omniglot:/none", "folder:/none", "cifar-fs:/none"]), texts, texts)
def test_garbage_options_raise_only_our_errors(head: str, key: str, value: str) -> None:
    # no reader has an option of this form, so nothing is ever opened
    with pytest.raises(GenmetaError):
        open_dataset(f"{head}?x{key}={value}")


def test_ordinary_paths_need_no_escape() -> None:
    spec = DataSpec.parse("folder:C:/my photos/50% off/a=b&c?size=32&color=rgb")
    assert spec == DataSpec("folder", "C:/my photos/50% off/a=b&c", {"size": "32", "color": "rgb"})


def test_escapes() -> None:
    assert DataSpec.parse("folder:what%3F/100%25").path == "what?/100%"
    assert DataSpec.parse("folder:x?within=a%26b").options == {"within": "a&b"}


@pytest.mark.parametrize(
    "spec,said",
    [
        ("", "does not begin with a name"),
        ("Glyphs", "does not begin with a name"),
        ("./photos", "write 'folder:./photos'"),
        ("folder:", "no path after the colon"),
        ("glyphs?", "not key=value"),
        ("glyphs?turns", "not key=value"),
        ("glyphs?turns=yes&turns=no", "given twice"),
        ("glyfs", "Did you mean 'glyphs'"),
        ("glyphs?turn=yes", "Did you mean 'turns'"),
        ("glyphs?turns=yse", "Did you mean 'yes'"),
        ("glyphs?size=7", "from 8 to 512"),
        ("glyphs?size=²", "from 8 to 512"),
        ("glyphs?size=" + "9" * 5000, "from 8 to 512"),
        ("glyphs?min_images=99", "from 2 to 24"),
        ("glyphs?color=blue", "Known: gray, rgb"),
        ("glyphs:somewhere", "takes no path"),
        ("folder", "needs a path"),
        ("cifar-fs", "needs a path"),
        ("folder:x?val=2", "not a fraction"),
        ("folder:x?val=nan", "not a fraction"),
        ("folder:x?val=0.7&test=0.7", "more than all classes"),
        ("folder:~no-such-user-here/x", "unknown home directory"),
    ],
)
def test_messages(spec: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_dataset(spec)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "arguments,said",
    [({"size": 3}, "from 8 to 512"), ({"channels": 2}, "Give 1"), ({"on_bad_image": "ignore"}, "Known: fail, skip")],
)
def test_bad_arguments(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_dataset("digits", **arguments)  # type: ignore[arg-type]


def test_available_tells_what_users_need() -> None:
    infos = {info.name: info for info in available()}
    by_class, scenes = (
        ["glyphs", "digits", "omniglot", "folder", "cifar-fs", "mini-imagenet"],
        ["scenes", "masks", "coco", "voc"],
    )
    assert list(infos) == [*by_class, *scenes]
    assert {name: (info.size, info.channels) for name, info in infos.items()} == {
        "glyphs": (28, 1),
        "digits": (28, 1),
        "omniglot": (28, 1),
        "folder": (84, 3),
        "cifar-fs": (32, 3),
        "mini-imagenet": (84, 3),
        "scenes": (64, 3),
        "masks": (128, 3),
        "coco": (96, 3),
        "voc": (96, 3),
    }
    for info in infos.values():
        assert info.summary
        assert "\n" not in info.summary
        assert info.how_to_get
        assert {"size", "color"} <= info.all_options.keys()

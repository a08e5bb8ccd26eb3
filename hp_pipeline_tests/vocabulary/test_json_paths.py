"""Paths into JSON: what is written is read back, and every value is found by its own path alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_pipeline.vocabulary.json_paths import EVERYTHING, JsonPath, Wild, parse_json_path

KEY = st.text(max_size=6) | st.sampled_from(
    ["a.b", "a b", "*", "**", "$", "[0]", '"', "3way valve(On:DHW_Off:Space)", ""]
)
STEPS = st.lists(KEY | st.integers(0, 99) | st.sampled_from([Wild.KEYS, Wild.ELEMENTS]), min_size=1, max_size=5)
DOCUMENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=4),
    max_leaves=12,
)


@given(STEPS, st.booleans())
def test_a_path_reads_back_as_it_is_written(steps: list[Any], below: bool) -> None:
    path = JsonPath((*steps, Wild.BELOW) if below else tuple(steps))
    assert parse_json_path(str(path)) == path


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [value]


@given(st.dictionaries(KEY, DOCUMENT, max_size=4))
def test_every_value_has_its_own_path(document: dict[str, Any]) -> None:
    found = list(EVERYTHING.find(document))
    assert [value for _, value in found] == _leaves(document)
    assert len({path for path, _ in found}) == len(found)
    for path, value in found:
        assert list(parse_json_path(path).find(document)) == [(path, value)]


@given(STEPS, DOCUMENT)
def test_no_path_fails_on_any_document(steps: list[Any], document: Any) -> None:
    for path, value in JsonPath(tuple(steps)).find(document):
        assert list(parse_json_path(path).find(document)) == [(path, value)]


@given(st.text(max_size=20))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    try:
        path = parse_json_path(text)
    except ValueError:
        return
    assert parse_json_path(str(path)) == path


def test_the_ways_to_write_a_path() -> None:
    document = {"a": {"b": [1, {"c d": 2}], "x.y": 3, "e": 4}}
    for text, expected in {
        "a.b[0]": [1],
        "$.a.b[0]": [1],
        "a.b[1].c d": [2],
        'a["x.y"]': [3],
        "a.*": [[1, {"c d": 2}], 3, 4],
        "a.b[*]": [1, {"c d": 2}],
        "a.**": [1, 2, 3, 4],
        "a.b[7]": [],
        "a.b.c": [],
    }.items():
        assert [value for _, value in parse_json_path(text).find(document)] == expected, text


@pytest.mark.parametrize(
    "text", ["", "$", "a..b", "a.", ".a", "a[x]", "a[-1]", "**.a", "a[", 'a["x]', "a]b", "a[0]b", "a.[0]"]
)
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError):
        parse_json_path(text)

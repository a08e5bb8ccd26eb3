"""Topic filters and patterns against the rules of the MQTT standard, over their space of cases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_pipeline.vocabulary.topics import (
    PATH_MARK,
    TopicPattern,
    check_filter,
    covers,
    filter_expression,
    parent_filter,
    sibling,
)

LEVEL = st.text(st.sampled_from("ab.*$/ ü").filter(lambda sign: sign != "/"), max_size=3)
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)


@st.composite
def filters(draw: st.DrawFn) -> str:
    levels = draw(st.lists(LEVEL | st.just("+"), min_size=1, max_size=4))
    if draw(st.booleans()):
        levels[-1] = "#"
    return "/".join(levels) or "+"


def _matches(text: str, topic: str) -> bool:
    """The rules of the standard, level by level."""
    wanted, given_ = text.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(given_):
            return False
        if level not in ("+", given_[index]):
            return False
        if index == len(wanted) - 2 and wanted[-1] == "#" and len(given_) == index + 1:
            return True
    return len(wanted) == len(given_)


@given(filters(), TOPIC)
def test_a_filter_fits_as_the_standard_says(text: str, topic: str) -> None:
    assert (filter_expression(text).fullmatch(topic) is not None) == _matches(text, topic)


@given(filters(), filters(), TOPIC)
def test_a_filter_that_covers_another_fits_whatever_that_fits(outer: str, inner: str, topic: str) -> None:
    assert covers(outer, outer)
    if covers(outer, inner) and _matches(inner, topic):
        assert _matches(outer, topic)


@given(st.lists(LEVEL.filter(lambda level: not level.startswith("$")), min_size=1, max_size=4))
def test_wildcards_are_told_in_order(levels: list[str]) -> None:
    topic = "/".join(["x", *levels])
    pattern = TopicPattern(
        "/".join(["x", *["+"] * len(levels)]), point="-".join(f"{{{n + 1}}}" for n in range(len(levels)))
    )
    groups = pattern.groups(topic)
    assert groups is not None
    assert pattern.point_of(groups) == "-".join(levels)


@given(TOPIC, st.text(min_size=1, max_size=5))
def test_points_of_topics_and_paths_are_never_mistaken(topic: str, path: str) -> None:
    pattern = TopicPattern("#" if not topic.startswith("$") else topic)
    groups = pattern.groups(topic)
    assert groups is not None
    assert pattern.point_of(groups).split(PATH_MARK, 1) == [topic]
    assert pattern.point_of(groups, path).split(PATH_MARK, 1) == [topic, path]


def test_a_pattern_with_groups() -> None:
    pattern = TopicPattern("tele/#", r"tele/(?P<device>[a-z]+)_([0-9]+)/SENSOR", "{device} {2} {path}")
    groups = pattern.groups("tele/stove_7/SENSOR")
    assert groups is not None
    assert pattern.point_of(groups, "a.b") == "stove 7 a.b"
    assert pattern.groups("tele/stove/SENSOR") is None
    assert pattern.groups("elsewhere/stove_7/SENSOR") is None


@pytest.mark.parametrize("text", ["", "a/#/b", "a#", "a/b+", "+a", "a\0"])
def test_what_a_broker_would_refuse(text: str) -> None:
    with pytest.raises(ValueError):
        check_filter(text)


def test_neighbours() -> None:
    assert sibling("a/b/state", "last_updated") == "a/b/last_updated"
    assert sibling("state", "last_updated") == "last_updated"
    assert parent_filter("stove/LWT") == "stove/#"
    assert parent_filter("LWT") == "#"

"""Readings are made regular, whatever order they come in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from hp_pipeline.sources.readings import READINGS_SCHEMA, Reject, Rejects, concatenated, deduplicate, normalise

NOW = datetime(2024, 5, 1, tzinfo=UTC)
START = date(2024, 1, 1)


def raw(rows: list[tuple[str | None, datetime | None, float | None, str | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=READINGS_SCHEMA, orient="row")


def regular(*rows: tuple[str | None, datetime | None, float | None, str | None]) -> tuple[list[tuple], Rejects]:
    rejects = Rejects()
    return normalise(raw(list(rows)), rejects, start=START, now=NOW).rows(), rejects


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        (1.5, None, (1.5, None)),
        (1.5, "ON", (1.5, None)),
        (None, "ON", (None, "ON")),
        (None, " ON ", (None, " ON ")),
        (None, "21.5", (21.5, None)),
        (None, " -3e2 ", (-300.0, None)),
        (None, ".5", (0.5, None)),
        (None, "1,5", (None, "1,5")),
        (None, "true", (None, "true")),
        (None, "٣", (None, "٣")),
        (None, "1_000", (None, "1_000")),
    ],
)
def test_a_reading_is_a_number_or_a_text(value: float | None, text: str | None, expected: tuple) -> None:
    rows, rejects = regular(("a", NOW, value, text))
    assert rows == [("a", NOW, *expected)]
    assert not rejects


@pytest.mark.parametrize("text", [None, "", "  "])
def test_nothing_is_no_reading_and_no_fault(text: str | None) -> None:
    rows, rejects = regular(("a", NOW, None, text))
    assert rows == []
    assert not rejects


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("a", NOW, float("nan"), None), "not a finite number"),
        (("a", NOW, float("inf"), None), "not a finite number"),
        (("a", NOW, None, "-Infinity"), "not a finite number"),
        (("a", NOW, None, "nan"), "not a finite number"),
        (("a", NOW, None, "1e999"), "not a finite number"),
        (("a", datetime(1970, 1, 1, tzinfo=UTC), 1.0, None), "time before the site's start 2024-01-01"),
        (("a", datetime(2023, 12, 31, 23, 59, 59, tzinfo=UTC), 1.0, None), "time before the site's start 2024-01-01"),
        (("a", NOW + timedelta(minutes=11), 1.0, None), "time in the future"),
        (("a", None, 1.0, None), "no time"),
        ((None, NOW, 1.0, None), "no name of a point"),
        (("", NOW, 1.0, None), "no name of a point"),
    ],
)
def test_what_is_not_believed_is_turned_away_with_the_reason(row: tuple, reason: str) -> None:
    good = ("b", NOW, 1.0, None)
    rows, rejects = regular(row, good)
    assert rows == [good]
    assert rejects.counts == {reason: 1}
    assert reason in rejects.lines()[0]


def test_times_that_are_just_allowed() -> None:
    edges = [datetime(2024, 1, 1, tzinfo=UTC), NOW + timedelta(minutes=10)]
    rows, rejects = regular(*(("a", edge, 1.0, None) for edge in edges))
    assert [time for _, time, _, _ in rows] == edges
    assert not rejects


def test_times_that_no_calendar_holds_are_turned_away() -> None:
    far = pl.DataFrame(
        {"point": ["a"], "time": pl.Series([2**61]).cast(pl.Datetime("us", "UTC")), "value": [1.0], "text": [None]},
        schema=READINGS_SCHEMA,
    )
    rejects = Rejects()
    assert normalise(far, rejects, start=START, now=NOW).is_empty()
    assert rejects.summary() == "1 rejected: 1 × time in the future"


def test_minus_zero_is_zero() -> None:
    frame = normalise(raw([("a", NOW, -0.0, None)]), Rejects(), start=START, now=NOW)
    assert str(frame["value"][0]) == "0.0"


def test_conflicts_are_counted_and_a_number_beats_a_text() -> None:
    rows, rejects = regular(
        ("a", NOW, None, "ON"),
        ("a", NOW, 1.0, None),
        ("a", NOW, 2.0, None),
        ("b", NOW, 1.0, None),
        ("b", NOW, 1.0, None),
    )
    assert rows == [("a", NOW, 2.0, None), ("b", NOW, 1.0, None)]
    assert rejects.conflicts == 1


reading = st.tuples(
    st.sampled_from(["a", "b", "ü", "z"]),
    st.sampled_from([NOW - timedelta(seconds=second) for second in range(4)]),
    st.one_of(st.none(), st.sampled_from([-1.0, 0.0, -0.0, 2.5])),
    st.one_of(st.none(), st.sampled_from(["ON", "OFF", "3", "", "é"])),
)


@settings(deadline=None)
@given(st.lists(reading, max_size=25), st.randoms(use_true_random=False), st.integers(1, 5))
def test_order_and_batches_change_nothing(rows: list[tuple], chance, pieces: int) -> None:
    whole = normalise(raw(rows), Rejects(), start=START, now=NOW)
    shuffled = list(rows)
    chance.shuffle(shuffled)
    parts = [normalise(raw(shuffled[i::pieces]), Rejects(), start=START, now=NOW) for i in range(pieces)]
    assert_frame_equal(concatenated(parts), whole)
    again, conflicts = deduplicate(whole)
    assert_frame_equal(again, whole)
    assert conflicts == 0
    assert whole.schema == READINGS_SCHEMA
    assert whole.equals(whole.sort("point", "time"))
    assert whole.select("point", "time").is_duplicated().sum() == 0
    assert (whole["value"].is_null() != whole["text"].is_null()).all()


def test_the_report_is_bounded_and_keeps_some_of_each_reason() -> None:
    rejects = Rejects(keep=10)
    for line in range(1000):
        rejects.add(Reject("usual", line=line))
    for line in range(20):
        rejects.add(Reject("rare", line=line, found="x" * 10))
    assert len(rejects) == 1020
    assert len(rejects.kept) == 15
    assert rejects.summary() == "1,020 rejected: 1,000 × usual; 20 × rare"
    other = Rejects(keep=10)
    other.extend(rejects)
    assert other.counts == rejects.counts


def test_long_finds_are_shortened() -> None:
    _, rejects = regular(("a", NOW + timedelta(days=1), None, "x" * 500))
    assert len(rejects.lines()[0]) < 250

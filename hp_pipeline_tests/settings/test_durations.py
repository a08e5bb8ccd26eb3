"""Durations: what is read, what is refused, what is suggested."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from hp_pipeline.settings import Duration
from hp_pipeline.settings.durations import read_duration, suggest_duration

ADAPTER = TypeAdapter(Duration)
SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}


@given(st.integers(-100_000, 100_000), st.sampled_from(sorted(SECONDS)), st.sampled_from(["", " "]))
def test_a_number_with_a_unit_is_read(number: int, unit: str, space: str) -> None:
    expected = timedelta(seconds=number * SECONDS[unit])
    assert ADAPTER.validate_python(f"{number}{space}{unit}") == expected


@given(st.integers(-(10**12), 10**12))
def test_every_duration_of_milliseconds_survives_being_written_and_read(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert ADAPTER.validate_json(ADAPTER.dump_json(duration)) == duration


@given(st.text(max_size=12) | st.integers() | st.floats() | st.none() | st.booleans() | st.lists(st.integers()))
def test_whatever_is_written_is_a_duration_or_is_refused(value: object) -> None:
    duration = read_duration(value)
    if duration is None:
        with pytest.raises(ValidationError):
            ADAPTER.validate_python(value)
    else:
        assert ADAPTER.validate_python(value) == duration


@given(st.text(max_size=12) | st.integers())
def test_a_suggestion_is_always_a_duration(value: object) -> None:
    suggestion = suggest_duration(value)
    assert suggestion is None or read_duration(suggestion) is not None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (90, "90s"),
        ("90", "90s"),
        ("PT5M", "5min"),
        ("PT90S", "90s"),
        ("P1D", "1d"),
        ("5 Minutes", "5min"),
        ("1 hour", "1h"),
        ("1.5hours", "1.5h"),
        ("+5min", "5min"),
        ("soon", None),
        ("5 weeks", None),
        (True, None),
        (None, None),
        ("9999999999999d", None),
    ],
)
def test_a_near_miss_is_refused_with_the_right_spelling(written: object, meant: str | None) -> None:
    assert read_duration(written) is None
    assert suggest_duration(written) == meant


@pytest.mark.parametrize("finer", ["0.0001s", "0.5ms"])
def test_finer_than_a_millisecond_is_refused(finer: str) -> None:
    assert read_duration(finer) is None

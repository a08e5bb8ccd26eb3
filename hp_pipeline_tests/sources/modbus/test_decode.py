"""Words on the wire and what they mean: every type there and back, sentinels, pairs, bits, torn meters."""

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_pipeline.sources.modbus.decode import (
    NOT_A_NUMBER,
    NOT_A_TEXT,
    NOT_AVAILABLE,
    NOT_POSSIBLE,
    MeterState,
    Picture,
    decode,
    scaled,
)
from hp_pipeline.vocabulary.registers import WORDS, Register

FORMATS = dict(
    zip(("int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"), "hHiIqQfd", strict=True)
)
WORD = st.integers(0, 0xFFFF)


def register(kind: str = "int16", **more: Any) -> Register:
    """A register of a type."""
    return Register(**{"name": "r", "table": "input", "address": 0, "type": kind, "words": WORDS.get(kind, 1), **more})


def words_of(kind: str, value: float, order: str = "big") -> list[int]:
    """A value as a device would send it, packed by Python's struct and not by what is tested."""
    packed = struct.pack(f">{FORMATS[kind]}", value)
    words = [int.from_bytes(packed[at : at + 2], "big") for at in range(0, len(packed), 2)]
    return words if order == "big" else words[::-1]


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("kind", [kind for kind in FORMATS if "int" in kind])
@given(data=st.data())
def test_whole_numbers_there_and_back(kind: str, order: str, data: st.DataObject) -> None:
    bits = 16 * WORDS[kind]
    signed = not kind.startswith("u")
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    raw = data.draw(st.integers(least, most))
    assert decode(register(kind, word_order=order), words_of(kind, raw, order)).value == float(raw)


@pytest.mark.parametrize("order", ["big", "little"])
@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_of_32_bits_are_the_shortest_decimal_that_is_the_same(order: str, value: float) -> None:
    told = decode(register("float32", word_order=order), words_of("float32", value, order)).value
    assert isinstance(told, float)
    assert struct.pack(">f", told) == struct.pack(">f", value) or told == value == 0
    assert len(repr(told)) <= len(repr(value))


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_floats_of_64_bits_there_and_back(value: float) -> None:
    assert decode(register("float64"), words_of("float64", value)).value == value


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_reading(kind: str, value: float) -> None:
    told = decode(register(kind), words_of(kind, value))
    assert (told.value, told.reason) == (None, NOT_A_NUMBER)


def test_a_float_without_dirt_in_its_last_digits() -> None:
    assert decode(register("float32"), words_of("float32", 21.3)).value == 21.3


@given(raw=st.integers(-0x8000, 0x7FFF), scale=st.sampled_from([0.1, 0.01, 0.001, 1.0, 10.0, 0.5]))
def test_scaling_is_decimal(raw: int, scale: float) -> None:
    told = scaled(raw, scale, 0.0)
    assert round(told / scale) == raw
    assert len(repr(abs(told))) <= 9


def test_minus_three_point_four_is_that() -> None:
    assert decode(register(scale=0.1), words_of("int16", -34)).value == -3.4
    assert decode(register(scale=0.1, offset=-50), words_of("int16", 734)).value == 23.4


@given(word=WORD)
def test_a_sentinel_is_no_reading_and_only_it(word: int) -> None:
    told = decode(register(invalid=(0x8000,), scale=0.1), [word])
    assert (told.value is None) is (word == 0x8000)
    assert told.reason == (NOT_AVAILABLE if word == 0x8000 else "")


def test_sentinels_of_long_numbers_are_whole_values() -> None:
    long = register("int32", invalid=(0x80000000, 0x7FFF7FFF))
    assert decode(long, [0x8000, 0x0000]).value is None
    assert decode(long, [0x7FFF, 0x7FFF]).value is None
    assert decode(long, [0x0000, 0x8000]).value == 32768.0
    assert decode(register("float32", invalid=(-1.0,)), words_of("float32", -1.0)).value is None


@given(words=st.tuples(WORD, WORD))
def test_one_word_that_is_not_available_voids_a_pair(words: tuple[int, int]) -> None:
    told = decode(register("uint16", words=2, pair=(1, 1000), invalid=(0x8000,)), words)
    assert told.value == (None if 0x8000 in words else words[0] + 1000.0 * words[1])


def test_a_pair_is_scaled_as_a_whole() -> None:
    assert decode(register("uint16", words=2, pair=(1, 1000), scale=0.001), [634, 12]).value == 12.634


@given(word=WORD)
def test_bits_are_numbered_from_the_lowest(word: int) -> None:
    picture = Picture()
    picture.add(register("uint16", bits={0: "a", 4: "b", 15: "c"}), [word])
    assert picture.values["r"] == float(word)
    assert [picture.values[f"r.{bit}"] for bit in "abc"] == [float(word >> n & 1) for n in (0, 4, 15)]


def test_bits_of_a_word_that_is_not_available_are_not_known() -> None:
    picture = Picture()
    picture.add(register("uint16", bits={0: "a"}, invalid=(0x8000,)), [0x8000])
    assert picture.values == {} and picture.reasons == {"r": NOT_AVAILABLE}


def test_words_of_a_value_and_a_value_without_a_word() -> None:
    mode = register("uint16", enum={0: "off", 5: "dhw"})
    assert decode(mode, [5]).value == "dhw"
    assert decode(mode, [7]).value == "7"


def test_what_is_not_possible_is_no_reading() -> None:
    outdoor = register(scale=0.1, minimum=-60.0, maximum=80.0)
    assert decode(outdoor, [800]).value == 80.0
    told = decode(outdoor, [801])
    assert (told.value, told.reason, told.raw) == (None, NOT_POSSIBLE, 801)


def test_texts() -> None:
    code = register("text", words=1)
    assert decode(code, [int.from_bytes(b"U4", "big")]).value == "U4"
    assert decode(code, [0]).reason == NOT_AVAILABLE
    assert decode(code, [0x2020]).reason == NOT_AVAILABLE
    assert decode(code, [0x0102]).reason == NOT_A_TEXT


def test_a_number_of_words_that_does_not_fit_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="takes 2 words, not 1"):
        decode(register("int32"), [1])


@given(
    kind=st.sampled_from([*FORMATS, "text"]),
    words=st.lists(WORD, min_size=4, max_size=4),
    order=st.sampled_from(["big", "little"]),
    scale=st.sampled_from([1.0, 0.1, -0.01, 1e9]),
)
def test_whatever_comes_is_a_finite_number_a_printable_text_or_nothing(
    kind: str, words: list[int], order: str, scale: float
) -> None:
    width = 2 if kind == "text" else WORDS[kind]
    told = decode(register(kind, words=width, word_order=order, scale=scale), words[:width])
    if told.value is None:
        assert told.reason
    elif isinstance(told.value, str):
        assert told.value.isprintable()
    else:
        assert math.isfinite(told.value)


# ---- meters -------------------------------------------------------------------------------------------------


def read(state: MeterState, seconds: float, total: float, day: float) -> float:
    return state.read(total, day, seconds, 100.0)


def test_a_meter_counts_the_day_and_the_total() -> None:
    meter = MeterState()
    assert [read(meter, t, 1000, day) for t, day in ((0, 5), (10, 5), (20, 6))] == [1005, 1005, 1006]


def test_a_day_that_is_cleared_before_it_is_added() -> None:
    meter = MeterState()
    assert [read(meter, 0, 1000, 20), read(meter, 10, 1000, 0), read(meter, 20, 1020, 0)] == [1020, 1020, 1020]
    assert meter.held_since is None
    assert read(meter, 400, 1020, 1) == 1021


def test_a_day_that_is_added_before_it_is_cleared_is_not_counted_twice() -> None:
    meter = MeterState()
    assert [read(meter, 0, 1000, 20), read(meter, 10, 1020, 20), read(meter, 20, 1020, 0)] == [1020, 1020, 1020]
    assert read(meter, 400, 1020, 1) == 1021
    small = MeterState()
    assert [read(small, 0, 1000, 1), read(small, 10, 1001, 1), read(small, 20, 1001, 0)] == [1001, 1001, 1001]


def test_a_magnitude_that_rolls_over_half() -> None:
    meter = MeterState()
    assert read(meter, 0, 1990, 20) == 2010
    assert read(meter, 10, 1010, 0) == 2010, "kWh rolled over, MWh not yet"
    assert read(meter, 20, 2010, 0) == 2010
    other = MeterState()
    assert read(other, 0, 1990, 20) == 2010
    assert read(other, 10, 2990, 20) == 2010, "MWh before kWh"
    assert read(other, 20, 2010, 0) == 2010


def test_a_device_that_was_reset_is_told_as_it_is_after_a_while() -> None:
    meter = MeterState()
    assert read(meter, 0, 1000, 20) == 1020
    assert [read(meter, t, 0, 0) for t in (10, 500, 909)] == [1020, 1020, 1020]
    assert read(meter, 911, 0, 0) == 0
    assert read(meter, 1271, 0, 1) == 1


def test_a_midnight_that_nobody_saw() -> None:
    meter = MeterState()
    assert read(meter, 0, 1000, 20) == 1020
    assert read(meter, 6 * 3600, 1025, 8) == 1033


def test_a_clock_that_is_set_back_does_not_hold_for_ever() -> None:
    meter = MeterState()
    read(meter, 10_000, 1000, 20)
    assert read(meter, 10_010, 5, 0) == 1020
    assert read(meter, 100, 5, 0) == 5


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["", "day", "total", "both"])), min_size=1, max_size=60))
def test_a_meter_never_falls_and_follows_the_truth(steps: list[tuple[int, str]]) -> None:
    """Whatever a poll sees of a midnight, the meter stays between the truth before it and the truth now."""
    meter, truth, total, day, pending, seconds, quiet = MeterState(), 500, 500, 0, 0, 0.0, 0
    told = read(meter, seconds, total, day)
    for counted, midnight in steps:
        seconds += 10.0
        if pending:  # the second half of a midnight
            total, day, pending = (total + pending, day, 0) if pending > 0 else (total, 0, 0)
        truth, day = truth + counted, day + counted
        quiet += 1
        if midnight and quiet < 4:
            midnight = ""  # noqa: PLW2901 - nights do not follow each other by seconds
        quiet = 0 if midnight else quiet
        if midnight == "both":
            total, day = total + day, 0
        elif midnight == "day":
            pending, day = day, 0
        elif midnight == "total":
            total, pending = total + day, -day
        before, told = told, read(meter, seconds, total, day)
        assert before <= told <= truth
        if not pending and meter.held_since is None:
            assert told == truth


def test_the_state_of_a_meter_survives() -> None:
    meter = MeterState()
    read(meter, 10, 1000, 20)
    assert MeterState.from_state(meter.state()) == meter
    for broken in (None, {}, {"total": "x", "day": 1, "at": 2}, {"total": 1, "day": math.nan, "at": 2}, 7):
        assert MeterState.from_state(broken) == MeterState()

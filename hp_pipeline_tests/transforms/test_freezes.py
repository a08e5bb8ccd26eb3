"""Counters that stand still: no rest of a right one is taken for a freeze, and no freeze for rest."""

from __future__ import annotations

from datetime import timedelta
from itertools import accumulate
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms.energy import Energies
from hp_pipeline.transforms.freezes import BELIEVED, MARGIN_KWH, OFFSET_W, STEPS
from hp_pipeline.transforms.increments import REACH
from hp_pipeline.vocabulary.tables.counters import CAUGHT_UP, FIRST_OF_METERS, UNKNOWN
from hp_pipeline.vocabulary.ways import BITS, DEVICE_COUNTER, DEVICE_POWER
from hp_pipeline_tests.transforms.test_energy import (
    DAY,
    DHW,
    FRAME,
    HEATING,
    MJ,
    State,
    assert_alone_as_among_many,
    at,
    counter_of,
    energies,
    frames_of,
    states_of,
    tick,
)

FRAMES = 4 * 288
RESTS: State = ("standby", False, 0.0, True)
STEP_WH = 10


def shown(used: list[int], step: int = STEP_WH, **whose: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of a counter that is read at every frame, and shows whole steps of these numbers (Wh)."""
    return counter_of(used, range(FRAMES), step, **whose)


def used_up(given_wh: list[int]) -> list[int]:
    """What was given up to each frame."""
    return [0, *accumulate(given_wh)][:FRAMES]


def of(given_wh: list[int], told_w: list[float], used: list[int], step: int = STEP_WH, **whose: Any) -> Energies:
    rows = frames_of(
        [("heating" if wh else "standby", wh > 0, power, True) for wh, power in zip(given_wh, told_w, strict=True)]
    )
    ticks, stood = shown(used, step, **whose)
    return energies(rows, ticks, states_of(stood), step_kwh=step / 1000)


# ---- a right counter

patterns = st.lists(st.tuples(st.sampled_from([0, 0, 7, 90, 500]), st.integers(1, 300)), min_size=1)


@settings(max_examples=80, deadline=None)
@given(
    patterns,
    st.sampled_from([1, 10, 100, 1000]),
    st.integers(0, REACH // FRAME - 1),
    st.floats(-BELIEVED, 1 / BELIEVED - 1),
    st.floats(-OFFSET_W["thermal"], OFFSET_W["thermal"]),
    st.sampled_from([0.0, 6000.0]),
)
def test_a_right_counter_is_believed_however_wrong_the_power_is(
    pattern: list[tuple[int, int]], step: int, late: int, wrong: float, offset: float, rod: float
) -> None:
    """Of any step, as late as `REACH`, beside a power that tells half or twice as much, is off by an offset all the
    time and has what runs beside the compressor."""
    given_wh = ([wh for wh, count in pattern for _ in range(count)] * FRAMES)[:FRAMES]
    told = [(12 * wh * (1 + wrong) + offset) if wh else offset + rod for wh in given_wh]
    used = [0] * late + used_up(given_wh)[: FRAMES - late]
    found = of(given_wh, told, used, step)
    assert found.freezes("hp").is_empty()
    frames = found.of_frames()[:-1]
    assert set(frames["thermal_way"]) == {BITS[DEVICE_COUNTER]}
    assert frames["thermal"].sum() == used[-1] // step * step * MJ // 1000


def test_a_counter_of_whole_kilowatt_hours_may_stand_still_for_days() -> None:
    rows = frames_of([("standby", False, 60.0, True)] * FRAMES)
    found = energies(rows, *_one_kwh_in_60_h(), step_kwh=1.0)
    assert found.freezes("hp").is_empty()
    assert found.of_frames()["thermal"][:-1].sum() == MJ, "the last frame is not read to its end"


def _one_kwh_in_60_h() -> tuple[list[dict[str, Any]], pl.DataFrame]:
    ticks, stood = shown([wh * 1000 // (60 * 12) for wh in range(FRAMES)], 1000)
    return ticks, states_of(stood)


# ---- a counter that freezes


@st.composite
def frozen(draw: st.DrawFn) -> tuple[list[int], list[int], int, int, str]:
    """Four days of a machine that always gives 3 kW or more (Wh in each frame), what its counter shows (Wh up to each
    frame), the frames between which it stands still, and how that ends."""
    given_wh = [draw(st.sampled_from([250, 400, 900]))] * FRAMES
    for place in draw(st.lists(st.integers(0, FRAMES - 1), max_size=5)):
        given_wh[place:] = [draw(st.sampled_from([250, 400, 900]))] * (FRAMES - place)
    begin = draw(st.integers(0, FRAMES - 9 * 12))
    length = draw(st.integers(9 * 12, 80 * 12))
    how = draw(st.sampled_from(["never", "loses", "catches up"]))
    end = FRAMES if how == "never" else min(begin + length, FRAMES - 1)
    used = used_up(given_wh)
    lost = used[end - 1] - used[begin] if how == "loses" else 0
    counter = [*used[:begin], *[used[begin]] * (end - begin), *(wh - lost for wh in used[end:])]
    return given_wh, counter, begin, end, how


@settings(max_examples=60, deadline=None)
@given(frozen(), st.sampled_from([0, FIRST_OF_METERS]))
def test_days_on_which_a_counter_froze_have_what_the_power_tells(
    history: tuple[list[int], list[int], int, int, str], precedence: int
) -> None:
    given_wh, counter, begin, end, how = history
    found = of(given_wh, [12.0 * wh for wh in given_wh], counter, precedence=precedence)
    days = found.of_frames()[:-1].group_by(pl.col("start").dt.date(), maintain_order=True).agg(pl.col("thermal").sum())
    truth = [sum(given_wh[288 * day : min(288 * day + 288, FRAMES - 1)]) * MJ // 1000 for day in range(4)]
    for number, told in enumerate(days["thermal"]):
        # What it showed of the frames in which it stops and goes on is known to a frame.
        assert abs(told - truth[number]) <= (2 * STEP_WH + 900) * MJ // 1000, (number, how)
    ledger = found.freezes("hp")
    assert ledger["start"].min() == ledger["since"].max()
    assert abs(ledger["since"].item(0) - (DAY + begin * FRAME)) <= FRAME
    assert ledger["told_kwh"].sum() == pytest.approx(sum(given_wh[begin:end]) / 1000, abs=1.9)
    caught_up = how == "catches up" and (at(5 * end).date() - ledger["since"].item(0).date()).days <= 1
    assert set(ledger["verdict"]) == {CAUGHT_UP if caught_up else UNKNOWN}
    if caught_up:
        assert days["thermal"].sum() == counter[-1] // STEP_WH * STEP_WH * MJ // 1000, "the counter's to the last step"


@settings(max_examples=20, deadline=None)
@given(frozen(), st.integers(0, 3))
def test_a_verdict_follows_from_the_day_and_the_days_beside_it(
    history: tuple[list[int], list[int], int, int, str], number: int
) -> None:
    given_wh, counter, *_ = history
    rows = frames_of([("heating", True, 12.0 * wh, True) for wh in given_wh])
    ticks, stood = shown(counter)
    assert_alone_as_among_many(rows, ticks, ticks[::-1], number, states_of(stood))


def test_the_margin_is_where_it_is_said_to_be() -> None:
    """A run of so much beyond `OFFSET_W`, `REACH` before the last reading, is believed; some more is not."""
    most_kwh = STEPS * STEP_WH / 1000 + MARGIN_KWH["thermal"]
    for factor, freezes in ((0.99, False), (1.01, True)):
        power = OFFSET_W["thermal"] + factor * most_kwh * 1000
        given_wh = [0] * 288 + [1] * 12 + [0] * (FRAMES - 300)
        found = of(given_wh, [power if wh else 0.0 for wh in given_wh], [0] * FRAMES)
        assert found.freezes("hp").is_empty() is not freezes


# ---- counters of a purpose


def _of_purposes(mode: str, heating: list[int], dhw: list[int]) -> Energies:
    rows = frames_of([(mode, True, 6000.0, True)] * FRAMES)
    parts = [shown(heating, signal=HEATING), shown(dhw, signal=DHW)]
    ticks, stood = ([row for part in parts for row in part[place]] for place in (0, 1))
    return energies(rows, ticks, states_of(stood))


def test_a_counter_of_heating_rests_while_hot_water_is_made_whatever_the_mode_was_taken_for() -> None:
    given, rests = used_up([500] * FRAMES), [0] * FRAMES
    for mode in ("dhw", "heating"):
        assert _of_purposes(mode, rests, given).freezes("hp").is_empty()


def test_a_counter_of_heating_that_stands_still_while_it_is_heated_is_not_believed() -> None:
    found = _of_purposes("heating", [0] * FRAMES, [0] * FRAMES)
    assert set(found.freezes("hp")["signal"]) == {HEATING}
    assert set(found.of_frames()["thermal_way"]) == {BITS[DEVICE_POWER]}


# ---- what ends it


def test_what_it_shows_after_it_began_again_was_counted_after_its_last_reading() -> None:
    rows = frames_of([("heating", True, 6000.0, True)] * 288)
    ends = tick(at(0), at(24 * 60 - 5), 0.5, last_unchanged=at(24 * 60 - 10), kind="reset")
    state = {"source": "device", "signal": ends["signal"], "point": ends["point"], "precedence": 0}
    state |= {"since": ends["end"], "time": ends["end"], "day": DAY.date()}
    found = energies(rows, [ends], states_of([state])).of_frames()
    assert set(found["thermal_integral"]) == {MJ // 2}
    assert found["thermal"].to_list() == [MJ // 2] * 288
    assert found["thermal_counter"].to_list() == [None] * 286 + [MJ // 2, None]


def test_what_it_counted_over_days_of_silence_behind_a_rest_is_its_word() -> None:
    rows = frames_of([("heating", True, 2000.0, True) if place > 144 else RESTS for place in range(FRAMES)])
    gap = tick(DAY - timedelta(days=3), at(84 * 60), 250.0, last_unchanged=at(12 * 60), kind="outage", over_gap=True)
    state = {"source": "device", "signal": gap["signal"], "point": gap["point"], "precedence": 0}
    state |= {"since": gap["end"], "time": gap["end"], "day": DAY.date() + timedelta(days=3)}
    assert energies(rows, [gap], states_of([state])).freezes("hp").is_empty()


def test_a_step_that_only_older_days_explain_is_left_out() -> None:
    """It froze on a day before these, which has the power's word, and caught up when it was warm again."""
    rows = frames_of([("heating", True, 2000.0, True) if place > 1100 else RESTS for place in range(FRAMES)])
    late = tick(DAY - timedelta(days=3), at(95 * 60), 80.0, last_unchanged=at(95 * 60 - 5), kind="late")
    state = {"source": "device", "signal": late["signal"], "point": late["point"], "precedence": 0}
    state |= {"since": late["end"], "time": late["end"], "day": DAY.date() + timedelta(days=3)}
    found = energies(rows, [late], states_of([state]))
    assert set(found.freezes("hp")["verdict"]) == {UNKNOWN}
    assert found.of_frames()["thermal"].sum() == found.of_frames()["thermal_integral"].sum()


def test_what_it_counted_over_a_silence_behind_a_freeze_says_nothing_of_either() -> None:
    rows = frames_of([("heating", True, 6000.0, not 240 <= place < 264) for place in range(288)])
    gap = tick(at(0), at(22 * 60), 130.0, last_unchanged=at(20 * 60 - 5), kind="outage", over_gap=True)
    state = {"source": "device", "signal": gap["signal"], "point": gap["point"], "precedence": 0}
    state |= {"since": gap["end"], "time": gap["end"], "day": DAY.date()}
    found = energies(rows, [gap], states_of([state]))
    assert found.of_frames()["thermal"].sum() == 264 * MJ // 2
    assert found.unobserved(DAY, DAY + timedelta(days=1), "hp", "UTC").is_empty()

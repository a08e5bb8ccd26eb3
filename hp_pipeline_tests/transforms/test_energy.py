"""Increments of counters over frames: nothing is lost, each goes to what ran, and no day asks how it was done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate, pairwise
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms.energy import Energies
from hp_pipeline.transforms.increments import REACH
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.tables.counters import FIRST_OF_METERS
from hp_pipeline.vocabulary.ways import BITS, DEVICE_COUNTER, DEVICE_POWER, METER_COUNTER, METER_POWER

DAY = datetime(2025, 1, 14, tzinfo=UTC)
END = DAY + timedelta(days=4)
MJ = 3_600_000_000
FRAME = timedelta(minutes=5)
SESSION_GAP = timedelta(minutes=30)
TOTAL, HEATING, DHW, COOLING = (f"thermal_energy_{name}total" for name in ("", "heating_", "dhw_", "cooling_"))
State = tuple[str | None, bool | None, float | None, bool]
"""Of five minutes: mode, whether the compressor runs, thermal power, whether anything is read."""


def frames_of(states: Sequence[State]) -> pl.DataFrame:
    rows = [
        (DAY + i * FRAME, DAY + (i + 1) * FRAME, mode, runs, power)
        for i, (mode, runs, power, read) in enumerate(states)
        if read
    ]
    moment = pl.Datetime("us", "UTC")
    types = {
        "start": moment,
        "end": moment,
        "mode": pl.String(),
        "compressor_running": pl.Boolean(),
        "thermal_power": pl.Float64(),
    }
    return pl.DataFrame(rows, schema=types, orient="row")


def tick(start: datetime, end: datetime, increment: float, signal: str = TOTAL, **more: Any) -> dict[str, Any]:
    return {
        "source": "device", "signal": signal, "point": signal, "precedence": 0, "start": start, "last_unchanged": start,
        "end": end, "increment": increment, "over_gap": False, **more,
    }  # fmt: skip


def at(minutes: float) -> datetime:
    return DAY + timedelta(minutes=minutes)


def read_through(ticks: Sequence[dict[str, Any]], until: datetime = END, since: datetime = DAY) -> pl.DataFrame:
    """The states of counters that are read from the first tick on without end; a meter's only when they count."""
    whose = {(one["source"], one["signal"], one["point"], one["precedence"]) for one in ticks}
    rows = []
    for source, signal, point, precedence in sorted(whose):
        for number in range(-1, (until - DAY).days + 1):
            day = DAY + timedelta(days=number)
            time = min(day + timedelta(days=1), until)
            moved = [one["end"] for one in ticks if one["source"] == source and one["signal"] == signal]
            last = max((end for end in moved if end <= time), default=since)
            if source == "meter":
                time = last
            rows.append(
                {"source": source, "signal": signal, "point": point, "precedence": precedence, "since": last,
                 "time": time, "day": day.date()}
            )  # fmt: skip
    days = pl.DataFrame({"day": [row["day"] for row in rows]}, schema={"day": pl.Date()})
    return conform(pl.DataFrame(rows) if rows else None, "counter_states").with_columns(days["day"])


def energies(
    rows: pl.DataFrame,
    ticks: Sequence[dict[str, Any]],
    states: pl.DataFrame | None = None,
    net_counters: Sequence[str] = (),
    signals: Sequence[str] | None = None,
    step_kwh: float = 0.01,
) -> Energies:
    """Of a house whose profiles tell `signals`, else the counters that there are."""
    defrosts = [name for name in ("defrost",) if name in rows.columns]
    modes = rows.select("start", "mode", "compressor_running", *defrosts, unseen_s=pl.lit(FRAME.total_seconds()))
    if not defrosts:
        modes = modes.with_columns(defrost=pl.lit(False))
    counters = conform(pl.DataFrame(ticks, infer_schema_length=None) if ticks else None, "counters")
    stood = read_through(ticks) if states is None else states
    read = pl.concat([table.select("signal", "precedence") for table in (counters, stood)]).unique()
    own, metered = (
        signals or read.filter((pl.col("precedence") < 0) == of_meters)["signal"].to_list()
        for of_meters in (False, True)
    )
    steps = {kind: {METER_COUNTER: step_kwh, DEVICE_COUNTER: step_kwh} for kind in ("electrical", "thermal")}
    return Energies(conform(rows, "frames"), modes, counters, stood, net_counters, own, metered, steps_kwh=steps)


def silent(found: Energies, start: datetime = DAY, end: datetime = END) -> pl.DataFrame:
    return found.unobserved(start, end, "hp", "Europe/Berlin")


def thermal(states: Sequence[State], *ticks: dict[str, Any]) -> list[int | None]:
    return energies(frames_of(states), ticks).of_frames()["thermal"].to_list()


def test_a_step_is_shared_by_the_power_that_is_known() -> None:
    states: list[State] = [
        ("heating", True, 6000.0, True), ("heating", True, 2000.0, True), ("standby", False, 0.0, True)
    ]  # fmt: skip
    found = energies(frames_of(states), [tick(at(0), at(15), 1.0)]).of_frames()
    assert found["thermal_counter"].to_list() == [MJ * 3 // 4, MJ // 4, 0]
    assert found["thermal_integral"].to_list() == [1_800_000_000, 600_000_000, 0]
    assert found["thermal"].to_list() == found["thermal_counter"].to_list()


def test_without_power_it_goes_to_what_ran_and_without_that_to_time() -> None:
    ran: State = ("heating", True, None, True)
    rested: State = ("standby", False, None, True)
    assert thermal([ran, rested, ran], tick(at(0), at(15), 1.0)) == [MJ // 2, 0, MJ // 2]
    assert thermal([rested] * 4, tick(at(0), at(20), 1.0)) == [MJ // 4] * 4


def test_a_frame_that_ran_unmetered_gets_its_share() -> None:
    """Power that is known for a part of the running time says nothing of the rest of it."""
    states: list[State] = [("heating", True, 6000.0, True), ("heating", True, None, True)]
    assert thermal(states, tick(at(0), at(10), 1.0)) == [MJ // 2, MJ // 2]


def with_defrost(by_flow: float | None, told: float | None = None) -> pl.DataFrame:
    """Heating, five minutes of a defrost, heating; the water shows `by_flow` in it, the device tells `told`."""
    heating: State = ("heating", True, 6000.0, True)
    rows = frames_of([heating, ("heating", True, told, True), heating])
    middle = pl.int_range(3) == 1
    return rows.with_columns(
        defrost=middle,
        thermal_power_by_flow=pl.when(middle).then(by_flow).otherwise(6000.0),
        thermal_way=pl.when(middle & (pl.lit(told is None))).then(None).otherwise(pl.lit("device power")),
    )


@pytest.mark.parametrize("told", [None, 0.0])
def test_what_a_defrost_takes_is_subtracted_from_a_counter_that_only_counts_up(told: float | None) -> None:
    """1 kWh was given, 4.8 kW × 5 min = 0.4 kWh were taken back: 0.6 kWh net, wherever the increment is booked."""
    found = energies(with_defrost(-4800.0, told), [tick(at(0), at(15), 1.0)]).of_frames()
    assert found["thermal_counter"].sum() == MJ
    assert found["thermal"].sum() == round(0.6 * MJ) and found["thermal"][1] < 0
    assert found["thermal_taken"].to_list() == [0, -round(0.4 * MJ), 0]
    compared = found.filter(pl.col("thermal_integral").is_not_null())
    given = [1_800_000_000, 0, 1_800_000_000]
    assert found["thermal_residual"].drop_nulls().to_list() == [
        counted - (given[0] if power > 0 else given[1])
        for counted, power in compared.select("thermal_counter", "thermal_integral").iter_rows()
    ]


def test_what_is_given_what_the_begin_of_a_defrost_is_not_set_against_what_it_takes() -> None:
    powers = (6000.0, 600.0, -6000.0, -600.0, 3000.0)
    rows = frames_of([("heating", True, power, True) for power in powers]).with_columns(
        defrost=pl.Series([False, True, True, True, False]), thermal_way=pl.lit("flow rate × spread")
    )
    found = energies(rows, []).of_frames()
    assert found["thermal"].to_list() == [round(power * 300_000) for power in powers]
    assert -found["thermal_taken"].sum() == (6600 * 300_000)


def test_a_power_that_knows_nothing_below_zero_does_not_hide_what_a_defrost_takes() -> None:
    found = energies(with_defrost(-4800.0, 0.0), []).of_frames()
    assert found["thermal"].to_list() == [1_800_000_000, -round(0.4 * MJ), 1_800_000_000]


def test_a_counter_that_falls_in_defrosts_is_taken_at_its_word() -> None:
    counter = [tick(at(0), at(15), 0.6)]
    found = energies(with_defrost(-4800.0), counter, net_counters=["device counter"]).of_frames()
    assert found["thermal"].sum() == round(0.6 * MJ)
    assert found["thermal_taken"].to_list() == [0, -round(0.4 * MJ), 0]


def test_where_nothing_shows_what_a_defrost_took_that_is_said_and_nothing_made_up() -> None:
    found = energies(with_defrost(None), [tick(at(0), at(15), 1.0)]).of_frames()
    assert found["thermal"].sum() == MJ
    assert found["thermal_taken"].to_list() == [0, None, 0]


def test_a_purpose_gets_its_own_counter_and_the_others_nothing() -> None:
    states: list[State] = [
        ("heating", True, 4000.0, True), ("dhw", True, 8000.0, True), ("heating", True, 4000.0, True)
    ]  # fmt: skip
    ticks = tick(at(0), at(15), 0.5, HEATING), tick(at(0), at(15), 1.5, DHW)
    assert thermal(states, *ticks) == [MJ // 4, MJ * 3 // 2, MJ // 4]


def test_the_only_purpose_that_is_counted_is_not_the_whole() -> None:
    """Hot water that no counter tells of is what the power tells, or not known; at rest no heat is given."""
    rows = told_by_machine([RAN, WATER, RESTED, UNTOLD_WATER, UNTOLD_REST])
    found = energies(rows, [tick(at(0), at(25), 0.4, HEATING)]).of_frames()
    assert found["thermal"].to_list() == [MJ * 4 // 10, MJ // 2, 0, None, 0]
    assert found["thermal_counter"].to_list() == [MJ * 4 // 10, None, 0, None, 0]
    counter, power = BITS[DEVICE_COUNTER], BITS[DEVICE_POWER]
    assert found["thermal_way"].to_list() == [counter, power, counter, None, counter]


def test_electricity_at_rest_is_not_told_by_one_purpose_alone() -> None:
    rows = told_by_machine([RAN, RESTED]).with_columns(electrical_power=pl.Series([1500.0, 12.0]))
    heating, dhw = (f"electrical_energy_{name}_total" for name in ("heating", "dhw"))
    step = tick(at(0), at(10), 0.1, heating)
    assert energies(rows, [step]).of_frames()["electrical"].to_list() == [MJ // 10, 12 * 300_000]
    both = energies(rows, [step], signals=[heating, dhw]).of_frames()
    assert both["electrical"].to_list() == [MJ // 10, 0], "a device of heating and hot water counts all in one of them"


def test_a_purpose_is_known_in_its_own_mode_whatever_is_read_of_the_others() -> None:
    rows = told_by_machine([RAN, WATER, RESTED, RAN])
    ticks = [tick(at(0), at(20), 0.8, HEATING), tick(at(15), at(20), 0.2, DHW)]
    unread = read_through(ticks).with_columns(
        since=pl.when(pl.col("signal") == DHW).then(pl.lit(at(15), pl.Datetime("us", "UTC"))).otherwise("since")
    )
    found = energies(rows, ticks, unread).of_frames()
    assert found["thermal"].to_list() == [MJ * 4 // 10, MJ // 2, 0, MJ * 6 // 10]


def test_where_the_mode_is_not_known_purposes_are_the_whole_if_heating_and_hot_water_are_counted() -> None:
    unknown: State = (None, True, 6000.0, True)
    rows = told_by_machine([RAN, unknown, UNREAD, UNREAD, RAN])
    ticks = [
        *(tick(at(5 * i), at(5 * i + 5), 0.4, HEATING) for i in range(2)),
        tick(at(10), at(20), 0.7, HEATING, last_unchanged=at(10), over_gap=True),
        tick(at(20), at(25), 0.4, HEATING),
    ]
    alone = energies(rows, ticks)
    assert alone.of_frames()["thermal"].to_list() == [MJ * 4 // 10, MJ // 2, MJ * 4 // 10]
    assert silent(alone).is_empty(), "who knows whether the tank was charged too"
    apart = energies(rows, ticks, signals=[HEATING, DHW])
    assert apart.of_frames()["thermal"].to_list() == [MJ * 4 // 10] * 3, "a device without a tank tells no hot water"
    assert silent(apart)["thermal"].sum() == MJ * 7 // 10


def test_without_power_and_compressor_a_purpose_goes_to_the_time_of_its_mode() -> None:
    states: list[State] = [
        ("heating", None, None, True), ("dhw", None, None, True), ("standby", None, None, True)
    ]  # fmt: skip
    ticks = tick(at(0), at(15), 0.5, HEATING), tick(at(0), at(15), 1.5, DHW)
    assert thermal(states, *ticks) == [MJ // 2, MJ * 3 // 2, 0]
    assert thermal(states, ticks[0]) == [MJ // 2, None, 0]


PURPOSES = {"heating": HEATING, "dhw": DHW, "cooling": COOLING}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["standby", *PURPOSES]), st.integers(1, 40)), min_size=1, max_size=12),
    st.sets(st.sampled_from(sorted(PURPOSES)), min_size=1),
    st.integers(1, 9),
)
def test_each_mode_has_what_its_counter_counted_or_what_the_power_tells(
    pattern: list[tuple[str, int]], counted: set[str], every: int
) -> None:
    """Whichever purposes are counted, and however seldom the counters step before a run ends, none takes another's mode
    or loses its own."""
    modes = [mode for mode, count in pattern for _ in range(count)]
    truth = {"standby": 0.0, "heating": 6000.0, "dhw": 4000.0, "cooling": -3000.0}
    rows = told_by_machine([(mode, mode != "standby", 0.9 * truth[mode], True) for mode in modes])
    ticks = []
    for purpose in counted:
        since, watts = 0, 0.0
        for place, mode in enumerate(modes):
            watts += abs(truth[mode]) * (mode == purpose)
            if mode == purpose and (place % every == 0 or modes[place + 1 : place + 2] != [purpose]):
                ticks.append(tick(at(5 * since), at(5 * place + 5), watts / 12_000, PURPOSES[purpose]))
                since, watts = place + 1, 0.0
    read = read_through([*ticks, *(tick(DAY, END, 0.0, PURPOSES[purpose]) for purpose in counted)])
    found = energies(rows, ticks, read).of_frames()
    for mode, watts in truth.items():
        factor = 1.0 if mode in counted else 0.9
        told = found.filter(pl.col("mode") == mode)["thermal"]
        assert told.null_count() == 0
        assert told.sum() == pytest.approx(watts * factor * 300_000 * modes.count(mode), abs=len(ticks) + len(modes))


def test_heat_that_cooling_takes_is_negative() -> None:
    states: list[State] = [("cooling", True, None, True), ("dhw", True, None, True)]
    assert thermal(states, tick(at(0), at(10), 2.0, COOLING), tick(at(0), at(10), 1.0, DHW)) == [-2 * MJ, MJ]
    whole = tick(at(0), at(5), 2.0), tick(at(5), at(10), 1.0)
    assert thermal(states, tick(at(0), at(10), 2.0, COOLING), *whole) == [-2 * MJ, MJ], (
        "whether the whole has it or not"
    )


def test_the_least_precedence_counts_and_those_that_share_it_are_summed() -> None:
    state: State = ("heating", True, 4000.0, True)
    purpose, device = tick(at(0), at(5), 0.5, HEATING), tick(at(0), at(5), 0.75)
    other = {**device, "source": "other", "increment": 3.0}
    assert thermal([state], purpose, device) == [MJ * 3 // 4], "the total comes before the sum of its purposes"
    assert thermal([state], device, {**other, "precedence": 1}) == [MJ * 3 // 4]
    assert thermal([state], {**device, "precedence": 1}, other) == [3 * MJ]
    assert thermal([state], device, other) == [MJ * 15 // 4]


def test_where_no_counter_is_read_it_is_the_integral() -> None:
    rows = frames_of([("heating", True, 4000.0, True), ("heating", True, 4000.0, True), ("heating", True, None, True)])
    ticks = [tick(at(0), at(5), 1.0)]
    found = energies(rows, ticks, read_through(ticks, until=at(5))).of_frames()
    assert found["thermal"].to_list() == [MJ, 4000 * 300_000, None]
    assert found["thermal_counter"].to_list() == [MJ, None, None]


def test_a_step_after_weeks_reaches_back_only_so_far() -> None:
    states: list[State] = [("heating", True, None, True)] * (48 * 12)
    end = DAY + timedelta(hours=40)
    found = energies(frames_of(states), [tick(DAY - timedelta(days=20), end, 5.0)]).of_frames()
    told = found.filter(pl.col("thermal_counter") > 0)["start"]
    assert (told.min(), told.max()) == (end - REACH, end - FRAME)
    assert found["thermal_counter"].sum() == 5 * MJ


def test_what_was_counted_over_a_silence_is_apportioned_to_its_time() -> None:
    states: list[State] = [("heating", True, 4000.0, not 6 <= i < 24) for i in range(30)]
    step = tick(at(10), at(120), 3.8, last_unchanged=at(25), over_gap=True)
    found = energies(frames_of(states), [step])
    hidden = silent(found)
    assert hidden["start"].to_list() == [at(30 + 15 * i) for i in range(6)]
    assert hidden["thermal"].to_list() == [MJ * 6 // 10] * 6
    assert found.of_frames()["thermal_counter"].sum() + hidden["thermal"].sum() == round(3.8 * MJ)


def test_a_purpose_that_stood_still_over_a_silence_hides_no_other() -> None:
    states: list[State] = [("heating", True, 4000.0, not 6 <= i < 24) for i in range(30)]
    heating, dhw = "thermal_energy_heating_total", "thermal_energy_dhw_total"
    ticks = [
        tick(at(10), at(120), 3.8, heating, last_unchanged=at(25), over_gap=True),
        tick(at(0), at(5), 0.2, dhw),
    ]
    found = energies(frames_of(states), ticks)
    assert found.of_frames()["thermal_counter"].sum() + silent(found)["thermal"].sum() == 4 * MJ


def gap(start: float, end: float, increment: float, signal: str = TOTAL, **more: Any) -> dict[str, Any]:
    """What a meter counted while its source was silent."""
    outage = {"precedence": FIRST_OF_METERS, "over_gap": True, "kind": "outage"}
    return tick(at(start), at(end), increment, signal, **{"source": "meter", **outage, **more})


def told_by_machine(states: Sequence[State]) -> pl.DataFrame:
    return frames_of(states).with_columns(thermal_way=pl.lit("device power"))


RAN: State = ("heating", True, 6000.0, True)
HALF: State = ("heating", True, 3000.0, True)
RESTED: State = ("standby", False, 0.0, True)
UNTOLD: State = ("heating", True, None, True)
WATER: State = ("dhw", True, 6000.0, True)
UNTOLD_WATER: State = ("dhw", True, None, True)
UNTOLD_REST: State = ("standby", False, None, True)
UNREAD: State = ("heating", True, None, False)


def test_over_a_silence_the_meter_says_how_much_and_the_machine_when() -> None:
    rows = told_by_machine([RAN, RAN, HALF, RESTED, HALF, RAN])
    ticks = [gap(0, 5, 0.7, over_gap=False, kind="step"), gap(5, 25, 1.2), gap(25, 30, 0.6, over_gap=False)]
    found = energies(rows, ticks).of_frames()
    assert found["thermal"].to_list() == [round(kwh * MJ) for kwh in (0.7, 0.6, 0.3, 0.0, 0.3, 0.6)]
    assert found["thermal_counter"].equals(found["thermal"])
    meter, both = BITS[METER_COUNTER], BITS[METER_COUNTER] | BITS[DEVICE_POWER]
    assert found["thermal_way"].to_list() == [meter, both, both, both, both, meter]
    assert found["thermal_residual"].to_list() == [
        counted - told for counted, told in found.select("thermal_counter", "thermal_integral").iter_rows()
    ]


def test_what_of_a_meters_silence_may_be_on_the_wrong_side_is_told_of_its_edges_alone() -> None:
    """The lesser of what is before and behind each: nothing at the ends of a silence, nor where the meter is read."""
    rows = told_by_machine([RAN, RAN, HALF, RESTED, HALF, RAN])
    found = energies(rows, [gap(0, 5, 0.7, over_gap=False), gap(5, 25, 1.2), gap(25, 30, 0.6, over_gap=False)])
    frames = found.of_frames()
    begins = [round(kwh * MJ) for kwh in (0, 0, 0.6, 0.3, 0.3, 0)]
    assert frames["thermal_open_begin"].to_list() == begins
    assert frames["thermal_open_end"].to_list() == [*begins[1:], 0]
    assert frames["thermal_by_time_begin"].sum() == 0
    unshared = energies(told_by_machine([UNTOLD] * 3), [gap(0, 15, 1.2)]).of_frames()
    assert unshared["thermal_open_begin"].sum() == 0
    begins = [round(kwh * MJ) for kwh in (0, 0.4, 0.4)]
    assert unshared["thermal_by_time_begin"].to_list() == begins, "spread by time alone: all of it may be wrong"
    assert unshared["thermal_by_time_end"].to_list() == [*begins[1:], 0]


def test_what_a_machine_counted_over_a_silence_is_spread_by_time_too() -> None:
    found = energies(told_by_machine([UNTOLD] * 3), [tick(at(0), at(15), 1.2, over_gap=True, kind="outage")])
    begins = [round(kwh * MJ) for kwh in (0, 0.4, 0.4)]
    assert found.of_frames()["thermal_by_time_begin"].to_list() == begins


def test_what_is_by_time_is_open_only_where_it_is_what_counts() -> None:
    """Of a silence that is left open, another way tells first: its edges are its own."""
    long = gap(0, 15, 1.2, kind="reset")
    found = energies(told_by_machine([RAN] * 3), [long]).of_frames()
    assert not any(bits & BITS[METER_COUNTER] for bits in found["thermal_way"])
    assert found.select(pl.col("^thermal_(open|by_time)_.*$").sum()).row(0) == (0, 0, 0, 0)


def test_the_machines_counter_comes_before_its_power_as_to_when() -> None:
    rows = told_by_machine([RAN, RAN, RAN])
    ticks = [gap(0, 15, 1.2), tick(at(0), at(5), 0.1), tick(at(5), at(10), 0.0), tick(at(10), at(15), 0.2)]
    found = energies(rows, ticks).of_frames()
    assert found["thermal"].to_list() == [round(kwh * MJ) for kwh in (0.4, 0.0, 0.8)]
    assert set(found["thermal_way"]) == {BITS[METER_COUNTER] | BITS[DEVICE_COUNTER]}


@pytest.mark.parametrize("machine", [RESTED, UNTOLD])
def test_where_the_machine_tells_of_no_energy_a_meters_silence_is_shared_by_time(machine: State) -> None:
    found = energies(told_by_machine([machine] * 4), [gap(0, 20, 1.0)]).of_frames()
    assert found["thermal"].to_list() == [MJ // 4] * 4
    assert set(found["thermal_way"]) == {BITS[METER_COUNTER]}


def test_time_of_which_the_machine_tells_nothing_has_as_much_as_the_rest() -> None:
    found = energies(told_by_machine([RAN, RESTED, UNTOLD, UNREAD, UNREAD, RAN]), [gap(0, 30, 1.2)])
    frames, hidden = found.of_frames(), silent(found)
    assert frames["thermal"].to_list() == [round(kwh * MJ) for kwh in (0.3, 0.0, 0.2, 0.3)]
    assert hidden["thermal"].sum() == round(0.4 * MJ)
    assert set(hidden["thermal_way"]) == {BITS[METER_COUNTER]}


def test_what_the_machine_counted_where_nothing_was_read_shares_a_silence_too() -> None:
    rows = told_by_machine([RAN, UNREAD, UNREAD, HALF])
    own = tick(at(5), at(15), 1.0, last_unchanged=at(5), over_gap=True)
    found = energies(rows, [gap(0, 20, 3.5), tick(at(0), at(5), 0.5), own, tick(at(15), at(20), 0.25)])
    assert found.of_frames()["thermal"].to_list() == [MJ, MJ // 2]
    hidden = silent(found)
    assert hidden["thermal"].sum() == 2 * MJ
    assert set(hidden["thermal_way"]) == {BITS[METER_COUNTER] | BITS[DEVICE_COUNTER]}


@pytest.mark.parametrize("kind", ["reset", "day_reset", "owner"])
def test_a_meter_that_cannot_say_all_of_its_silence_does_not_say_how_much(kind: str) -> None:
    rows = told_by_machine([RAN, HALF, RESTED, UNTOLD])
    found = energies(rows, [gap(0, 20, 0.4, kind=kind)]).of_frames()
    assert found["thermal"].to_list() == [MJ // 2, MJ // 4, 0, MJ // 10]
    power, meter = BITS[DEVICE_POWER], BITS[METER_COUNTER]
    assert found["thermal_way"].to_list() == [power, power, power, meter]


FELL: dict[str, Any] = {"kind": "rollback"}


def test_over_a_silence_in_which_a_meter_fell_back_the_next_way_tells_how_much() -> None:
    rows = told_by_machine([RAN, HALF, RESTED, UNTOLD, RAN])
    ticks = [gap(0, 20, 0.0, **FELL), gap(20, 25, 0.4, over_gap=False)]
    found = energies(rows, ticks).of_frames()
    assert found["thermal"].to_list() == [MJ // 2, MJ // 4, 0, None, MJ * 4 // 10]
    assert found["thermal_counter"].to_list() == [None, None, None, None, MJ * 4 // 10]
    power = BITS[DEVICE_POWER]
    assert found["thermal_way"].to_list() == [power, power, power, None, BITS[METER_COUNTER]]
    assert found["thermal_open_end"].sum() == 0
    counted = energies(rows, [*ticks, tick(at(0), at(20), 0.8)]).of_frames()
    assert counted["thermal"].sum() == MJ * 12 // 10
    assert set(counted["thermal_way"][:4]) == {BITS[DEVICE_COUNTER]}


def test_what_a_meter_told_before_a_silence_in_which_it_fell_back_comes_behind_the_machines_counter() -> None:
    rows = frames_of([RAN, RAN]).with_columns(thermal_way=pl.lit(METER_POWER))
    found = energies(rows, [gap(0, 10, 0.0, **FELL), tick(at(0), at(10), 0.8)]).of_frames()
    assert found["thermal"].to_list() == [MJ * 4 // 10] * 2


def test_where_a_counter_fell_back_over_a_silence_another_meter_that_is_read_counts() -> None:
    second = [tick(at(0), at(10), 0.6, source="meter", precedence=FIRST_OF_METERS + 1, kind="step")]
    found = energies(told_by_machine([RAN, RAN]), [gap(0, 10, 0.0, source="first", **FELL), *second]).of_frames()
    assert found["thermal"].to_list() == [MJ * 3 // 10] * 2
    assert set(found["thermal_way"]) == {BITS[METER_COUNTER]}


def test_what_a_machines_counter_lost_over_its_silence_its_power_tells_or_nothing() -> None:
    rows = told_by_machine([RAN, UNREAD, UNREAD, HALF])
    lost = tick(at(0), at(20), 0.0, last_unchanged=at(0), over_gap=True, **FELL)
    found = energies(rows, [lost])
    assert found.of_frames()["thermal"].to_list() == [MJ // 2, MJ // 4]
    assert silent(found).is_empty()


def test_of_purposes_one_of_which_fell_back_over_a_silence_the_sum_is_not_known() -> None:
    ticks = [
        tick(at(0), at(20), 0.0, HEATING, last_unchanged=at(0), over_gap=True, **FELL),
        tick(at(0), at(20), 0.7, DHW, last_unchanged=at(0), over_gap=True, kind="outage"),
    ]
    found = energies(told_by_machine([RAN, UNREAD, UNREAD, HALF]), ticks)
    assert found.of_frames()["thermal"].to_list() == [MJ // 2, MJ // 4]
    assert silent(found).is_empty()


def test_a_purpose_of_a_silent_meter_goes_to_when_the_machine_ran_for_it() -> None:
    dhw: State = ("dhw", True, 6000.0, True)
    ticks = [gap(0, 20, 0.9, HEATING), gap(0, 20, 0.5, DHW)]
    found = energies(told_by_machine([RAN, HALF, dhw, RESTED]), ticks).of_frames()
    assert found["thermal"].to_list() == [round(kwh * MJ) for kwh in (0.6, 0.3, 0.5, 0.0)]
    late = energies(told_by_machine([RAN, HALF, RESTED]), [gap(0, 15, 0.3, HEATING), gap(0, 15, 0.9, DHW)]).of_frames()
    assert late["thermal"].to_list() == [round(kwh * MJ) for kwh in (0.8, 0.4, 0.0)], "better than by time"


def test_what_a_meter_counted_before_another_mode_was_seen_is_of_both_modes() -> None:
    dhw: State = ("dhw", True, 6000.0, True)
    five_minutes = [(at(5 * i), at(5 * i + 5), kwh) for i, kwh in enumerate((0.5, 0.4, 0.3))]
    whole = [tick(*step, source="meter", precedence=FIRST_OF_METERS) for step in five_minutes]
    found = energies(told_by_machine([dhw, dhw, RAN]), whole).of_frames()
    assert found["thermal"].to_list() == [round(kwh * MJ) for kwh in (0.5, 0.2, 0.5)]
    assert found["thermal_counter"].equals(found["thermal"].alias("thermal_counter"))
    residual = found["thermal_counter"] - found["thermal_integral"]
    assert found["thermal_residual"].equals(residual.alias("thermal_residual"))
    # A counter of a purpose counts nothing else, and what the machine counts is spread as it says itself.
    purposes = ((at(0), at(5), 0.5, DHW), (at(5), at(15), 0.4, DHW), (at(0), at(15), 0.3, HEATING))
    apart = [tick(*step, source="meter", precedence=FIRST_OF_METERS) for step in purposes]
    for ticks in (apart, [tick(*step) for step in five_minutes]):
        found = energies(told_by_machine([dhw, dhw, RAN]), ticks).of_frames()
        assert found["thermal"].to_list() == [round(kwh * MJ) for kwh in (0.5, 0.4, 0.3)]


def test_a_silence_while_cooling_is_shared_by_the_cold_that_the_machine_tells_of() -> None:
    cold: State = ("cooling", True, -4000.0, True)
    less: State = ("cooling", True, -2000.0, True)
    found = energies(told_by_machine([cold, less, RAN]), [gap(0, 15, 0.9, COOLING)]).of_frames()
    assert found["thermal"].to_list() == [-round(0.6 * MJ), -round(0.3 * MJ), MJ // 2], "what it heats it tells itself"


def test_a_meter_that_is_read_is_not_shared_by_the_machine_for_another_meters_silence() -> None:
    read = [tick(at(5 * i), at(5 * i + 5), 0.4, source="first", precedence=FIRST_OF_METERS - 1) for i in range(4)]
    found = energies(told_by_machine([RAN, HALF, RESTED, RAN]), [*read, gap(0, 20, 9.0)]).of_frames()
    assert found["thermal"].to_list() == [round(0.4 * MJ)] * 4
    assert set(found["thermal_way"]) == {BITS[METER_COUNTER]}
    assert found["thermal_open_end"].sum() == 0


def test_heat_of_a_meters_silence_is_net_as_the_meter_counts() -> None:
    rows = with_defrost(-4800.0, 0.0).with_columns(thermal_way=pl.lit("device power"))
    for net, kwh in ((METER_COUNTER, 0.9), (DEVICE_POWER, 0.5)):
        found = energies(rows, [gap(0, 15, 0.9)], net_counters=[net]).of_frames()
        assert found["thermal"].sum() == round(kwh * MJ)
        assert found["thermal_counter"].sum() == round(0.9 * MJ)


def test_a_silence_of_three_days_is_the_machines_as_no_day_knows_all_of_it() -> None:
    rows = told_by_machine([RAN] * 288 * 3)
    found = energies(rows, [gap(0, 48 * 60 + 5, 400.0)]).of_frames()
    assert set(found.filter(pl.col("end") <= at(48 * 60 + 5))["thermal"]) == {MJ // 2}
    whole = energies(rows, [gap(0, 48 * 60 - 5, 400.0)]).of_frames()
    assert whole.filter(pl.col("end") <= at(48 * 60 - 5))["thermal"].sum() == 400 * MJ


state = st.tuples(
    st.sampled_from(["standby", "heating", "dhw", "cooling", None]),
    st.sampled_from([True, False, None]),
    st.one_of(st.none(), st.floats(-3000, 9000)),
    st.sampled_from([True, True, True, False]),
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """Four days of stretches of one state, some of them silent for hours or a day, and counters that step at readings:
    a silence of the source that is longer than `session_gap` is a gap of the increment over it."""
    pattern = draw(st.lists(st.tuples(state, st.sampled_from([1, 3, 7, 40, 150, 400])), min_size=2, max_size=20))
    once = [one for one, count in pattern for _ in range(count)]
    states = [*([("standby", False, None, True), *once] * 1152)[:1151], ("standby", False, None, True)]
    rows = frames_of(states)
    reads = rows["start"].to_list()
    ticks = []
    for signal in sorted(draw(st.sets(st.sampled_from([TOTAL, HEATING, DHW]), min_size=1))):
        steps = draw(st.lists(st.sampled_from([1, 2, 5, 30, 200]), min_size=1, max_size=40))
        places = [0, *(place for place in accumulate(steps) if place < len(reads))]
        for before, now in pairwise(places):
            last = reads[now - 1]
            amount = draw(st.integers(1, 10**7)) / 1e6
            gap = reads[now] - last > SESSION_GAP
            ticks.append(tick(reads[before], reads[now], amount, signal, last_unchanged=last, over_gap=gap))
    return rows, ticks


@settings(max_examples=30, deadline=None)
@given(histories())
def test_what_is_counted_is_all_there_is(history: tuple[pl.DataFrame, list[dict[str, Any]]]) -> None:
    """Each counter alone: over frames and silences its increments, to the millijoule, and nowhere less than nothing."""
    rows, ticks = history
    for signal in {one["signal"] for one in ticks}:
        own = [{**one, "signal": TOTAL, "point": TOTAL} for one in ticks if one["signal"] == signal]
        found = energies(rows, own)
        frames, hidden = found.of_frames(), silent(found)
        assert frames["thermal_counter"].sum() + hidden["thermal"].sum() == sum(
            round(one["increment"] * MJ) for one in own
        )
        assert (frames["thermal_counter"].drop_nulls() >= 0).all() and (hidden["thermal"] >= 0).all()


@st.composite
def silences(draw: st.DrawFn) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """A history in which the machine tells of itself, by a power or a counter of any step or both, while a meter is now
    and then silent, for minutes or for all of two days, whatever else is read meanwhile. A house whose meter counts
    heating and hot water apart does not cool."""
    signals = draw(st.sampled_from([[TOTAL], [HEATING, DHW]]))
    pattern = draw(st.lists(st.tuples(state, st.sampled_from([1, 3, 7, 40, 120])), min_size=2, max_size=20))
    once = [
        ("heating", *one[1:]) if one[0] == "cooling" and signals != [TOTAL] else one
        for one, count in pattern
        for _ in range(count)
    ]
    states = [RESTED, *([*once] * 1152)[:1150], RESTED]
    always = [20, 556, 600, 1140]
    rows = told_by_machine([RESTED if place in always else one for place, one in enumerate(states)])
    reads, ticks = rows["start"].to_list(), []
    if draw(st.booleans()):
        steps = draw(st.lists(st.sampled_from([1, 2, 5, 30, 200]), min_size=1, max_size=40))
        for before, now in pairwise([0, *(place for place in accumulate(steps * 200) if place < len(reads))]):
            last = reads[now - 1]
            amount, over = draw(st.integers(0, 10**7)) / 1e6, reads[now] - last > SESSION_GAP
            ticks.append(tick(reads[before], reads[now], amount, last_unchanged=last, over_gap=over))
    quiet = draw(st.lists(st.tuples(st.sampled_from([1, 20, 100]), st.sampled_from([2, 8, 30, 150, 500])), min_size=1))
    own, place = [reads[0]], 0
    for heard, unheard in quiet * 200:
        own += reads[place + 1 : place + 1 + heard]
        place += heard + unheard
    own = sorted({*own, *(DAY + place * FRAME for place in always), reads[-1]})
    for signal in signals:
        for before, now in pairwise(own):
            amount = draw(st.integers(1, 10**4)) / 1e3 if now - before > FRAME else 0.05
            over = now - before > SESSION_GAP
            kind = "outage" if over else "step"
            ticks.append(
                tick(before, now, amount, signal, source="meter", precedence=FIRST_OF_METERS, over_gap=over, kind=kind)
            )
    return rows, ticks


@settings(max_examples=30, deadline=None)
@given(silences())
def test_whatever_the_machine_tells_of_its_silences_a_meter_has_the_sum(
    history: tuple[pl.DataFrame, list[dict[str, Any]]],
) -> None:
    """To the millijoule: of each counter alone, and of all that is chosen; and nowhere less than nothing."""
    rows, ticks = history
    found = energies(rows, ticks)
    frames, hidden = found.of_frames()[:-1], silent(found)
    counted = sum(round(one["increment"] * MJ) for one in ticks if one["source"] == "meter")
    assert frames["thermal_counter"].sum() + hidden["thermal"].sum() == counted
    assert frames["thermal"].equals(frames["thermal_counter"])
    assert (frames["thermal"] >= 0).all() and (hidden["thermal"] >= 0).all()
    assert frames["thermal_way"].null_count() == 0
    assert all(bits & BITS[METER_COUNTER] for bits in frames["thermal_way"].unique())


def test_what_a_counter_tells_around_a_hole_is_not_told_again_by_the_silence_of_another() -> None:
    """The first has a reading on either side, and its 3 kWh are those of the frames that ran; the second counted 2 kWh
    over 23 minutes of its own silence, by time 1.3 of them where there are no frames."""
    read = [tick(at(0), at(30), 3.0)]
    second = {"source": "other", "precedence": 1, "over_gap": True, "last_unchanged": at(5), "kind": "outage"}
    found = energies(frames_of([RAN, RAN, UNREAD, UNREAD, UNREAD, RAN]), [*read, tick(at(5), at(28), 2.0, **second)])
    assert found.of_frames()["thermal"].to_list() == [MJ, MJ, MJ]
    assert silent(found)["thermal"].to_list() == [0, 0]


def test_a_meter_that_stood_still_over_a_hole_comes_before_what_the_machine_counted_over_it() -> None:
    still = [gap(-60, 0, 1.0), gap(60, 120, 1.0)]
    own = tick(at(10), at(25), 0.4, last_unchanged=at(10), over_gap=True, kind="outage")
    found = energies(told_by_machine([RAN, RAN, UNREAD, UNREAD, UNREAD, RAN]), [*still, own])
    assert found.of_frames()["thermal"].to_list() == [0, 0, 0]
    assert silent(found, DAY, at(30))["thermal"].to_list() == [0, 0]
    assert set(silent(found, DAY, at(30))["thermal_way"]) == {BITS[METER_COUNTER]}


def counter_of(
    truth: Sequence[int], reads: Sequence[int], step: int, **whose: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of `counters` and of `counter_states` (with their `day`) of a counter that is read at some of the frames
    and shows whole steps (Wh) of what was used up to each of them."""
    who = {"signal": TOTAL, "source": "device", "precedence": 0, **whose}
    ticks, since = [], reads[0]
    for before, now in pairwise(reads):
        if counted := truth[now] // step - truth[before] // step:
            over = (now - before) * FRAME > SESSION_GAP
            last, kind = at(5 * before), "outage" if over else "step"
            row = tick(at(5 * since), at(5 * now), counted * step / 1000, last_unchanged=last, over_gap=over, kind=kind)
            ticks.append({**row, **who, "point": who["signal"]})
            since = now
    stood = []
    for number in range(-1, 5):
        read = [one for one in reads if one < 288 * (number + 1)]
        if read:
            day = (DAY + timedelta(days=number)).date()
            time = at(5 * read[-1])
            since_then = max((one["end"] for one in ticks if one["end"] <= time), default=at(5 * reads[0]))
            moments = {"since": since_then, "time": time, "day": day}
            stood.append({**who, "point": who["signal"], **moments})
    return ticks, stood


BEHIND: Sequence[tuple[dict[str, Any], dict[str, Any]]] = (
    ({}, {"source": "other", "precedence": 1}),
    ({}, {"source": "other", "signal": HEATING}),
    ({"source": "meter", "precedence": FIRST_OF_METERS}, {}),
    ({"source": "meter", "precedence": FIRST_OF_METERS}, {"source": "other", "precedence": FIRST_OF_METERS + 1}),
)
"""Two counters of the same heat, of which the second comes behind the first."""


@st.composite
def twins(draw: st.DrawFn) -> tuple[list[int], pl.DataFrame, list[dict[str, Any]], list[dict[str, Any]]]:
    """Four days of what was given (Wh, up to each frame), and two counters of it, each with its own step, that are read
    by themselves and are now and then silent, for minutes or for a day, the second for days too; there are frames where
    one of them is read."""
    pattern = draw(st.lists(st.tuples(st.sampled_from([0, 0, 7, 90, 500]), st.integers(1, 150)), min_size=1))
    given_wh = ([wh for wh, count in pattern for _ in range(count)] * 1152)[:1151]
    truth = [0, *accumulate(given_wh)]
    untold = draw(st.sampled_from([1, 7, 1152]))
    ticks, stood, read = [], [], set()
    for whose, longest in zip(draw(st.sampled_from(BEHIND)), (280, 700), strict=True):
        quiet = draw(st.lists(st.tuples(st.integers(1, 60), st.sampled_from([1, 2, 4, 8, 60, longest])), min_size=1))
        own, place = [0], 0
        for heard, unheard in quiet * 600:
            own += range(place + 1, place + 1 + heard)
            place += heard + unheard
        reads = [*(one for one in own if one < 1151), 1151]
        rows, days = counter_of(truth, reads, draw(st.sampled_from([1, 100, 1000, 20_000])), **whose)
        ticks, stood, read = [*ticks, *rows], [*stood, *days], {*read, *reads}
    states: list[State] = [
        ("heating" if wh else "standby", wh > 0, 12.0 * wh if place % untold else None, place in read)
        for place, wh in enumerate([*given_wh, 0])
    ]
    return truth, told_by_machine(states), ticks, stood


def states_of(stood: Sequence[dict[str, Any]]) -> pl.DataFrame:
    days = pl.DataFrame({"day": [row["day"] for row in stood]}, schema={"day": pl.Date()})
    return conform(pl.DataFrame(stood), "counter_states").with_columns(days["day"])


@settings(max_examples=60, deadline=None)
@given(twins())
def test_of_two_counters_of_the_same_each_with_silences_of_its_own_the_first_has_the_sum(
    history: tuple[list[int], pl.DataFrame, list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    """To the millijoule what the first counted, and so never more than was given, whatever the second counted over its
    silences meanwhile."""
    truth, rows, ticks, stood = history
    found = energies(rows, ticks, states_of(stood), step_kwh=20.0)
    frames, hidden = found.of_frames()[:-1], silent(found)
    first = min(stood, key=lambda one: (one["precedence"], one["signal"] != TOTAL))
    own = [one for one in ticks if all(one[name] == first[name] for name in ("source", "signal", "precedence"))]
    assert frames["thermal"].equals(frames["thermal_counter"])
    assert frames["thermal"].sum() + hidden["thermal"].sum() == sum(round(one["increment"] * MJ) for one in own)
    assert frames["thermal"].sum() + hidden["thermal"].sum() <= truth[-1] * MJ // 1000
    assert (frames["thermal"] >= 0).all() and (hidden["thermal"] >= 0).all()


@st.composite
def falls(draw: st.DrawFn) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """A history in which counters fall back over some of their silences."""
    rows, ticks = draw(st.one_of(histories(), silences()))
    fell = draw(st.lists(st.booleans(), min_size=1, max_size=12))
    return rows, [
        {**one, "increment": 0.0, "kind": "rollback"} if one["over_gap"] and fell[place % len(fell)] else one
        for place, one in enumerate(ticks)
    ]


@settings(max_examples=30, deadline=None)
@given(st.one_of(histories(), silences(), falls()), st.randoms(use_true_random=False))
def test_a_day_alone_is_the_day_among_many(history: tuple[pl.DataFrame, list[dict[str, Any]]], random: Random) -> None:
    """From the frames of the days beside it, and the counters of these and of those after it up to the next frames:
    neither how many days are done at once, nor the order of rows, nor what came later changes a day."""
    rows, ticks = history
    shuffled = random.sample(ticks, len(ticks))
    for number in range(4):
        assert_alone_as_among_many(rows, ticks, shuffled, number)


def assert_alone_as_among_many(
    rows: pl.DataFrame,
    ticks: Sequence[dict[str, Any]],
    shuffled: Sequence[dict[str, Any]],
    number: int,
    states: pl.DataFrame | None = None,
) -> None:
    states = read_through(ticks) if states is None else states
    whole = energies(rows, ticks, states)
    framed = sorted(set(rows["start"].dt.date()))
    start = DAY + timedelta(days=number)
    end = start + timedelta(days=1)
    near = rows.filter(pl.col("start") >= start - timedelta(days=1), pl.col("start") < end + timedelta(days=1))
    behind = next((day for day in framed if day > start.date()), date.max)
    days = {start.date() - timedelta(days=1), start.date(), end.date(), behind}
    reached = [one for one in shuffled if one["end"].date() in days]
    beside = [start.date() + timedelta(days=i) for i in (-1, 0, 1)]
    alone = energies(near, reached, states.filter(pl.col("day").is_in(beside)))
    own = pl.col("start") >= start, pl.col("start") < end
    assert alone.of_frames().filter(*own).equals(whole.of_frames().filter(*own))
    assert silent(alone, start, end).equals(silent(whole, start, end))
    assert alone.freezes("hp").filter(*own).equals(whole.freezes("hp").filter(*own))


@settings(max_examples=20, deadline=None)
@given(twins(), st.integers(0, 3))
def test_a_day_alone_is_the_day_among_many_with_two_counters_of_the_same(
    history: tuple[list[int], pl.DataFrame, list[dict[str, Any]], list[dict[str, Any]]], number: int
) -> None:
    _, rows, ticks, stood = history
    assert_alone_as_among_many(rows, ticks, ticks[::-1], number, states_of(stood))


@pytest.mark.parametrize("number", range(4))
def test_a_silence_of_nearly_two_days_is_shared_alike_by_both(number: int) -> None:
    """The machine's coarse counter steps from the day before into it, and out of it into the day behind: what of that
    is beyond the two days, one of them alone cannot know."""
    rows = told_by_machine([("heating", place % 50 < 30, None, True) for place in range(1152)])
    hours = (0, 22, 28, 35, 40, 46, 51, 60, 68, 74, 80, 96)
    own = [tick(at(60 * a), at(60 * b), 1.0 + b % 5) for a, b in pairwise(hours)]
    read = [gap(5 * i, 5 * i + 5, 0.1, over_gap=False) for i in range(1151) if not 25 * 12 <= i < 70 * 12]
    ticks = [*own, *read, gap(25 * 60, 70 * 60, 40.0)]
    found = energies(rows, ticks).of_frames()
    assert found["thermal"][25 * 12 : 70 * 12].sum() == 40 * MJ
    assert_alone_as_among_many(rows, ticks, ticks[::-1], number)


@settings(max_examples=20, deadline=None)
@given(st.one_of(histories(), silences(), falls()))
def test_days_sum_to_the_whole(history: tuple[pl.DataFrame, list[dict[str, Any]]]) -> None:
    """A silence over midnight is cut there, and nothing of it is lost or doubled."""
    rows, ticks = history
    found = energies(rows, ticks)
    days = [silent(found, DAY + timedelta(days=i), DAY + timedelta(days=i + 1)) for i in range(4)]
    assert pl.concat(days).equals(silent(found))


@pytest.mark.parametrize("late", [0, 3, 11])
def test_a_late_step_changes_only_the_time_it_is_about(late: int) -> None:
    rows = frames_of([("heating", True, 3000.0 + 10 * i, True) for i in range(144)])
    ticks = [tick(at(60 * i), at(60 * (i + 1)), 3.0) for i in range(12)]
    without = energies(rows, [one for i, one in enumerate(ticks) if i != late], read_through(ticks)).of_frames()
    whole = energies(rows, ticks).of_frames()
    changed = whole.filter(whole["thermal"].ne_missing(without["thermal"]))["start"]
    assert changed.min() == at(60 * late) and changed.max() == at(60 * (late + 1)) - FRAME

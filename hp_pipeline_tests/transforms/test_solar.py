"""The balance of a tank: exact, independent of order and cuts, near the truth, unmoved by noise, silent over gaps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.lake.encoding import encode
from hp_pipeline.transforms import tank_balance, tank_frames
from hp_pipeline.transforms.calendar import day_start
from hp_pipeline.transforms.decode import Decoded
from hp_pipeline.transforms.floors import Known
from hp_pipeline.transforms.schema import UTC as UTC_TIME
from hp_pipeline.transforms.schema import conform
from hp_pipeline.transforms.solar import (
    HOUSE_DURATIONS,
    HOUSE_ENERGIES,
    house_by_calendar,
    house_hourly,
    solar_by_calendar,
    solar_hourly,
)
from hp_pipeline.transforms.tank_balance import ENERGIES
from hp_pipeline.transforms.tank_heat import ChargingHeatPump
from hp_pipeline.vocabulary.rules import SolarRules
from hp_pipeline_tests.transforms.solar_readings import PROFILE, RULES, START, framed, heard, readings, truth

DAY = timedelta(days=1)
SLACK = timedelta(minutes=20)
CAME = ("solar_kwh", "immersion_kwh", "pellet_kwh", "heat_pump_kwh", "unexplained_kwh")
WENT = ("stored_change_kwh", "draw_kwh", "standby_loss_kwh")


def whole(kwh: float | None) -> int:
    """Millijoules."""
    return round((kwh or 0) * 3.6e9)


def imbalance(row: Mapping[str, Any]) -> int:
    return sum(whole(row[name]) for name in CAME) - sum(whole(row[name]) for name in WENT)


def day_of(frames: pl.DataFrame, first: datetime, rules: SolarRules = RULES, zone: str = "UTC") -> dict[str, Any]:
    hours = solar_hourly(frames, first, first + DAY, zone, rules, Known())
    return solar_by_calendar(hours, "daily", [first.date()], zone, rules, Known()).row(0, named=True)


@pytest.mark.parametrize(
    ("number", "every_s", "noise_k", "solar_share", "immersion_kwh", "pellet_kwh"),
    [
        (5, 10, 0.0, 0.05, 0.02, 0.4),
        (1, 30, 0.05, 0.05, 0.05, 0.4),
        (5, 60, 0.1, 0.06, 0.1, 0.4),
        (1, 60, 0.0, 0.06, 0.1, 0.4),
        (1, 300, 0.05, 0.15, 0.4, 0.5),
        (5, 300, 0.05, 0.15, 0.4, 0.5),
    ],
)
def test_the_energies_of_a_day_are_near_the_truth(
    number: int, every_s: int, noise_k: float, solar_share: float, immersion_kwh: float, pellet_kwh: float
) -> None:
    first = START + number * DAY
    every = timedelta(seconds=every_s)
    told = readings(first - SLACK, first + DAY + SLACK, every, noise_k=noise_k, jitter_s=every_s / 10)
    row, true = day_of(framed(told, first, first + DAY), first), truth(first, first + DAY)
    assert row["coverage"] == 1
    assert imbalance(row) == 0
    assert row["solar_kwh"] == pytest.approx(true["solar"], rel=solar_share)
    assert row["immersion_kwh"] == pytest.approx(true["immersion"], abs=immersion_kwh)
    assert row["pellet_kwh"] == pytest.approx(true["pellet"], abs=pellet_kwh)
    assert row["standby_loss_kwh"] == pytest.approx(true["lost"], rel=0.02)
    # Where a draw and a gain meet between two readings, each hides the other.
    assert row["draw_kwh"] == pytest.approx(true["drawn"], rel=0.06 if every_s < 300 else 0.1)
    assert abs(row["unexplained_kwh"]) < 0.05 * true["drawn"]


@pytest.mark.parametrize("with_status", [True, False])
def test_the_topics_and_the_status_of_the_device_are_one_tank(with_status: bool) -> None:
    """The same values come twice, at two times, as its clock is ahead: that neither doubles nor hides anything. Without
    the status a switch is told only when it changes, hours before it matters."""
    first = START + DAY
    told = heard(first - SLACK, first + DAY + SLACK, timedelta(seconds=7))
    if not with_status:
        told = told.filter(~pl.col("point").str.starts_with("solar_heating_v3"))
    row, true = day_of(framed(told, first, first + DAY), first), truth(first, first + DAY)
    assert row["coverage"] == 1
    assert imbalance(row) == 0
    assert row["solar_kwh"] == pytest.approx(true["solar"], rel=0.15)
    assert row["immersion_kwh"] == pytest.approx(true["immersion"], abs=0.4)
    assert row["pellet_kwh"] == pytest.approx(true["pellet"], abs=0.5)
    assert row["device_solar_kwh"] == pytest.approx(true["solar"], rel=0.02)


def test_an_outage_is_not_bridged_and_shows_as_coverage() -> None:
    first = START + 2 * DAY
    begin, end = first + timedelta(hours=10, minutes=7), first + timedelta(hours=12, minutes=31)
    told = readings(first - SLACK, first + DAY + SLACK, timedelta(minutes=1), is_lost=lambda at: begin < at < end)
    frames = framed(told, first, first + DAY)
    hours = solar_hourly(frames, first, first + DAY, "UTC", RULES, Known())
    covered = dict(hours.select(pl.col("start").dt.hour(), "covered_s").iter_rows())
    assert {hour: seconds for hour, seconds in covered.items() if seconds != 3600} == {10: 420.0, 12: 1740.0}
    assert set(range(24)) - set(covered) == {11}  # nothing is said of an hour of which nothing is known
    row = day_of(frames, first)
    assert row["coverage"] == pytest.approx(1 - 8640 / 86400)
    assert imbalance(row) == 0
    known = [truth(first, begin.replace(second=0)), truth(end, first + DAY)]
    assert row["solar_kwh"] == pytest.approx(sum(part["solar"] for part in known), rel=0.06)
    assert row["solar_kwh"] < 0.9 * truth(first, first + DAY)["solar"]


def test_a_layer_that_is_lost_and_comes_back_gives_no_energy() -> None:
    first = START + DAY
    told = readings(first, first + timedelta(hours=4), timedelta(seconds=30))
    is_fourth = pl.col("point").str.ends_with("rtd_sensor_3")
    is_lost = pl.col("time").is_between(first + timedelta(minutes=62), first + timedelta(hours=2))
    lost = told.with_columns(pl.when(is_fourth & is_lost).then(0.0).otherwise("value").alias("value"))
    with_all, without = (framed(rows, first, first + DAY) for rows in (told, lost))
    hours = [solar_hourly(frames, first, first + DAY, "UTC", RULES, Known()) for frames in (with_all, without)]
    assert hours[1]["covered_s"].to_list()[1] < 180
    for name in ("unexplained_kwh", "draw_kwh", "stored_change_kwh"):
        others = [rows.filter(pl.col("start").dt.hour().is_in([0, 3]))[name].to_list() for rows in hours]
        assert others[0] == others[1]
    assert abs(hours[1]["unexplained_kwh"].drop_nulls()).sum() < 0.1
    # It is lost to what came in, not to the times at which the stove and the relays were told.
    assert without.filter(pl.col("stored_energy_end_kwh").is_null()).height > 100


def decoded(
    layers: int, times: list[datetime], values: list[list[float]], states: Mapping[str, list[float]]
) -> Decoded:
    layered = {
        f"tank_layer_{index + 1}_temperature": pl.DataFrame(
            {"time": times, "value": [row[index] for row in values]}, schema=dict(DECODED)
        )
        for index in range(layers)
    }
    for name, told in states.items():
        layered[name] = pl.DataFrame({"time": times, "value": told}, schema=dict(DECODED))
    return Decoded(signals=layered, times=pl.Series("time", times, UTC_TIME))


DECODED = {"time": UTC_TIME, "value": pl.Float64()}
SMALL = SolarRules(
    litres=200.0, shares=(0.25, 0.75), loss_w_per_k=1.7, immersion_kw=2.0, pellet_kw=5.0, water_share=0.6
)
FIRST = datetime(2026, 10, 24, tzinfo=UTC)


@st.composite
def histories(draw: st.DrawFn) -> Decoded:
    """Two days over the end of summer time: readings at any moment, any temperatures, any states."""
    random = Random(draw(st.integers(0, 2**32)))
    typical = draw(st.sampled_from([40, 250, 580, 1500]))
    until = draw(st.sampled_from([3 * 3600, 30 * 3600, 48 * 3600]))
    times, moment = [], 0.0
    while moment < until:
        times.append(FIRST + timedelta(microseconds=round(moment * 1e6)))
        moment += random.choice([1, 1, 1, 4]) * random.uniform(0.2, 1.2) * typical
    walk, values = [30.0, 60.0], []
    for _ in times:
        walk = [min(95.0, max(5.0, level + random.gauss(0, 0.8))) for level in walk]
        values.append([round(level, 2) for level in walk])
    names = ("solar_pump", "immersion_heater_on", "pellet_stove_on")
    states = {name: [float(random.random() < 0.5) for _ in times] for name in names}
    states["solar_collector_temperature"] = [random.uniform(0, 150) for _ in times]
    states["solar_energy_today"] = [random.uniform(0, 9) for _ in times]
    return decoded(2, times, values, states)


@given(told=histories(), zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]))
@settings(max_examples=25, deadline=None)
def test_the_balance_is_exact_however_it_is_cut(told: Decoded, zone: str) -> None:
    end = FIRST + 2 * DAY
    frames = tank_frames.solar_frames(told, {}, "sun", FIRST, end, SMALL)
    # By day, each without the other, it is the same to the last bit.
    parts = [tank_frames.solar_frames(told, {}, "sun", FIRST + i * DAY, FIRST + (i + 1) * DAY, SMALL) for i in (0, 1)]
    assert pl.concat(parts).equals(frames)
    hours = solar_hourly(frames, FIRST - DAY, end, zone, SMALL, Known())
    assert [imbalance(row) for row in hours.iter_rows(named=True)] == [0] * hours.height
    assert (hours["covered_s"] <= 3600).all()
    for name in ("solar_kwh", "immersion_kwh", "pellet_kwh", "draw_kwh"):
        assert (hours[name].fill_null(0) >= 0).all()
    # An hour made alone has the same digits, also where ratios are of no round time.
    partly = hours.filter(pl.col("covered_s").is_between(1, 3599)).head(4)
    for begin, end_of_it in partly.select("start", "end").iter_rows():
        own = frames.filter(pl.col("start") >= begin, pl.col("start") < end_of_it)
        alone = solar_hourly(own, begin, end_of_it, zone, SMALL, Known())
        assert encode(alone, {}) == encode(hours.filter(pl.col("start") == begin), {})
    # Telescopes: over stretches without a gap the sum of changes is the difference of the levels at their ends.
    known = frames.filter(pl.col("stored_energy_end_kwh").is_not_null())
    breaks = (known["start"] != known["end"].shift(1)).fill_null(True)
    ends = (
        known.with_columns(run=breaks.cum_sum())
        .group_by("run")
        .agg(pl.col("stored_energy_start_kwh").first(), pl.col("stored_energy_end_kwh").last())
    )
    change = sum(whole(b) - whole(a) for a, b in ends.drop("run").iter_rows())
    assert sum(whole(value) for value in hours["stored_change_kwh"]) == change
    # Days are the sum of their hours to the last bit, and a local day may have 25 of them.
    days = [FIRST.date() + timedelta(days=i) for i in (-1, 0, 1, 2)]
    daily = solar_by_calendar(hours, "daily", days, zone, SMALL, Known())
    monthly = solar_by_calendar(daily, "monthly", [date(2026, 10, 1)], zone, SMALL, Known())
    for name in ENERGIES:
        total = sum(whole(value) for value in hours[name])
        assert sum(whole(value) for value in daily[name]) == total
        assert sum(whole(value) for value in monthly[name]) == total
    if zone == "Europe/Berlin" and daily.height > 1:
        lengths = dict(daily.select("period", (pl.col("end") - pl.col("start")).dt.total_hours()).iter_rows())
        assert lengths.get("2026-10-25", 25) == 25


@given(told=histories(), lost=st.tuples(st.integers(0, 48), st.integers(1, 48)), layer=st.sampled_from([1, 2]))
@settings(max_examples=25, deadline=None)
def test_what_drivers_did_does_not_depend_on_the_layers(told: Decoded, lost: tuple[int, int], layer: int) -> None:
    """A sensor in the tank that is silent takes nothing from the electricity of the immersion heater."""
    begin = FIRST + timedelta(hours=lost[0])
    name = f"tank_layer_{layer}_temperature"
    is_lost = pl.col("time").is_between(begin, begin + timedelta(hours=lost[1]))
    dead = Decoded(signals={**told.signals, name: told.signals[name].filter(~is_lost)}, times=told.times)
    frames, rows = [], []
    for one in (told, dead):
        frames.append(tank_frames.solar_frames(one, {}, "sun", FIRST, FIRST + 2 * DAY, SMALL))
        hours = solar_hourly(frames[-1], FIRST, FIRST + 2 * DAY, "UTC", SMALL, Known())
        rows.append(hours.filter(pl.col("immersion_known_s") > 0))
        assert (hours["immersion_electrical_kwh"].is_null() == (hours["immersion_known_s"] == 0)).all()
        assert (hours["immersion_kwh"].fill_null(0) <= hours["immersion_electrical_kwh"].fill_null(0)).all()
    of_drivers = ["start", "immersion_known_s", "pump_s", "immersion_s", "pellet_s", "stagnation_s", "pump_starts"]
    assert rows[1][of_drivers].equals(rows[0][of_drivers])
    assert rows[1]["immersion_electrical_kwh"].to_list() == pytest.approx(
        rows[0]["immersion_electrical_kwh"].to_list(), abs=1e-6
    )
    span = (pl.col("end") - pl.col("start")).dt.total_microseconds()
    told_us = frames[1].filter(pl.col("immersion_heater_power").is_not_null()).select(span.sum()).item()
    assert round(rows[1]["immersion_known_s"].sum() * 1e6) == told_us


@given(
    rests=st.lists(st.integers(-120, 120), min_size=1, max_size=60),
    borders=st.lists(st.integers(1, 59), max_size=3),
    band=st.integers(30, 200),
)
def test_a_leg_goes_one_way_and_never_back_by_the_dead_band(rests: list[int], borders: list[int], band: int) -> None:
    runs = [sum(place >= border for border in borders) for place in range(len(rests))]
    legs = tank_balance._legs(runs, rests, [band] * len(rests))
    assert len(legs) == len(rests)
    moves: dict[int, list[int]] = {}
    for leg, run, rest in zip(legs, runs, rests, strict=True):
        moves.setdefault(leg, []).append(rest)
        assert {other for number, other in zip(legs, runs, strict=True) if number == leg} == {run}
    assert legs == sorted(legs)
    for path in moves.values():
        moved, level, high, low = sum(path), 0, 0, 0
        for rest in path:
            level += rest
            high, low = max(high, level), min(low, level)
            if moved >= band:
                assert high - level < band
            elif moved <= -band:
                assert level - low < band
        if abs(moved) < band:
            assert high - low < 2 * band


def test_noise_does_not_ratchet() -> None:
    random = Random(4)
    times = [FIRST + timedelta(seconds=30 * i) for i in range(2880 + 2)]
    for sigma in (0.02, 0.05, 0.1):
        values = [[60 + random.gauss(0, sigma) for _ in range(8)] for _ in times]
        told = decoded(8, times, values, {name: [0.0] * len(times) for name in ("solar_pump", "immersion_heater_on")})
        rules = SolarRules(litres=320.0, shares=(1 / 8,) * 8)
        row = day_of(tank_frames.solar_frames(told, {}, "sun", FIRST, FIRST + DAY, rules), FIRST, rules)
        assert row["legacy_pellet_kwh"] > 4  # kWh that were never there
        assert (row["solar_kwh"], row["draw_kwh"], row["pellet_kwh"]) == (0, 0, None)
        assert abs(row["unexplained_kwh"]) < 0.05


def straight(
    hours: float, layers: list[tuple[float, float]], every_s: int = 60
) -> tuple[list[datetime], list[list[float]]]:
    """Layers that go straight from one temperature to another."""
    count = round(hours * 3600 / every_s)
    times = [FIRST + timedelta(seconds=every_s * i) for i in range(count + 1)]
    return times, [[a + (b - a) * i / count for a, b in layers] for i in range(count + 1)]


def test_levels_layers_and_losses() -> None:
    # 160 l at 70 °C over 160 l that cool from 30 to 29 °C in ten hours, nothing on.
    rules = SolarRules(litres=320.0, shares=(0.5, 0.5), height_m=2.0, area_m2=8.0)
    times, values = straight(10, [(30.0, 29.0), (70.0, 70.0)])
    off = dict.fromkeys(("solar_pump", "immersion_heater_on", "pellet_stove_on"), [0.0] * len(times))
    told = decoded(2, times, values, {**off, "solar_collector_temperature": [130.0] * len(times)})
    row = day_of(tank_frames.solar_frames(told, {}, "sun", FIRST, FIRST + DAY, rules), FIRST, rules)
    kwh_per_k = 160 * 4186.8 / 3.6e6
    assert row["stored_energy_first"] == pytest.approx(kwh_per_k * (20 + 60))
    assert row["stored_change_kwh"] == pytest.approx(-kwh_per_k)
    assert row["usable_litres_max"] == pytest.approx(160 * 60 / 30)
    assert row["stratification_k"] == pytest.approx(40.5, rel=1e-4)
    assert row["stratification_k_per_m"] == pytest.approx(20.25, rel=1e-4)
    assert row["stagnation_s"] == row["covered_s"] == row["idle_s"] == 36000
    assert row["standby_loss_w_per_k"] == pytest.approx(kwh_per_k * 1000 / 10 / 29.75)
    assert row["stored_energy_rate_kw"] == pytest.approx(-kwh_per_k / 10)
    assert row["solar_kwh_per_m2"] == 0


MINUTE = {
    name: replace(PROFILE.mappings[name], max_age=timedelta(minutes=1))
    for name in ("immersion_heater_on", "pellet_stove_on")
}
"""Heaters that are known no longer than a minute after they were told."""

MAX_AGE = {name: PROFILE.mappings[name].max_age for name in ("solar_pump", "immersion_heater_on", "pellet_stove_on")}


@st.composite
def told_rarely(draw: st.DrawFn) -> tuple[Decoded, SolarRules]:
    """Five days in which states are told on their own, when they change or long after, at midnight, too."""
    random = Random(draw(st.integers(0, 2**32)))
    until = FIRST + 5 * DAY
    times, moment, walk, values = [], FIRST - DAY / 2, [30.0, 60.0], []
    while moment < until:
        times.append(moment)
        walk = [min(95.0, max(5.0, level + random.gauss(0, 0.5))) for level in walk]
        values.append([round(level, 1) for level in walk])
        moment += timedelta(seconds=random.choice([20, 60, 290, 290, 900, 4000]))
        if random.random() < 0.003:
            moment += random.uniform(0.2, 2) * DAY
    series = dict(decoded(2, times, values, {"solar_collector_temperature": [80.0] * len(times)}).signals)
    for name, max_age in MAX_AGE.items():
        changes, moment, on = [], FIRST - DAY / 2, 0.0
        while moment < until:
            changes.append((moment, on))
            on = random.choice([on, 1 - on])
            moment += random.choice([timedelta(minutes=random.randint(1, 400)), max_age * random.uniform(0.1, 2.2)])
            if random.random() < 0.3:
                moment = (moment + DAY / 2).replace(hour=0, minute=0, second=0, microsecond=0)
        series[name] = pl.DataFrame(changes, schema=dict(DECODED), orient="row").unique("time").sort("time")
    every = pl.concat([one["time"] for one in series.values()]).unique().sort()
    rules = replace(SMALL, frame_interval=timedelta(seconds=draw(st.sampled_from([10, 36, 75, 225, 300]))))
    return Decoded(signals=series, times=every), rules


def _loaded(told: Decoded, start: datetime, end: datetime, rules: SolarRules) -> Decoded:
    """What of it is read for some days: from the oldest that may be held to the newest that matters."""
    first = start - max(-(-max(MAX_AGE.values()) // DAY), 1) * DAY
    within = pl.col("time").is_between(first, end + rules.max_gap + timedelta(seconds=1))
    series = {name: one.filter(within) for name, one in told.signals.items()}
    return Decoded(signals=series, times=told.times.to_frame("time").filter(within)["time"])


@given(made=told_rarely(), borders=st.sets(st.integers(1, 4)), zone=st.sampled_from(["UTC", "Asia/Kolkata"]))
@settings(max_examples=40, deadline=None)
def test_any_batches_of_days_end_in_the_same_bytes(
    made: tuple[Decoded, SolarRules], borders: set[int], zone: str
) -> None:
    told, rules = made
    parts, hours = [], []
    for first, last in pairwise([0, *sorted(borders), 5]):
        start, end = FIRST + first * DAY, FIRST + last * DAY
        parts.append(
            tank_frames.solar_frames(_loaded(told, start, end, rules), PROFILE.mappings, "sun", start, end, rules)
        )
    frames = tank_frames.solar_frames(told, PROFILE.mappings, "sun", FIRST, FIRST + 5 * DAY, rules)
    assert encode(pl.concat(parts), {}) == encode(frames, {})
    for first, last in pairwise([0, *sorted(borders), 5]):
        start, end = FIRST + first * DAY, FIRST + last * DAY
        own = frames.filter(pl.col("start") >= start, pl.col("start") < end + timedelta(hours=1))
        hours.append(solar_hourly(own, start, end, zone, rules, Known()))
    at_once = solar_hourly(frames, FIRST, FIRST + 5 * DAY, zone, rules, Known())
    assert encode(pl.concat(hours), {}) == encode(at_once, {})


def test_a_state_told_again_after_its_maximum_age_is_as_new() -> None:
    """Days later, the day before is not looked at for it: it makes the same frames with or without."""
    times = [FIRST + timedelta(seconds=20 * i) for i in range(4 * 4320)]
    whole = decoded(2, times, [[30.0, 60.0]] * len(times), {})
    pump = pl.DataFrame(
        [(FIRST + timedelta(seconds=30), 0.0), (FIRST + 3.5 * DAY + timedelta(seconds=30), 0.0)],
        schema=dict(DECODED),
        orient="row",
    )
    told = Decoded(signals={**whole.signals, "solar_pump": pump}, times=whole.times)
    rules = replace(SMALL, frame_interval=timedelta(minutes=1))
    start, end = FIRST + 3 * DAY, FIRST + 4 * DAY
    alone = tank_frames.solar_frames(_loaded(told, start, end, rules), PROFILE.mappings, "sun", start, end, rules)
    at_once = tank_frames.solar_frames(told, PROFILE.mappings, "sun", FIRST, end, rules)
    assert at_once.filter(pl.col("start") >= start).equals(alone)


def test_a_pump_that_starts_at_midnight_has_started_once() -> None:
    times = [FIRST + timedelta(minutes=5 * i) for i in range(2 * 288)]
    pump = [1.0 if 288 <= i < 300 else 0.0 for i in range(len(times))]
    states = {"solar_pump": pump, "solar_collector_temperature": [80.0] * len(times)}
    told = decoded(2, times, [[30.0 + 0.01 * i, 60.0] for i in range(len(times))], states)
    frames = tank_frames.solar_frames(told, {}, "sun", FIRST, FIRST + 2 * DAY, SMALL)
    days = [
        solar_hourly(frames.filter(pl.col("start").dt.date() == day.date()), day, day + DAY, "UTC", SMALL, Known())
        for day in (FIRST, FIRST + DAY)
    ]
    assert [hours["pump_starts"].sum() for hours in days] == [1, 0]


@pytest.mark.parametrize("meter", ["heat meter", "flow"])
def test_metered_solar_heat_is_not_guessed(meter: str) -> None:
    """Metered 2 kW while the tank gains 1 kW: the other is drawn, where a level alone shows a gain of 1 kW."""
    rules = SolarRules(litres=320.0, shares=(1.0,))
    gain = 1 / (320 * 4186.8 / 3.6e6)
    times, values = straight(4, [(40.0, 40 + 4 * gain)])
    count = len(times)
    by_flow = {"flow_rate": [2000 / (25 * 4186.8 / 3600)] * count, "solar_return_temperature": [60.0] * count}
    states = {"solar_pump": [1.0] * count, "solar_collector_temperature": [85.0] * count}
    states |= {"thermal_power": [2000.0] * count} if meter == "heat meter" else by_flow
    row = day_of(
        tank_frames.solar_frames(decoded(1, times, values, states), {}, "sun", FIRST, FIRST + DAY, rules), FIRST, rules
    )
    assert row["solar_kwh"] == pytest.approx(8, abs=1e-6)
    assert row["draw_kwh"] == pytest.approx(4, abs=1e-6)
    only = {name: told for name, told in states.items() if name in {"solar_pump", "solar_collector_temperature"}}
    row = day_of(
        tank_frames.solar_frames(decoded(1, times, values, only), {}, "sun", FIRST, FIRST + DAY, rules), FIRST, rules
    )
    assert row["solar_kwh"] == pytest.approx(4, abs=1e-6)
    cold = {**only, "solar_collector_temperature": [20.0] * count}
    row = day_of(
        tank_frames.solar_frames(decoded(1, times, values, cold), {}, "sun", FIRST, FIRST + DAY, rules), FIRST, rules
    )
    assert (row["solar_kwh"], row["unexplained_kwh"]) == (0, pytest.approx(4, abs=1e-6))


def test_the_device_reckons_beside_it() -> None:
    """Its counter is begun anew at the house's midnight, and falls back a little once."""
    rules = SolarRules(litres=320.0, shares=(1.0,))
    times, values = straight(4, [(40.0, 40.0)], 300)
    told = [8.0, 8.2, 8.1, 8.4, *[0.1 * i for i in range(len(times) - 4)]]
    frames = tank_frames.solar_frames(
        decoded(1, times, values, {"solar_energy_today": told}), {}, "sun", FIRST, FIRST + DAY, rules
    )
    row = day_of(frames, FIRST, rules)
    assert row["device_solar_kwh"] == pytest.approx(0.2 + 0.3 + told[-1])
    assert row["solar_difference_kwh"] == pytest.approx(row["device_solar_kwh"])
    assert row["device_pellet_kwh"] is row["pellet_difference_kwh"] is None


def hours_of_a_heat_pump(dhw: list[float | None]) -> pl.DataFrame:
    starts = [FIRST + timedelta(hours=i) for i in range(len(dhw))]
    return conform(
        pl.DataFrame(
            {
                "heat_pump": "hp",
                "start": starts,
                "end": [start + timedelta(hours=1) for start in starts],
                "thermal_energy_dhw_kwh": dhw,
                "thermal_energy_heating_kwh": [3.0] * len(dhw),
                "electrical_energy_kwh": [1.0] * len(dhw),
                "thermal_s": [3600.0 if heat is not None else 0.0 for heat in dhw],
                "electrical_s": [3600.0] * len(dhw),
            },
            schema_overrides={"thermal_energy_dhw_kwh": pl.Float64},
        ),
        "hourly",
    )


def charging_by_hours(dhw: Sequence[float | None]) -> ChargingHeatPump:
    """The heat pump of `hours_of_a_heat_pump`: in mode dhw all the time, its heat even within each hour."""
    hours = [FIRST + timedelta(hours=place) for place in range(len(dhw))]
    segments = {
        "start": hours,
        "end": [at + timedelta(hours=1) for at in hours],
        "mode": ["dhw"] * len(dhw),
        "state": ["on"] * len(dhw),
        "observed_s": [3600.0] * len(dhw),
        "thermal_s": [0.0 if heat is None else 3600.0 for heat in dhw],
    }
    quarters = {
        "start": [at + timedelta(minutes=15 * place) for at in hours for place in range(4)],
        "thermal_energy_dhw_kwh": [heat and heat / 4 for heat in dhw for _ in range(4)],
    }
    floats = {"thermal_energy_dhw_kwh": pl.Float64}
    return ChargingHeatPump(
        conform(pl.DataFrame(segments), "segments"),
        conform(None, "frames"),
        conform(pl.DataFrame(quarters, schema_overrides=floats), "quarter_hourly"),
    )


def test_the_balance_of_the_house_tells_what_does_not_close() -> None:
    """The tank gains 2 kWh in each of four hours, of which two heat pumps give 2, 1.5, more than is known, and 2.5."""
    rules = SolarRules(litres=320.0, shares=(1.0,))
    gain = 1 / (320 * 4186.8 / 3.6e6)
    times, values = straight(4, [(40.0, 40 + 8 * gain)])
    frames = tank_frames.solar_frames(decoded(1, times, values, {}), {}, "sun", FIRST, FIRST + DAY, rules)
    gave: list[list[float | None]] = [[1.0, 0.5, None, 1.5], [1.0, 1.0, 2.0, 1.0]]
    tank = solar_hourly(frames, FIRST, FIRST + DAY, "UTC", rules, Known(), [charging_by_hours(dhw) for dhw in gave])
    hours = house_hourly(tank, [hours_of_a_heat_pump(dhw) for dhw in gave], rules, Known())
    assert hours["heat_pump_kwh"].to_list() == [2.0, 1.5, None, 2.5]
    near = [pytest.approx(error, abs=1e-6) for error in (0, -0.5, 0)]
    assert hours["closure_error_kwh"].to_list() == [*near[:2], None, near[2]]
    assert hours["closure"].to_list()[1] == pytest.approx(-1 / 3)
    assert hours["coverage"].to_list() == [1, 1, 0, 1]
    day = house_by_calendar(hours, "daily", [FIRST.date()], "UTC", rules, Known()).row(0, named=True)
    assert day["heat_pump_kwh"] == day["balanced_input_kwh"] == 6
    assert day["closure_error_kwh"] == pytest.approx(-0.5, abs=1e-6)
    assert day["electrical_kwh"] == 8
    assert day["coverage"] == pytest.approx(3 / 24)
    tank = solar_hourly(frames, FIRST, FIRST + DAY, "UTC", rules, Known())
    alone = house_hourly(tank, [], rules, Known())
    assert alone["closure_error_kwh"].to_list() == [pytest.approx(-2, abs=1e-6)] * 4
    assert alone["electrical_kwh"].to_list() == [0.0] * 4


def without(told: Decoded, lost: Mapping[str, tuple[int, int]]) -> Decoded:
    """What was told but for some hours of some signals."""
    series = dict(told.signals)
    for name, (first, count) in lost.items():
        begin = FIRST + timedelta(hours=first)
        is_lost = pl.col("time").is_between(begin, begin + timedelta(hours=count))
        series[name] = series[name].filter(~is_lost)
    return Decoded(signals=series, times=told.times)


OUTAGES = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("tank_layer_1_temperature", "tank_layer_2_temperature", "immersion_heater_on", "pellet_stove_on"),
        st.tuples(st.integers(0, 30), st.integers(1, 12)),
    ),
)


@given(told=histories(), lost=OUTAGES, seed=st.integers(0, 2**32), zone=st.sampled_from(["UTC", "Europe/Berlin"]))
@settings(max_examples=25, deadline=None)
def test_the_house_is_the_sum_of_its_hours_whatever_is_lost_when(
    told: Decoded, lost: dict[str, tuple[int, int]], seed: int, zone: str
) -> None:
    """Layers, heaters and heat pumps are each silent at times of their own."""
    chance, end = Random(seed), FIRST + 2 * DAY
    frames = tank_frames.solar_frames(without(told, lost), MINUTE, "sun", FIRST, end, SMALL)
    gave = [[chance.choice([None, 0.0, chance.uniform(0, 2)]) for _ in range(48)] for _ in range(2)]
    tank = solar_hourly(frames, FIRST, end, zone, SMALL, Known(), [charging_by_hours(dhw) for dhw in gave])
    pumps = [hours_of_a_heat_pump(dhw) for dhw in gave]
    hours = house_hourly(tank, pumps, SMALL, Known())
    # Neither the order of the heat pumps and of the rows, nor what is made at once, matters.
    shuffled = house_hourly(
        tank, [rows.sample(fraction=1, shuffle=True, seed=seed) for rows in pumps[::-1]], SMALL, Known()
    )
    each = [tank.slice(place, 1) for place in range(tank.height + 1)]
    apart = pl.concat(house_hourly(row, pumps, SMALL, Known()) for row in each)
    assert shuffled.equals(hours) and apart.equals(hours)

    # An hour is balanced, or nothing is said of its balance; that of one hour is what the tank cannot explain.
    said = hours.filter(pl.col("balanced_s") > 0)
    assert hours.filter(pl.col("balanced_s") == 0)["balanced_input_kwh"].is_null().all()
    of_tank = tank.filter(pl.col("start").is_in(said["start"].implode()))
    assert (of_tank["all_known_s"] == said["balanced_s"]).all()
    assert (of_tank["all_known_s"] >= 0.9 * of_tank["covered_s"]).all()
    for shown, row in zip(said.iter_rows(named=True), of_tank.iter_rows(named=True), strict=True):
        heats = [row[name] for name in ("solar_kwh", "immersion_kwh", "pellet_kwh", "heat_pump_kwh")]
        assert whole(shown["balanced_input_kwh"]) == sum(map(whole, heats))
        assert whole(shown["closure_error_kwh"]) == -whole(row["unexplained_kwh"])

    days = [FIRST.date() + place * DAY for place in range(-1, 3)]
    daily = house_by_calendar(hours, "daily", days, zone, SMALL, Known())
    monthly = house_by_calendar(daily, "monthly", [date(2026, 10, 1)], zone, SMALL, Known())
    yearly = house_by_calendar(monthly, "yearly", [date(2026, 1, 1)], zone, SMALL, Known())
    for rows in (hours, daily, monthly, yearly):
        for name in (*HOUSE_ENERGIES, *HOUSE_DURATIONS):
            assert sum(map(whole, rows[name])) == sum(map(whole, hours[name])), name
        for row in rows.iter_rows(named=True):
            error = whole(row["balanced_input_kwh"]) - whole(row["balanced_output_kwh"])
            assert whole(row["closure_error_kwh"]) == error
            if row["closure"] is not None:
                assert row["closure"] == pytest.approx(row["closure_error_kwh"] / row["balanced_input_kwh"])
            lasted = (row["end"] - row["start"]).total_seconds()
            assert row["coverage"] == pytest.approx(row["balanced_s"] / lasted)
            assert row["balanced_s"] <= min(row["covered_s"], lasted) and row["electrical_s"] <= lasted
    part = house_by_calendar(hours.sample(fraction=1, shuffle=True, seed=seed), "daily", days, zone, SMALL, Known())
    assert part.sort("start").equals(daily.sort("start"))


def test_what_is_lost_in_one_hour_changes_the_balance_of_no_other() -> None:
    """Eight hours of a layer, then eight of a heat pump: the coverage is the share of the hours that are left."""
    told = plain()
    gave: list[float | None] = [0.5] * 24
    rows = []
    for lost, silent in (({}, ()), ({"tank_layer_1_temperature": (3, 8)}, range(12, 20))):
        frames = tank_frames.solar_frames(without(told, lost), {}, "sun", FIRST, FIRST + DAY, SMALL)
        dhw = [None if hour in silent else heat for hour, heat in enumerate(gave)]
        tank = solar_hourly(frames, FIRST, FIRST + DAY, "UTC", SMALL, Known(), [charging_by_hours(dhw)])
        hours = house_hourly(tank, [hours_of_a_heat_pump(dhw)], SMALL, Known())
        rows.append((hours, house_by_calendar(hours, "daily", [FIRST.date()], "UTC", SMALL, Known())))
    (all_hours, _), (hours, day) = rows
    balanced = [0, 1, 2, 11, *range(20, 24)]
    partly = hours["covered_s"].to_list()
    assert [place for place, known_s in enumerate(hours["balanced_s"]) if known_s >= 3500] == balanced
    assert all(known_s in (0, covered_s) for known_s, covered_s in zip(hours["balanced_s"], partly, strict=True))
    untouched = [0, 1, *range(20, 24)]
    assert all_hours[untouched].equals(hours[untouched])
    assert day["coverage"][0] == pytest.approx(hours["coverage"].mean())
    assert day["coverage"][0] == pytest.approx(8 / 24, abs=0.01)
    # Alone, tank and heat pump are known for twice as long.
    assert day["covered_s"][0] > 15.5 * 3600 and day["heat_pump_s"][0] == 16 * 3600


def test_an_hour_of_the_house_is_provisional_until_what_it_is_made_of_is_final() -> None:
    frames = tank_frames.solar_frames(plain(), {}, "sun", FIRST, FIRST + DAY, SMALL)
    dhw: list[float | None] = [0.5] * 24
    pumps = [hours_of_a_heat_pump(dhw)]
    until = Known(FIRST, FIRST + timedelta(hours=20))
    tank = solar_hourly(frames, FIRST, FIRST + DAY, "UTC", SMALL, until, [charging_by_hours(dhw)])
    final = house_hourly(tank, pumps, SMALL, until)
    assert final["provisional"].to_list() == tank["provisional"].to_list() == [False] * 19 + [True] * 5
    open_ = house_hourly(tank, pumps, SMALL, until, FIRST + timedelta(hours=5.5))
    assert open_["provisional"].to_list() == [False] * 5 + [True] * 19
    assert open_["content"].to_list() == final["content"].to_list()
    for hours, is_open in ((final.head(19), False), (open_.head(6), True)):
        day = house_by_calendar(hours, "daily", [FIRST.date()], "UTC", SMALL, Known())
        assert day["provisional"].to_list() == [is_open]
    # What a heat pump tells late restates its hour, and no other.
    late = house_hourly(tank, [hours_of_a_heat_pump([*dhw[:3], 0.75, *dhw[4:]])], SMALL, until)
    changed = [place for place in range(24) if late["content"][place] != final["content"][place]]
    assert changed == [3]


def test_the_electricity_of_the_house_is_that_of_hours_in_which_no_part_of_it_is_unknown() -> None:
    """Three hours of a heat pump with 1 kWh each; an immersion heater of 2 kW that is on, and not told in the third."""
    times, values = straight(3, [(30.0, 33.0), (60.0, 60.0)])
    rod = pl.DataFrame({"time": times, "value": [1.0] * len(times)}, schema=dict(DECODED))
    told = decoded(2, times, values, {})
    until = FIRST + timedelta(hours=2)
    rod = rod.filter(pl.col("time") < until)
    told = Decoded(signals={**told.signals, "immersion_heater_on": rod}, times=told.times)
    # Held no longer: told at 1:59 for the last time, it would be known for an hour more.
    ages = {"immersion_heater_on": replace(PROFILE.mappings["immersion_heater_on"], max_age=timedelta(seconds=30))}
    for dead_layer in (False, True):
        some = told
        if dead_layer:
            layer = told.signals["tank_layer_1_temperature"].filter(pl.col("time") <= FIRST + timedelta(minutes=30))
            some = Decoded(signals={**told.signals, "tank_layer_1_temperature": layer}, times=told.times)
        frames = tank_frames.solar_frames(some, ages, "sun", FIRST, FIRST + DAY, SMALL)
        tank = solar_hourly(frames, FIRST, FIRST + DAY, "UTC", SMALL, Known())
        assert tank["covered_s"].sum() == (1800 if dead_layer else 3 * 3600)
        hours = house_hourly(tank, [hours_of_a_heat_pump([1.0] * 3)], SMALL, Known())
        assert hours["immersion_electrical_kwh"].to_list() == [2.0, 2.0, None]
        assert hours["heat_pump_electrical_kwh"].to_list() == [1.0] * 3
        assert hours["electrical_kwh"].to_list() == [3.0, 3.0, None]
        assert hours["electrical_s"].to_list() == [3600, 3600, 0]
        day = house_by_calendar(hours, "daily", [FIRST.date()], "UTC", SMALL, Known()).row(0, named=True)
        assert day["electrical_kwh"] == 6
        assert day["electrical_coverage"] == pytest.approx(2 / 24)
        # Without a heater in the settings there is nothing to lack.
        none = house_hourly(tank, [hours_of_a_heat_pump([1.0] * 3)], replace(SMALL, immersion_kw=None), Known())
        assert none["electrical_s"].to_list() == [3600.0] * 3
        # What a heat pump's meter includes is not added once more, nor missed.
        within = house_hourly(tank, [hours_of_a_heat_pump([1.0] * 3)], SMALL, Known(), immersion_included=True)
        assert within["electrical_kwh"].to_list() == [1.0] * 3
        assert within["electrical_s"].to_list() == [3600.0] * 3
        assert within["immersion_electrical_kwh"].to_list() == [2.0, 2.0, None]


def test_an_hour_is_provisional_until_readings_from_behind_it_are_there() -> None:
    rules = SolarRules(litres=320.0, shares=(1.0,))
    times, values = straight(3.5, [(40.0, 41.0)])
    frames = tank_frames.solar_frames(decoded(1, times, values, {}), {}, "sun", FIRST, FIRST + DAY, rules)
    hours = solar_hourly(frames, FIRST, FIRST + DAY, "UTC", rules, Known(FIRST, frames["end"].max()))  # type: ignore[arg-type]
    assert hours["provisional"].to_list() == [False, False, False, True]
    assert hours["coverage"].to_list() == [1, 1, 1, 1]


def test_local_days_have_their_own_midnight() -> None:
    rules = SolarRules(litres=320.0, shares=(1.0,))
    times, values = straight(48, [(40.0, 88.0)], 300)
    frames = tank_frames.solar_frames(decoded(1, times, values, {}), {}, "sun", FIRST, FIRST + 2 * DAY, rules)
    hours = solar_hourly(frames, FIRST, FIRST + 2 * DAY, "Europe/Berlin", rules, Known())
    day = date(2026, 10, 25)
    row = solar_by_calendar(hours, "daily", [day], "Europe/Berlin", rules, Known()).row(0, named=True)
    assert row["start"] == day_start(day, "Europe/Berlin")
    assert row["stored_change_kwh"] == pytest.approx(25 * 320 * 4186.8 / 3.6e6)


def test_an_unknown_heater_is_not_taken_for_one_that_is_off() -> None:
    times, values = straight(3, [(30.0, 33.0), (60.0, 60.0)])
    off = dict.fromkeys(("solar_pump", "pellet_stove_on"), [0.0] * len(times))
    told = decoded(2, times, values, off)
    late = [at for at in times if at >= FIRST + timedelta(hours=1.5)]
    rod = pl.DataFrame({"time": late, "value": [1.0] * len(late)}, schema=dict(DECODED))
    both = Decoded(signals={**told.signals, "immersion_heater_on": rod}, times=told.times)
    for some, unknown, heaters in ((told, [True] * 3, [0.0] * 3), (both, [True, False, False], [0.0, 1800.0, 3600.0])):
        frames = tank_frames.solar_frames(some, {}, "sun", FIRST, FIRST + DAY, SMALL)
        hours = solar_hourly(frames, FIRST, FIRST + DAY, "UTC", SMALL, Known())[:3]
        assert hours["heaters_s"].to_list() == heaters
        assert hours["collected_kwh"].is_null().to_list() == unknown
    without = replace(SMALL, immersion_kw=None)
    frames = tank_frames.solar_frames(told, {}, "sun", FIRST, FIRST + DAY, without)
    assert solar_hourly(frames, FIRST, FIRST + DAY, "UTC", without, Known())["collected_kwh"][:3].null_count() == 0


def charging(chance: Random, days: int) -> ChargingHeatPump:
    """Days of a heat pump whose heat into the tank is anything, also where it is not known."""
    count = 96 * days
    quarters = [FIRST + timedelta(minutes=15 * place) for place in range(count)]
    modes = [chance.choice(["dhw", "dhw", "heating", "standby", None]) for _ in quarters]
    heats = [chance.choice([None, 0.0, chance.uniform(-0.1, 2)]) if mode == "dhw" else 0.0 for mode in modes]
    ends = [begin + timedelta(minutes=15) for begin in quarters]
    known = [0.0 if heat is None else chance.choice([900.0, 400.0]) for heat in heats]
    segments = {"start": quarters, "end": ends, "mode": modes, "state": ["on"] * count, "observed_s": [900.0] * count}
    powers = {"start": quarters, "end": ends, "thermal_power": [chance.choice([None, 3000.0]) for _ in quarters]}
    return ChargingHeatPump(
        pl.DataFrame({**segments, "thermal_s": known}, schema_overrides={"start": UTC_TIME, "end": UTC_TIME}),
        pl.DataFrame(powers, schema_overrides={"start": UTC_TIME, "end": UTC_TIME}),
        pl.DataFrame(
            {"start": quarters, "thermal_energy_dhw_kwh": heats},
            schema={"start": UTC_TIME, "thermal_energy_dhw_kwh": pl.Float64()},
        ),
    )


def on_day(heat_pump: ChargingHeatPump, first: datetime, last: datetime) -> ChargingHeatPump:
    """What is read of it for some days."""
    within = pl.col("start") >= first, pl.col("start") < last
    parts = (heat_pump.segments, heat_pump.frames, heat_pump.quarters)
    return ChargingHeatPump(*(rows.filter(*within) for rows in parts))


@given(told=histories(), seed=st.integers(0, 2**32), count=st.integers(1, 2))
@settings(max_examples=25, deadline=None)
def test_the_balance_is_exact_whatever_heat_pumps_give(told: Decoded, seed: int, count: int) -> None:
    chance = Random(seed)
    pumps = [charging(chance, 3) for _ in range(count)]
    frames = tank_frames.solar_frames(told, {}, "sun", FIRST, FIRST + 2 * DAY, SMALL)
    hours = solar_hourly(frames, FIRST - DAY, FIRST + 2 * DAY, "Asia/Kolkata", SMALL, Known(), pumps)
    assert [imbalance(row) for row in hours.iter_rows(named=True)] == [0] * hours.height
    for name in ("solar_kwh", "draw_kwh"):
        assert (hours[name].fill_null(0) >= 0).all()
    assert (hours["heat_pump_s"] <= hours["covered_s"]).all()
    assert (hours.filter(pl.col("heat_pump_s") == 0)["heat_pump_kwh"].is_null()).all()
    # Day by day, with that day's part of the heat pumps (and of the next one's, whose first half hour is this one's
    # last), it is the same to the last bit.
    days = []
    for day in (-1, 0, 1):
        first = FIRST + day * DAY
        own = frames.filter(pl.col("start") >= first, pl.col("start") < first + DAY + timedelta(hours=1))
        some = [on_day(pump, first, first + 2 * DAY) for pump in pumps]
        days.append(solar_hourly(own, first, first + DAY, "Asia/Kolkata", SMALL, Known(), some))
    assert encode(pl.concat(days), {}) == encode(hours, {})
    merged = solar_by_calendar(hours, "monthly", [date(2026, 10, 1)], "Asia/Kolkata", SMALL, Known())
    assert [imbalance(row) for row in merged.iter_rows(named=True)] == [0] * merged.height
    assert whole(merged["heat_pump_kwh"].sum()) == sum(whole(heat) for heat in hours["heat_pump_kwh"])


def plain_day() -> pl.DataFrame:
    """Frames of a day on which the heaters of the tank run by the clock."""
    return tank_frames.solar_frames(plain(), {}, "sun", FIRST, FIRST + DAY, SMALL)


def plain() -> Decoded:
    """What is told of it."""
    chance = Random(11)
    times = [FIRST + timedelta(seconds=60 * i) for i in range(24 * 60 + 12)]
    walk, values = [30.0, 60.0], []
    for _ in times:
        walk = [min(95.0, max(5.0, level + chance.uniform(-0.9, 0.9))) for level in walk]
        values.append([round(level, 1) for level in walk])
    names = ("solar_pump", "immersion_heater_on", "pellet_stove_on")
    states = {name: [float(i // 50 % (3 + place) == 0) for i in range(len(times))] for place, name in enumerate(names)}
    states["solar_collector_temperature"] = [80.0] * len(times)
    return decoded(2, times, values, states)


def test_without_a_heat_pump_an_hour_is_as_it_was_before_there_could_be_one() -> None:
    """The hashes are those of hours made before: nobody who keeps them is told that a tank without one was restated."""
    hours = solar_hourly(plain_day(), FIRST, FIRST + DAY, "UTC", SMALL, Known())
    assert hashlib.sha256("".join(hours["content"]).encode()).hexdigest()[:16] == "fae4cb2943d4213d"
    day = solar_by_calendar(hours, "daily", [FIRST.date()], "UTC", SMALL, Known())
    assert day["content"].to_list() == ["d8d1466d0f8b50cd"]
    assert (day["heat_pump_kwh"][0], day["heat_pump_s"][0]) == (None, day["covered_s"][0])


def test_a_heat_pump_that_gives_nothing_changes_no_figure() -> None:
    frames = plain_day()
    resting = ChargingHeatPump(
        conform(
            pl.DataFrame({"start": [FIRST], "end": [FIRST + DAY], "mode": ["standby"], "observed_s": [86400.0]}),
            "segments",
        ),
        conform(None, "frames"),
        conform(None, "quarter_hourly"),
        FIRST + timedelta(hours=5.5),
    )
    of_it = ["heat_pump_kwh", "heat_pump_s", "content", "provisional"]
    without = solar_hourly(frames, FIRST, FIRST + DAY, "UTC", SMALL, Known())
    with_one = solar_hourly(frames, FIRST, FIRST + DAY, "UTC", SMALL, Known(), [resting])
    assert with_one.drop(of_it).equals(without.drop(of_it))
    assert with_one["heat_pump_kwh"].to_list() == [0.0] * 24
    # What it gives may still change from half past five on.
    assert with_one["provisional"].to_list() == [False] * 5 + [True] * 19
    assert solar_by_calendar(with_one, "daily", [FIRST.date()], "UTC", SMALL, Known())["provisional"].to_list() == [
        True
    ]
    # Of the first twelve hours alone it tells anything.
    half = replace(resting, segments=resting.segments.with_columns(end=FIRST + DAY / 2, observed_s=43200.0))
    partly = solar_hourly(frames, FIRST, FIRST + DAY, "UTC", SMALL, Known(), [half])
    assert partly["coverage"].to_list() == [1.0] * 12 + [0.0] * 12
    assert partly["covered_s"].to_list() == [3600.0] * 24
    assert partly["heat_pump_kwh"].null_count() == 12


def test_what_a_heat_pump_gives_is_neither_solar_nor_unexplained() -> None:
    """The tank gains 3 kW while the solar pump runs and the heat pump gives 2 kW of them; then it gains 1 kW of the 2;
    then nobody knows what the heat pump gives."""
    rules = SolarRules(litres=320.0, shares=(1.0,))
    per_kwh = 1 / (320 * 4186.8 / 3.6e6)
    minutes = 60 * 3
    times = [FIRST + timedelta(minutes=place) for place in range(minutes + 1)]
    rise = [min(place, 60) * 3 + min(max(place - 60, 0), 60) + max(place - 120, 0) * 3 for place in range(minutes + 1)]
    states = {"solar_pump": [1.0] * len(times), "solar_collector_temperature": [90.0] * len(times)}
    told = decoded(1, times, [[20 + kw_min / 60 * per_kwh] for kw_min in rise], states)
    frames = tank_frames.solar_frames(told, {}, "sun", FIRST, FIRST + DAY, rules)
    quarters = [FIRST + timedelta(minutes=15 * place) for place in range(8)]
    heat_pump = ChargingHeatPump(
        conform(
            pl.DataFrame(
                {
                    "start": [FIRST],
                    "end": [FIRST + timedelta(hours=2)],
                    "mode": ["dhw"],
                    "state": ["on"],
                    "observed_s": [7200.0],
                    "thermal_s": [7200.0],
                }
            ),
            "segments",
        ),
        conform(None, "frames"),
        conform(pl.DataFrame({"start": quarters, "thermal_energy_dhw_kwh": [0.5] * 8}), "quarter_hourly"),
    )
    hours = solar_hourly(frames, FIRST, FIRST + DAY, "UTC", rules, Known(), [heat_pump])
    figures = hours.select("solar_kwh", "heat_pump_kwh", "draw_kwh", "unexplained_kwh", "coverage").rows()
    near = [(1, 2, 0, 0, 1), (0, 2, 1, 0, 1), (3, None, 0, 0, 0)]
    assert figures == [pytest.approx(row, abs=1e-6) for row in near]


def contents_of(values: list[list[float]], count: int) -> dict[int, tuple[str, bool]]:
    """By hour the content and whether it is provisional, of the first readings of a tank of one layer."""
    rules = SolarRules(litres=320.0, shares=(1.0,))
    times = [FIRST + timedelta(minutes=5 * place) for place in range(count)]
    told = decoded(1, times, values[:count], {"solar_pump": [0.0] * count})
    frames = tank_frames.solar_frames(told, {}, "sun", FIRST, FIRST + DAY, rules)
    rows = solar_hourly(frames, FIRST, FIRST + DAY, "UTC", rules, Known(FIRST, frames["end"].max()))  # type: ignore[arg-type]
    return {at.hour: (content, open_) for at, content, open_ in rows["start", "content", "provisional"].iter_rows()}


def test_a_restated_hour_has_another_content() -> None:
    values = [[40.0 + place / 12] for place in range(73)]
    whole = contents_of(values, 73)
    assert len({content for content, _ in whole.values()}) == 6
    restated = contents_of([*values[:30], [values[30][0] + 1], *values[31:]], 73)
    assert [hour for hour in whole if whole[hour] != restated[hour]] == [2]
    # That it has become final does not restate an hour.
    assert (contents_of(values, 61)[4], whole[4]) == ((whole[4][0], True), (whole[4][0], False))

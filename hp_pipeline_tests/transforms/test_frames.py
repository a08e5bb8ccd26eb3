"""Frames: no energy and no edge is lost, nothing is held for too long, and what is unknown stays unknown."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms.decode import Decoded, decode
from hp_pipeline.transforms.frames import build_frames
from hp_pipeline.vocabulary.profiles import Profile, load_profile
from hp_pipeline.vocabulary.rules import Rules

DAY = datetime(2024, 10, 12, tzinfo=UTC)
READINGS = {"point": pl.String(), "time": pl.Datetime("us", "UTC"), "value": pl.Float64(), "text": pl.String()}
SIGNALS: Mapping[str, Any] = {
    "electrical_power": {"select": "power", "unit": "W", "max_age": "10min"},
    "flow_rate": {"select": "flow", "unit": "l/min", "max_age": "10min"},
    "flow_temperature": {"select": "hot", "unit": "°C", "max_age": "10min", "reject": [0.0]},
    "return_temperature": {"select": "cold", "unit": "°C", "max_age": "10min"},
    "outdoor_temperature": {
        "select": "air",
        "unit": "°C",
        "max_age": "1h",
        "spike": {"max_jump": 4, "within": "10min"},
    },
    "operating_mode": {
        "select": "mode",
        "values": {"Heating": "heating", 7: "standby", "*": "dhw"},
        "max_age": "10min",
    },
    "defrost": {"select": "defrost", "max_age": "10min"},
    "electrical_energy_total": {"select": "meter", "unit": "Wh"},
    "fault": {"select": "fault"},
}


def profile(**overrides: Any) -> Profile:
    """The shipped profile with all signals taken out, and those of the test in."""
    shipped = load_profile("espaltherma_home_assistant")
    return load_profile("espaltherma_home_assistant", {**dict.fromkeys(shipped.mappings), **SIGNALS, **overrides})


def said(point: str, *told: tuple[float, float | str]) -> pl.DataFrame:
    """Readings of a point: (seconds of the day, number or word)."""
    return pl.DataFrame(
        [
            (
                point,
                DAY + timedelta(seconds=at),
                None if isinstance(it, str) else it,
                it if isinstance(it, str) else None,
            )
            for at, it in told
        ],
        schema=READINGS,
        orient="row",
    ).sort("point", "time")


def decoded(*series: pl.DataFrame, by: Profile | None = None) -> Decoded:
    """What the profile makes of the series."""
    return decode([(pl.concat(series).sort("point", "time"), by or profile())])


def frames(
    *series: pl.DataFrame, rules: Rules | None = None, more_follows: bool = False, by: Profile | None = None
) -> pl.DataFrame:
    """The day's frames of the series."""
    use = by or profile()
    end = DAY + timedelta(days=1)
    return build_frames(decoded(*series, by=use), dict(use.mappings), "hp", DAY, end, rules or Rules(), more_follows)


def seconds(column: pl.Series) -> list[float]:
    """Times as seconds of the day."""
    return [(moment - DAY).total_seconds() for moment in column]


def energy_kwh(found: pl.DataFrame, power: str = "electrical_power") -> float:
    """Power times time."""
    hours = (pl.col("end") - pl.col("start")).dt.total_microseconds() / 3.6e9
    return float(found.select((pl.col(power) * hours / 1000).sum()).item())


reports = st.lists(
    st.tuples(st.integers(0, 6 * 3600 * 10).map(lambda tenth: tenth / 10), st.floats(0, 5000)),
    min_size=1,
    max_size=60,
    unique_by=lambda report: report[0],
).map(sorted)


def _held(series: list[tuple[float, float]], at: float, max_age: float) -> float | None:
    before = [(time, value) for time, value in series if time <= at]
    return before[-1][1] if before and at - before[-1][0] <= max_age else None


@settings(max_examples=60, deadline=None)
@given(reports, reports, st.sampled_from([10, 20, 30, 60]), st.booleans())
def test_coarsening_conserves_the_energy(
    power: list[tuple[float, float]], ticks: list[tuple[float, float]], interval: int, more_follows: bool
) -> None:
    """The integral of the held readings, worked out tick by tick in plain Python, is the sum over the frames."""
    rules = Rules(frame_interval=timedelta(seconds=interval))
    found = frames(said("power", *power), said("flow", *ticks), rules=rules, more_follows=more_follows)
    times = sorted({time for time, _ in power + ticks})
    quarters = [900.0 * count for count in range(60)]
    total = known = 0.0
    for time, after in zip(times, [*times[1:], None], strict=True):
        alone = 300 if more_follows else interval
        until = min(after, time + 300) if after is not None else time + alone
        edges = [time, *(quarter for quarter in quarters if time < quarter < until), until]
        for begin, end in itertools.pairwise(edges):
            value = _held(power, begin, 600)
            total += (value or 0) * (end - begin) / 3.6e6
            known += (end - begin) if value is not None else 0
    assert energy_kwh(found) == pytest.approx(total, abs=1e-6)
    with_power = found.filter(pl.col("electrical_power").is_not_null())
    assert sum(seconds(with_power["end"])) - sum(seconds(with_power["start"])) == pytest.approx(known, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(reports, st.lists(st.integers(0, 6 * 3600 * 10).map(lambda tenth: tenth / 10), min_size=1, unique=True))
def test_every_edge_of_a_state_begins_a_frame_at_its_very_time(
    power: list[tuple[float, float]], changes: list[float]
) -> None:
    told = [(at, "ON" if number % 2 else "OFF") for number, at in enumerate(sorted(changes))]
    found = frames(said("power", *power), said("defrost", *told))
    states = dict(zip(seconds(found["start"]), found["defrost"], strict=True))
    for at, word in told:
        assert states[at] == (word == "ON")


@settings(max_examples=60, deadline=None)
@given(reports, reports)
def test_frames_neither_overlap_nor_cross_a_quarter_nor_outlast_the_hold(
    power: list[tuple[float, float]], flow: list[tuple[float, float]]
) -> None:
    found = frames(said("power", *power), said("flow", *flow), more_follows=True)
    assert (found["end"] > found["start"]).all()
    assert (found["start"].shift(-1) >= found["end"]).drop_nulls().all()
    assert (found["end"] - found["last_read"] <= timedelta(minutes=5)).all()
    assert ((found["end"] - timedelta(microseconds=1)).dt.truncate("15m") == found["start"].dt.truncate("15m")).all()
    numbers = found.select(pl.col(pl.Float64))
    assert not numbers.select(pl.any_horizontal(pl.all().is_nan() | pl.all().is_infinite()).any()).item()


def test_a_gap_is_not_bridged() -> None:
    found = frames(said("power", (0, 1000.0), (3600, 1000.0)))
    assert seconds(found["start"]) == [0, 3600]
    assert seconds(found["end"]) == [300, 3630]
    assert energy_kwh(found) == pytest.approx(330 / 3600)


def test_a_quarter_of_an_hour_cuts_a_frame() -> None:
    found = frames(said("power", (890, 1000.0), (930, 0.0)))
    assert list(zip(seconds(found["start"]), seconds(found["end"]), strict=True)) == [
        (890, 900),
        (900, 930),
        (930, 960),
    ]
    assert seconds(found["last_read"]) == [890, 890, 930]


def test_a_value_is_held_up_to_its_maximum_age_and_then_unknown() -> None:
    beats = [(float(at), 1.0) for at in range(0, 1200, 60)]
    found = frames(said("power", (0, 1000.0)), said("mode", (0, "Heating")), said("flow", *beats))
    known = found.filter(pl.col("electrical_power").is_not_null())
    assert seconds(known["start"]) == [float(at) for at in range(0, 601, 60)]
    assert found["operating_mode"].to_list() == ["heating"] * 11 + [None] * (found.height - 11)


def test_unknown_is_null_and_never_zero() -> None:
    found = frames(said("power", (0, 500.0)))
    row = found.row(0, named=True)
    known = {"heat_pump", "start", "end", "last_read", "states_read", "electrical_power", "electrical_way"}
    assert {name for name, value in row.items() if value is not None} <= known
    assert frames(said("a stranger", (0, 500.0))).is_empty()


def test_a_gauge_that_appears_within_a_frame_is_not_stretched_over_it() -> None:
    found = frames(said("flow", (0, 10.0), (30, 10.0)), said("power", (20, 3600.0)))
    assert seconds(found.filter(pl.col("electrical_power").is_not_null())["start"])[0] == 20
    assert energy_kwh(found) == pytest.approx(40 / 1000)


def test_heat_is_flow_times_spread_of_each_moment() -> None:
    """10 l/min at 6 K and then at 2 K: the mean of the products, not the product of means."""
    found = frames(
        said("flow", (0, 10.0), (10, 30.0), (30, 0.0)), said("hot", (0, 36.0), (10, 32.0)), said("cold", (0, 30.0))
    )
    row = found.row(0, named=True)
    heat = [10 / 60 * 4.1868 * 6 * 1000, 30 / 60 * 4.1868 * 2 * 1000]
    assert row["thermal_power"] == pytest.approx((heat[0] * 10 + heat[1] * 20) / 30, rel=1e-6)
    assert row["delta_t"] == pytest.approx((6 * 10 + 2 * 20) / 30)
    assert row["flow_rate"] == pytest.approx((600 * 10 + 1800 * 20) / 30)


def test_glycol_carries_less() -> None:
    series = (said("flow", (0, 60.0)), said("hot", (0, 35.0)), said("cold", (0, 30.0)))
    water, glycol = frames(*series), frames(*series, rules=Rules(specific_heat_kj_per_kg_k=3.7, density_kg_per_l=1.04))
    assert glycol["thermal_power"][0] / water["thermal_power"][0] == pytest.approx(3.7 * 1.04 / 4.1868)
    assert water["thermal_power"][0] == pytest.approx(4.1868 * 5 * 1000)


def test_counters_and_faults_are_kept_as_last_read() -> None:
    found = frames(said("meter", (0, 1000.0), (10, 2000.0), (20, 2500.0)), said("fault", (0, "none"), (15, "E7")))
    assert found["electrical_energy_total"].to_list() == [2.5]
    assert found["fault"].to_list() == ["E7"]


def test_the_newest_frame_is_short_until_more_is_read() -> None:
    newest = said("power", (0, 1000.0))
    assert seconds(frames(newest)["end"]) == [30]
    assert seconds(frames(newest, more_follows=True)["end"]) == [300]


# ---- what is believed ------------------------------------------------------------------------------------------------


def test_a_reading_outside_its_range_or_rejected_counts_as_not_made() -> None:
    read = decoded(said("hot", (0, 35.0), (30, 0.0), (60, 850.0), (90, 36.0)))
    assert read.signals["flow_temperature"]["value"].to_list() == [35.0, 36.0]
    assert [(doubt[0], doubt[2], doubt[4]) for doubt in read.doubts] == [("flow_temperature", "outside its range", 2)]
    assert len(read.times) == 4, "that something was read is known all the same"


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ([(0, 8.0), (30, 0.0), (60, 8.2)], [8.0, 8.2]),
        ([(0, 8.0), (30, 13.0), (60, 18.0)], [8.0, 13.0, 18.0]),
        ([(0, 8.0), (30, 0.0), (60, 0.5)], [8.0, 0.0, 0.5]),
        ([(0, 8.0), (5 * 3600, 0.0), (5 * 3600 + 60, 8.0)], [8.0, 8.0]),
        ([(0, 8.0), (30, 0.0), (30 + 601, 8.0)], [8.0, 0.0, 8.0]),
        ([(0, 0.0), (30, 8.0), (60, 8.0)], [0.0, 8.0, 8.0]),
    ],
    ids=["out and back", "a rise that stays", "a fall that stays", "after a long quiet", "slow to return", "the first"],
)
def test_a_spike_goes_out_and_comes_back(told: list[tuple[float, float]], kept: list[float]) -> None:
    assert decoded(said("air", *told)).signals["outdoor_temperature"]["value"].to_list() == kept


def test_an_unknown_word_makes_the_state_unknown_from_there_on() -> None:
    found = frames(said("defrost", (0, "OFF"), (30, "perhaps"), (60, "ON")))
    assert found["defrost"].to_list() == [False, None, True]
    assert ("defrost", "defrost", "unknown word", "perhaps", 1) in decoded(said("defrost", (30, "perhaps"))).doubts


def test_words_and_numbers_of_a_device_become_states() -> None:
    found = frames(said("mode", (0, "Heating"), (30, 7.0), (60, "anything else")))
    assert found["operating_mode"].to_list() == ["heating", "standby", "dhw"]
    assert frames(said("defrost", (0, 1.0), (30, 0.0), (60, "TRUE")))["defrost"].to_list() == [True, False, True]


@pytest.mark.parametrize("word", ["NaN", "inf", "-inf", "nan", "unavailable", "1,5"])
def test_a_word_among_numbers_is_no_number(word: str) -> None:
    read = decoded(said("power", (0, 100.0), (30, word)))
    assert read.signals["electrical_power"]["value"].to_list() == [100.0]
    assert read.doubts[0][2] in {"not a number", "outside its range"}


def test_a_number_told_in_words_is_a_number() -> None:
    assert decoded(said("power", (0, "  120.5".strip()))).signals["electrical_power"]["value"].to_list() == [120.5]


def test_of_two_sources_the_first_takes_precedence_and_the_second_fills_in() -> None:
    first = profile(flow_temperature={"select": "hot", "unit": "°C", "spike": {"max_jump": 4, "within": "10min"}})
    second = profile(flow_temperature={"select": "hot too", "unit": "°F"})
    read = decode(
        [(said("hot", (0, 35.0), (60, 50.0), (120, 35.2)), first), (said("hot too", (0, 212.0), (30, 95.0)), second)]
    )
    series = read.signals["flow_temperature"]
    assert seconds(series["time"]) == [0, 30, 120]
    assert series["value"].to_list() == pytest.approx([35.0, 35.0, 35.2]), "the first profile's spike rule holds"


def test_points_that_one_selector_cannot_tell_apart_are_named() -> None:
    by = profile(electrical_power={"select": {"point": "/power/"}, "unit": "kW"})
    read = decoded(said("power a", (0, 1.0)), said("power b", (30, 2.0)), by=by)
    assert read.ambiguous == {"electrical_power": ["power a", "power b"]}
    assert read.signals["electrical_power"]["value"].to_list() == [1000.0, 2000.0]


METER = replace(
    profile(**dict.fromkeys(set(SIGNALS) - {"electrical_power"})),
    metered=frozenset({"electrical_power"}),
)


def beside_a_meter(
    meter: list[tuple[float, float]], own: list[tuple[float, float]], swapped: bool = False
) -> pl.DataFrame:
    """The day's frames of a machine that tells its power and its flow rate, and of a meter."""
    beats = said("flow", *((at, 1.0) for at, _ in own))
    inputs = [
        (said("power", *meter), METER),
        (pl.concat([said("power", *own), beats]).sort("point", "time"), profile()),
    ]
    both = decode(inputs[::-1] if swapped else inputs)
    end = DAY + timedelta(days=1)
    return build_frames(both, dict(profile().mappings), "hp", DAY, end, Rules(session_gap=timedelta(minutes=10)), False)


def test_a_meter_and_a_machine_never_alternate() -> None:
    found = beside_a_meter([(60.0 * i, 1000.0) for i in range(60)], [(60.0 * i + 25, 1200.0) for i in range(60)])
    assert set(found["electrical_power"]) == {1000.0} and set(found["electrical_way"]) == {"meter power"}


def test_over_a_silence_of_the_meter_the_machine_is_heard_from_its_last_reading_on() -> None:
    meter = [(60.0 * i, 1000.0) for i in range(60) if not 20 < i < 40]
    found = beside_a_meter(meter, [(60.0 * i + 25, 1200.0) for i in range(60)])
    own = found.filter(pl.col("electrical_way") == "device power")
    assert (seconds(own["start"])[0], seconds(own["end"])[-1]) == (1200, 2400)
    assert set(own["electrical_power"]) == {1200.0} and own.height >= 19
    assert energy_kwh(found) == pytest.approx((1000 * (3565 + 30 - 1200) + 1200 * 1200) / 3.6e6, abs=1e-3)


def test_where_nothing_else_tells_it_a_meter_is_held_up_to_its_maximum_age() -> None:
    beats = said("flow", *((60.0 * i, 1.0) for i in range(60)))
    both = decode([(said("power", (0, 1000.0), (3000, 1000.0)), METER), (beats, profile(electrical_power=None))])
    own = dict(profile(electrical_power=None, electrical_energy_total=None).mappings)
    end, rules = DAY + timedelta(days=1), Rules(session_gap=timedelta(minutes=10))
    known = build_frames(both, own, "hp", DAY, end, rules, False).filter(pl.col("electrical_way") == "meter power")
    assert seconds(known["start"]) == [*(60.0 * i for i in range(11)), *(3000 + 60.0 * i for i in range(10))]


reads = st.lists(st.integers(0, 90 * 60), min_size=1, max_size=60, unique=True).map(sorted)


@settings(max_examples=60, deadline=None)
@given(reads, reads)
def test_in_any_order_a_meter_holds_while_it_is_known_and_the_machine_else(meter: list[int], own: list[int]) -> None:
    told = [(float(at), 1000.0) for at in meter], [(float(at), 1200.0) for at in own]
    found = beside_a_meter(*told)
    assert found.equals(beside_a_meter(*told, swapped=True))
    ways = {"meter power": 1000.0, "device power": 1200.0, None: None}
    assert all(ways[row["electrical_way"]] == row["electrical_power"] for row in found.to_dicts())
    known = found.filter(pl.col("electrical_way") == "meter power")
    for begin in seconds(known["start"]):
        assert any(0 <= begin - at <= 600 for at in meter), "a meter is held no longer than its maximum age"
    silent = found.filter(pl.col("electrical_power").is_null())
    for begin in seconds(silent["start"]):
        assert not any(0 <= begin - at <= 300 for at in own), "where the machine tells its power, it is known"

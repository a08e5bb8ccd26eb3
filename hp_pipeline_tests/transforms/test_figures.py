"""COP: shown where the data bear it, else null with the reason; and sums that do not depend on grouping."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms import figures
from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.figures import Known
from hp_pipeline.transforms.schema import UTC as UTC_TIME
from hp_pipeline.transforms.schema import empty
from hp_pipeline.vocabulary.boundaries import Metering
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline.vocabulary.tables import RATIO_COLUMNS
from hp_pipeline.vocabulary.ways import BITS, COUNTED, WAYS, words_of

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR_US = 3_600_000_000
COPS = [
    column.name
    for column in RATIO_COLUMNS
    if column.name.startswith("cop") and not column.name.endswith(("reason", "low", "high"))
]


def hour(**amounts: Any) -> pl.DataFrame:
    """One hour of heating in the exact form: 1 kWh of electricity, 3 kWh of heat; kWh, seconds and °C as given."""
    given_amounts = {
        "electrical_energy_kwh": 1.0,
        "thermal_energy_kwh": 3.0,
        "electrical_energy_heating_kwh": 1.0,
        "thermal_energy_heating_kwh": 3.0,
        "electrical_s": 3600.0,
        "thermal_s": 3600.0,
        "observed_s": 3600.0,
        "heating_s": 3600.0,
        "flow_temperature_mean": 35.0,
        "flow_temperature_s": 3600.0,
        "outdoor_temperature_mean": 5.0,
        "outdoor_temperature_s": 3600.0,
    } | amounts
    return figures.exact(_override(_ZEROS, given_amounts))


def _override(rows: pl.DataFrame, amounts: dict[str, Any]) -> pl.DataFrame:
    return rows.with_columns(
        (value if isinstance(value, pl.Series) else pl.lit(value)).cast(rows.schema[name]).alias(name)
        for name, value in amounts.items()
    )


_ZEROS = _override(
    empty("hourly").clear(1),
    {
        "heat_pump": "hp",
        "start": START,
        "end": START + timedelta(hours=1),
        **{
            name: 0
            for name in [*figures.ENERGIES, *figures.DURATIONS, *figures.COUNTS]
            if "immersion" not in name and "backup" not in name
        },
    },
)
"""An hour in which nothing happened."""


def shown(rules: Rules | None = None, known: Known | None = None, **amounts: Any) -> dict[str, Any]:
    """The hour as people see it."""
    return figures.shown(hour(**amounts), rules or Rules(), known or Known()).row(0, named=True)


def test_cop_is_heat_by_electricity() -> None:
    found = shown()
    assert found["cop"] == 3.0 and found["cop_reason"] is None and found["cop_heating"] == 3.0
    assert found["cop_dhw"] is None
    assert (found["electrical_coverage"], found["thermal_coverage"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("amounts", "reason"),
    [
        ({"electrical_s": 0.0, "electrical_energy_kwh": None}, "no electricity known"),
        ({"thermal_s": 0.0, "thermal_energy_kwh": None}, "no heat known"),
        ({"electrical_s": 1620.0, "thermal_s": 1620.0}, "known for only 45 % of the time"),
        ({"thermal_s": 3240.0}, "electricity and heat are known for different times"),
        ({"heating_s": 0.0, "standby_s": 3600.0}, "neither heating nor hot water in it"),
        ({"electrical_energy_kwh": 0.049}, "less than 0.05 kWh of electricity"),
        ({"thermal_energy_kwh": 0.0}, "no heat given"),
        ({"thermal_energy_kwh": -0.7}, "no heat given"),
        ({"thermal_energy_kwh": 11.0}, "above the Carnot limit: a sensor is wrong"),
    ],
)
def test_there_is_no_cop_and_it_is_said_why(amounts: dict[str, Any], reason: str) -> None:
    found = shown(**amounts)
    assert found["cop"] is None
    assert found["cop_reason"] == reason


def test_the_reason_follows_the_owners_rules() -> None:
    strict = Rules(minimum_coverage=0.9, minimum_electrical_energy_kwh=2.0)
    assert shown(strict, electrical_s=2880.0, thermal_s=2880.0)["cop_reason"] == "known for only 80 % of the time"
    assert shown(strict)["cop_reason"] == "less than 2.0 kWh of electricity"


def test_time_before_the_first_reading_is_not_missed() -> None:
    half = {"electrical_s": 1800.0, "thermal_s": 1800.0, "heating_s": 1800.0, "observed_s": 1800.0}
    assert shown(**half)["electrical_coverage"] == 0.5
    assert shown(known=Known(since=START + timedelta(minutes=30)), **half)["electrical_coverage"] == 1.0
    assert shown(known=Known(until=START + timedelta(minutes=30)), **half)["thermal_coverage"] == 1.0


def test_cooling_is_no_part_of_the_cop() -> None:
    found = shown(electrical_energy_kwh=1.5, electrical_energy_cooling_kwh=0.5, cooling_s=600.0)
    assert found["cop"] == 3.0


def test_defrosts_lower_the_cop_and_are_shown_apart() -> None:
    found = shown(
        thermal_energy_kwh=2.5, electrical_energy_defrost_kwh=0.1, thermal_energy_defrost_kwh=-0.5,
        thermal_energy_heating_kwh=2.5, electrical_energy_heating_defrost_kwh=0.1,
        thermal_energy_heating_defrost_kwh=-0.5,
    )  # fmt: skip
    assert found["cop"] == 2.5
    assert found["cop_without_defrost"] == found["cop_heating_without_defrost"] == pytest.approx(3.0 / 0.9)


def test_the_heat_of_the_immersion_heater_is_its_electricity() -> None:
    found = shown(electrical_energy_immersion_kwh=1.0)
    assert found["cop"] == 3.0 and found["cop_with_immersion"] == 2.0


def test_a_band_is_as_wide_as_what_the_ways_of_the_row_cost() -> None:
    """A counter has its step, whatever is no counter what sampling costs, and both what their error permits."""
    rules = Rules(metering=Metering(quanta_kwh={"thermal": {"meter counter": 0.1, "device counter": 1.0}}))
    sampled = {"edge_uncertainty_s2": 12 * 600.0**2, "compressor_s": 3600.0, "thermal_meter_error_kwh": 0.3}

    def reach(method: str) -> float:
        found = shown(rules, thermal_method=method, **sampled)
        return float((found["thermal_energy_high_kwh"] - found["thermal_energy_kwh"]) / 1.96)

    meter, sampling = 0.3 / 3**0.5, 3 / 6
    assert reach("meter counter") == pytest.approx(math.hypot(meter, 0.1 / 6**0.5))
    assert reach("device power") == reach("modulation × rated power") == pytest.approx(math.hypot(meter, sampling))
    assert reach("meter counter, device counter") == pytest.approx(math.hypot(meter, 1 / 6**0.5))
    assert reach("device counter, flow rate × spread") == pytest.approx(math.hypot(meter, 1 / 6**0.5, sampling))
    assert set(COUNTED) == {"meter counter", "device counter", "meter counter, device counter"}


amount = st.one_of(st.none(), st.floats(-5, 50), st.sampled_from([0.0, 1e-9, 0.05]))
time = st.one_of(st.just(0.0), st.floats(0, 3600), st.just(3600.0))
temperature = st.one_of(st.none(), st.floats(-25, 70))


@settings(max_examples=80, deadline=None)
@given(
    st.fixed_dictionaries(dict.fromkeys(figures.ENERGIES, amount)),
    st.fixed_dictionaries(dict.fromkeys(("electrical_s", "thermal_s", "heating_s", "dhw_s"), time)),
    temperature,
    temperature,
)
def test_no_cop_is_ever_negative_infinite_or_above_carnot(
    energies: dict[str, float | None], times: dict[str, float], flow: float | None, outdoor: float | None
) -> None:
    found = shown(**energies, **times, flow_temperature_mean=flow, outdoor_temperature_mean=outdoor)
    limit = math.inf
    if flow is not None and outdoor is not None:
        limit = (flow + 273.15) / max(flow - outdoor, 1)
    for name in COPS:
        assert found[name] is None or (0 < found[name] <= limit * (1 + 1e-9) and math.isfinite(found[name])), name
    assert (found["cop"] is None) == (found["cop_reason"] is not None)
    if found["cop"] is not None:
        assert 0 <= found["cop_low"] <= found["cop"] <= found["cop_high"]
    for name in ("electrical_coverage", "thermal_coverage"):
        assert 0 <= found[name] <= 1


pieces = st.lists(
    st.tuples(st.integers(-(10**12), 10**13), st.integers(1, 10**11), st.floats(-30, 90)), min_size=1, max_size=12
)


@settings(max_examples=25, deadline=None)
@given(pieces, st.randoms(use_true_random=False))
def test_merging_in_any_grouping_and_through_the_stored_form_gives_the_same_bits(
    parts: list[tuple[int, int, float]], random: Any
) -> None:
    """A month is the merge of its days to the last bit: millijoules and microseconds survive being stored as kWh."""
    zeros = pl.concat([_ZEROS] * len(parts))
    millijoules, us, degrees = (pl.Series(column) for column in zip(*parts, strict=True))
    rows = figures.exact(
        _override(
            zeros,
            {
                "start": pl.Series([START + timedelta(hours=number) for number in range(len(parts))]),
                "electrical_energy_kwh": millijoules / pl.Series([3_600_000_000] * len(parts)),
                "electrical_s": us / pl.Series([1_000_000] * len(parts)),
                "flow_temperature_mean": degrees,
                "flow_temperature_s": us / pl.Series([1_000_000] * len(parts)),
            },
        )
    )
    assert rows["electrical_energy_kwh"].to_list() == millijoules.to_list()
    at_once = figures.merge(rows, None)
    groups = rows.with_columns(group=pl.Series([random.randrange(3) for _ in parts]))
    stepwise = figures.merge(groups, "group", pl.col("start").first())
    stored = figures.exact(figures.in_units(stepwise))
    sums = ["electrical_energy_kwh", "electrical_s", "observed_s"]
    assert figures.merge(stored, None).select(sums).equals(at_once.select(sums))
    assert at_once["electrical_energy_kwh"][0] == sum(rows["electrical_energy_kwh"])


ways = st.lists(st.one_of(st.none(), st.sets(st.sampled_from(sorted(BITS)), min_size=1)), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(ways, st.randoms(use_true_random=False))
def test_the_ways_of_a_sum_are_those_of_its_parts_in_any_grouping_and_order(
    parts: list[set[str] | None], random: Any
) -> None:
    """Hours → days → months name the same ways as all frames at once, the best first."""
    words = [None if part is None else words_of(sum(BITS[way] for way in part)) for part in parts]
    rows = figures.exact(
        pl.concat([_ZEROS] * len(parts)).with_columns(
            pl.Series("start", [START + timedelta(hours=number) for number in range(len(parts))]).cast(UTC_TIME),
            pl.Series("thermal_method", words, pl.String),
            group=pl.Series([random.randrange(3) for _ in parts]),
        )
    )
    shuffled = rows.sample(fraction=1, shuffle=True, seed=random.randrange(1000))
    stepwise = figures.in_units(figures.merge(shuffled, "group", pl.col("start").first()))
    merged = figures.in_units(figures.merge(figures.exact(stepwise), None)).row(0, named=True)
    found = set().union(*(part or set() for part in parts))
    assert merged["thermal_method"] == (", ".join(way.word for way in WAYS if way.word in found) or None)
    assert merged["electrical_method"] is None


def test_division_gives_one_row_the_bits_that_it_has_among_many() -> None:
    amounts = pl.DataFrame({"amount": pl.Series([430_922_000, 7, 36, 10**15 + 1, None])})
    at_once = amounts.select(divided(pl.col("amount"), 3_600_000_000)).to_series().to_list()
    alone = [
        amounts[row : row + 1].select(divided(pl.col("amount"), 3_600_000_000)).item() for row in range(amounts.height)
    ]
    assert at_once == alone == [None if it is None else it / 3_600_000_000 for it in amounts["amount"]]

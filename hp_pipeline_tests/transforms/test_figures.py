"""COP: shown where the data bear it, else null with the reason; and sums that do not depend on grouping."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms import figures
from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.floors import Known
from hp_pipeline.transforms.schema import UTC as UTC_TIME
from hp_pipeline.transforms.schema import empty
from hp_pipeline.vocabulary.boundaries import Metering
from hp_pipeline.vocabulary.energies import KINDS
from hp_pipeline.vocabulary.meters import MeterError
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline.vocabulary.tables import BANDED_RATIOS, RATIO_COLUMNS
from hp_pipeline.vocabulary.ways import BITS, COUNTED, DEVICE_POWER, WAYS, words_of

RULES = Rules()
NONE = MeterError(0.0)
EXACT = Rules(metering=Metering(errors={kind: {DEVICE_POWER: NONE} for kind in ("electrical", "thermal")}))
"""Of a house whose power meters are never off."""
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
    heat, flow, outdoor = (
        given_amounts[name] for name in ("thermal_energy_kwh", "flow_temperature_mean", "outdoor_temperature_mean")
    )
    if None not in (heat, flow, outdoor):
        least = max(heat, 0) * max((flow - outdoor) / (flow + 273.15), 1 / Rules().maximum_cop)
        given_amounts = {"electrical_energy_least_kwh": least} | given_amounts
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


_IDLE = {
    "heating_s": 0.0, "electrical_energy_heating_kwh": 0.0, "thermal_energy_heating_kwh": 0.0,
    "standby_s": 3600.0, "electrical_energy_standby_kwh": 1.0, "thermal_energy_standby_kwh": 3.0,
}  # fmt: skip
"""Heat and electricity of standby, as of a pump that runs on."""


@pytest.mark.parametrize(
    ("amounts", "reason"),
    [
        ({"electrical_s": 0.0, "electrical_energy_kwh": None}, "no electricity known"),
        ({"thermal_s": 0.0, "thermal_energy_kwh": None}, "no heat known"),
        ({"electrical_s": 1620.0, "thermal_s": 1620.0}, "known for only 45 % of the time"),
        ({"thermal_s": 3240.0}, "electricity and heat are known for different times"),
        (_IDLE, "neither heating nor hot water in it"),
        (_IDLE | {"standby_s": 1800.0, "thermal_energy_standby_kwh": 1.6}, "neither heating nor hot water in it"),
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


@pytest.mark.parametrize("known_s", [0.0, 3000.0])
def test_energy_of_an_unknown_mode_counts_for_the_whole(known_s: float) -> None:
    found = shown(**_IDLE | {"standby_s": known_s, "thermal_energy_standby_kwh": 0.0})
    assert found["cop"] == 3.0 and found["cop_reason"] is None
    assert found["cop_heating"] is None and found["cop_dhw"] is None


def test_the_reason_follows_the_owners_rules() -> None:
    strict = Rules(minimum_coverage=0.9, minimum_electrical_energy_kwh=2.0)
    assert shown(strict, electrical_s=2880.0, thermal_s=2880.0)["cop_reason"] == "known for only 80 % of the time"
    assert shown(strict)["cop_reason"] == "less than 2.0 kWh of electricity"


def test_time_before_the_first_reading_is_not_missed() -> None:
    half = {"electrical_s": 1800.0, "thermal_s": 1800.0, "heating_s": 1800.0, "observed_s": 1800.0}
    assert shown(**half)["electrical_coverage"] == 0.5
    assert shown(known=Known(since=START + timedelta(minutes=30)), **half)["electrical_coverage"] == 1.0
    assert shown(known=Known(until=START + timedelta(minutes=30)), **half)["thermal_coverage"] == 1.0


def test_without_temperatures_no_machine_gives_twenty_times_its_electricity() -> None:
    unknown = {"flow_temperature_mean": None, "flow_temperature_s": 0.0}
    assert shown(**unknown, thermal_energy_kwh=19.0)["cop"] == 19.0
    found = shown(**unknown, thermal_energy_kwh=21.0)
    assert found["cop"] is None and found["cop_reason"] == "above the Carnot limit: a sensor is wrong"


def test_what_was_only_counted_over_a_silence_has_no_ratio_of_its_own() -> None:
    silence = {"observed_s": 0.0, "heating_s": 0.0, "electrical_energy_cooling_kwh": None}
    found = shown(**silence, electrical_energy_unobserved_kwh=1.0, thermal_energy_unobserved_kwh=3.0)
    assert found["cop"] is None and found["cop_reason"] == "only counted, over a silence"


def test_bands_of_what_cannot_be_negative_are_not() -> None:
    uncounted = {"electrical_energy_counter_kwh": None, "thermal_energy_counter_kwh": None}
    small = {"electrical_energy_kwh": 0.001, "thermal_energy_kwh": 0.002, "edge_uncertainty_s2": 1e6}
    found = shown(**uncounted, **small, compressor_s=60.0)
    assert found["electrical_energy_low_kwh"] == found["thermal_energy_low_kwh"] == 0.0


METERED = Metering(
    electrical=("compressor", "controls"),
    thermal=("compressor",),
    apart={
        "fan": "electrical_energy_fan_kwh",
        "immersion_heater": "electrical_energy_immersion_kwh",
        "circulation_pump": "electrical_energy_circulation_pump_kwh",
    },
    installed=("compressor", "controls", "fan", "immersion_heater", "circulation_pump"),
)
"""Of a house whose fan, immersion heater and pump have meters of their own."""

APART = {
    "electrical_energy_fan_kwh": 0.1, "fan_s": 3600.0,
    "electrical_energy_immersion_kwh": 1.0, "immersion_s": 3600.0,
    "electrical_energy_circulation_pump_kwh": 0.2, "circulation_pump_s": 3600.0,
}  # fmt: skip


def test_each_ratio_lies_in_its_band_and_the_band_of_a_part_is_wider() -> None:
    amounts = {"electrical_meter_error_kwh": 0.02, "thermal_meter_error_kwh": 0.15, "edge_uncertainty_s2": 900.0,
               "compressor_s": 1800.0, "electrical_energy_heating_kwh": 0.5, "thermal_energy_heating_kwh": 1.5,
               "thermal_meter_error_heating_kwh": 0.07, "thermal_meter_error_dhw_kwh": 0.08,
               "electrical_energy_dhw_kwh": 0.5, "thermal_energy_dhw_kwh": 1.5, "electrical_method": "meter power",
               "thermal_method": "flow rate × spread"}  # fmt: skip
    found = shown(Rules(metering=METERED), **amounts, **APART)
    widths = {}
    for name in BANDED_RATIOS:
        assert 0 < found[f"{name}_low"] < found[name] < found[f"{name}_high"] <= Rules().maximum_cop, name
        widths[name] = (found[f"{name}_high"] - found[f"{name}_low"]) / found[name]
    assert widths["cop_heating"] > widths["cop"], "its edges weigh more in half of the energy"


def test_a_boundary_is_shown_only_where_all_of_its_meters_are_known() -> None:
    rules = Rules(metering=METERED)
    whole = shown(rules, **APART)
    assert whole["spf_h1"] == 3.0 and whole["spf_h2"] == pytest.approx(3.0 / 1.1)
    assert whole["spf_h3"] == pytest.approx(4.0 / 2.1) and whole["spf_h4"] == pytest.approx(4.0 / 2.3)
    assert whole["spf_reason"] is None and whole["cop_with_immersion"] == 2.0
    partly = shown(rules, **APART | {"immersion_s": 360.0})
    assert (partly["spf_h1"], partly["spf_h2"]) == (whole["spf_h1"], whole["spf_h2"])
    assert partly["spf_h3"] is partly["spf_h4"] is partly["cop_with_immersion"] is None
    assert partly["spf_reason"] == (
        "H3: the meter of the immersion heater is known for only 10 % of the time; "
        "H4: the meter of the immersion heater is known for only 10 % of the time"
    )


@given(
    st.fixed_dictionaries({name: st.floats(0, 5) for name in APART if name.endswith("kwh")}),
    st.fixed_dictionaries(
        {name: st.sampled_from([0.0, 900.0, 3500.0, 3600.0]) for name in APART if name.endswith("_s")}
    ),
    st.sampled_from([0.0, 0.01, 1.0]),
    st.sampled_from([-1.0, 0.0, 3.0, 30.0]),
)
@settings(max_examples=60, deadline=None)
def test_a_boundary_without_a_figure_has_a_reason(
    energies: dict[str, float], times: dict[str, float], electricity: float, heat: float
) -> None:
    amounts = {"electrical_energy_kwh": electricity, "thermal_energy_kwh": heat}
    found = shown(Rules(metering=METERED), **energies, **times, **amounts)
    for boundary in (1, 2, 3, 4):
        spf = found[f"spf_h{boundary}"]
        assert (spf is None) == (found["cop_reason"] is not None or f"H{boundary}: " in (found["spf_reason"] or ""))
        assert spf is None or 0 < spf <= Rules().maximum_cop


def hour_of_minutes(
    minutes: Sequence[str],
    electrical: Mapping[str, float],
    thermal: Mapping[str, float],
    *,
    flow: Mapping[str, float],
    outdoor: float,
    backup_kw: float = 0.0,
    rules: Rules = RULES,
) -> dict[str, Any]:
    """An hour of frames of a minute as people see it.

    Args:
        minutes: the mode of each of the 60.
        electrical, thermal: by mode, kW, the backup heater included.
        flow: by mode, °C.
        backup_kw: of the backup heater, in all modes but standby.
    """
    starts = [START + timedelta(minutes=number) for number in range(60)]
    changes = [number == 0 or minutes[number] != minutes[number - 1] for number in range(60)]
    frames = empty("frames").clear(60).with_columns(
        heat_pump=pl.lit("hp"), start=pl.Series(starts),
        end=pl.Series([start + timedelta(minutes=1) for start in starts]),
        flow_temperature=pl.Series([flow.get(mode, 24.0) for mode in minutes]), outdoor_temperature=pl.lit(outdoor),
    )  # fmt: skip
    operation = empty("operation").clear(60).with_columns(
        heat_pump=pl.lit("hp"), start=frames["start"], end=frames["end"],
        mode=pl.Series(minutes), gap=False, session_start=pl.Series(changes), cycle_start=pl.Series(changes),
        defrost_start=False, defrost=False, compressor_running=pl.Series([mode != "standby" for mode in minutes]),
        provisional=False,
    )  # fmt: skip

    def millijoules(kw: Mapping[str, float]) -> pl.Series:
        return pl.Series([round(kw.get(mode, 0.0) * 60e6) for mode in minutes])

    of_kind = {"electrical": millijoules(electrical), "thermal": millijoules(thermal)}
    energies = pl.DataFrame(
        {
            "start": frames["start"], "end": frames["end"], "mode": operation["mode"], **of_kind,
            **{f"{kind}_integral": energy for kind, energy in of_kind.items()},
            **{f"{kind}_{what}": pl.Series([None] * 60, dtype=pl.Int64)
               for kind in of_kind for what in ("counter", "residual")},
            **{f"{kind}_way": pl.Series([BITS[DEVICE_POWER]] * 60) for kind in of_kind},
            **{f"{kind}_{how}_{edge}": pl.Series([0] * 60)
               for kind in of_kind for how in ("open", "by_time") for edge in ("begin", "end")},
            "thermal_taken": pl.Series([0] * 60),
            **{consumer: pl.Series([None] * 60, dtype=pl.Int64) for consumer in KINDS[2:]},
            "backup": millijoules(dict.fromkeys(set(minutes) - {"standby"}, backup_kw)),
        }
    )  # fmt: skip
    rows = figures.pieces(frames, operation, energies, pl.col("start").dt.truncate("1h"), rules)
    hour = figures.merge(rows, "cut", pl.col("end").last()).rename({"cut": "start"})
    return figures.shown(hour, rules, Known()).row(0, named=True)


def test_heat_of_a_short_charge_is_held_against_the_temperatures_of_the_charge() -> None:
    """Ten minutes of hot water at 55 °C outdoors 25 °C and a COP of 15: the cold water of the rest of the hour, which
    would let it pass, was not heated."""
    limit = (55 + 273.15) / 30

    def found(cop: float) -> dict[str, Any]:
        minutes = ["dhw"] * 10 + ["standby"] * 50
        return hour_of_minutes(minutes, {"dhw": 6.0}, {"dhw": 6.0 * cop}, flow={"dhw": 55.0}, outdoor=25.0)

    below = found(limit - 0.1)
    assert below["cop"] == pytest.approx(limit - 0.1)
    assert below["cop_dhw"] == pytest.approx(limit - 0.1)
    beyond = found(limit + 0.1)
    assert beyond["cop"] is beyond["cop_dhw"] is None
    assert beyond["cop_reason"] == "above the Carnot limit: a sensor is wrong"
    assert beyond["cop_uses_reason"] == "heating: not in it; dhw: above the Carnot limit: a sensor is wrong"


@pytest.mark.parametrize("cooled", [0, 10, 40])
def test_however_much_was_cooled_heat_is_known_as_well(cooled: int) -> None:
    """Ten minutes of hot water at a COP of 3; the meter of the heat counts what cooling takes, too."""
    minutes = ["cooling"] * cooled + ["standby"] * (50 - cooled) + ["dhw"] * 10
    power, heat = {"dhw": 2.0, "cooling": 0.9}, {"dhw": 6.0, "cooling": -3.6}
    found = hour_of_minutes(minutes, power, heat, flow={"dhw": 50.0, "cooling": 15.0}, outdoor=25.0)
    assert (found["cop"], found["cop_dhw"]) == pytest.approx((3.0, 3.0))
    assert found["thermal_meter_error_kwh"] == found["thermal_meter_error_dhw_kwh"] == pytest.approx(0.15 * 1.0)
    assert found["thermal_meter_error_heating_kwh"] == 0
    reach = 1.96 * math.hypot(0.15, 0.10) / 3**0.5
    for name in ("cop", "cop_dhw"):
        assert found[f"{name}_low"] == pytest.approx(3.0 * (1 - reach))
        assert found[f"{name}_high"] == pytest.approx(3.0 * (1 + reach))


def test_a_use_is_off_as_its_own_flow_and_spread_permit() -> None:
    """Of a heat meter the error of hot water, at a spread of 8 K, is less than that of heating, at 4 K."""
    found = shown(
        electrical_energy_heating_kwh=0.5, thermal_energy_heating_kwh=1.5, thermal_meter_error_heating_kwh=0.09,
        electrical_energy_dhw_kwh=0.5, thermal_energy_dhw_kwh=1.5, thermal_meter_error_dhw_kwh=0.06,
        thermal_meter_error_kwh=0.15,
    )  # fmt: skip
    heating, dhw, both = (
        found[f"{name}_high"] / found[name] - 1 for name in ("cop_heating", "cop_dhw", "cop_without_standby")
    )
    assert heating == pytest.approx(1.96 * 0.06 / 3**0.5)
    assert dhw == pytest.approx(1.96 * 0.04 / 3**0.5)
    assert both == pytest.approx(1.96 * 0.05 / 3**0.5)


HEATED = Metering(
    electrical=("compressor", "controls", "backup_heater"),
    thermal=("compressor", "backup_heater"),
    apart={"backup_heater": "electrical_energy_backup_heater_kwh"},
    installed=("compressor", "controls", "backup_heater"),
)
"""Of a house whose main meters include the backup heater, which also has one of its own."""


@given(st.floats(0, 12), st.floats(1.2, 4.0), st.sampled_from([-15.0, 0.0, 10.0]))
@settings(max_examples=30, deadline=None)
def test_however_much_a_rod_gives_the_heat_pump_is_judged_by_its_own(rod: float, cop: float, outdoor: float) -> None:
    """1.5 kW of a heat pump beside a rod, all behind one meter of the heat and one of the electricity."""
    rules = replace(EXACT, metering=replace(HEATED, errors=EXACT.metering.errors, apart_errors={"backup_heater": NONE}))
    found = hour_of_minutes(
        ["heating"] * 60, {"heating": 1.5 + rod}, {"heating": 1.5 * cop + rod}, flow={"heating": 55.0}, outdoor=outdoor,
        backup_kw=rod, rules=rules,
    )  # fmt: skip
    assert found["cop_reason"] is found["spf_reason"] is None
    assert found["spf_h1"] == found["spf_h2"] == pytest.approx(cop, rel=1e-6)
    assert found["spf_h3"] == found["cop"] == pytest.approx((1.5 * cop + rod) / (1.5 + rod), rel=1e-6)


@given(st.floats(0, 12), st.sampled_from([-15.0, 0.0, 10.0]))
@settings(max_examples=20, deadline=None)
def test_a_rod_hides_no_sensor_that_is_wrong(rod: float, outdoor: float) -> None:
    limit = (55 + 273.15) / (55 - outdoor)
    rules = replace(EXACT, metering=replace(HEATED, errors=EXACT.metering.errors, apart_errors={"backup_heater": NONE}))
    found = hour_of_minutes(
        ["heating"] * 60, {"heating": 1.5 + rod}, {"heating": 1.5 * (limit + 0.2) + rod}, flow={"heating": 55.0},
        outdoor=outdoor, backup_kw=rod, rules=rules,
    )  # fmt: skip
    assert found["spf_h1"] is found["spf_h2"] is None
    assert "above the Carnot limit" in found["spf_reason"]


def test_heat_that_one_use_cannot_have_had_is_in_no_cop_of_the_whole() -> None:
    """Hot water at a COP of 9, which 55 °C outdoors 2 °C do not allow; with the heating it would pass."""
    minutes = ["dhw"] * 10 + ["heating"] * 50
    power, flow = {"dhw": 2.4, "heating": 1.5}, {"dhw": 55.0, "heating": 35.0}
    found = hour_of_minutes(minutes, power, {"dhw": 9 * 2.4, "heating": 4 * 1.5}, flow=flow, outdoor=2.0)
    assert found["cop_heating"] == pytest.approx(4) and found["cop_dhw"] is None
    assert found["cop_reason"] == found["cop_uses_reason"] == "dhw: above the Carnot limit: a sensor is wrong"
    for name in ("cop", "cop_without_standby", "cop_without_defrost", "cop_gross", "cop_with_immersion", "spf_h2"):
        assert found[name] is None, name
    right = hour_of_minutes(minutes, power, {"dhw": 3 * 2.4, "heating": 4 * 1.5}, flow=flow, outdoor=2.0)
    assert right["cop"] == pytest.approx((3 * 0.4 + 4 * 1.25) / 1.65) and right["cop_uses_reason"] is None


def test_a_use_of_little_heat_does_not_take_the_cop_of_the_whole_with_it() -> None:
    little = {"electrical_energy_dhw_kwh": 0.06, "thermal_energy_dhw_kwh": 0.9, "electrical_energy_least_dhw_kwh": 0.1,
              "dhw_s": 60.0, "electrical_energy_heating_kwh": 8.0, "thermal_energy_heating_kwh": 24.0}  # fmt: skip
    found = shown(**little, electrical_energy_kwh=8.06, thermal_energy_kwh=24.9)
    assert found["cop"] == pytest.approx(24.9 / 8.06) and found["cop_dhw"] is None
    assert found["cop_uses_reason"] == "dhw: above the Carnot limit: a sensor is wrong"


def test_gross_heat_lacks_nothing_that_unmeasured_defrosts_took() -> None:
    found = shown(defrost_unmeasured_s=360.0, compressor_s=3600.0)
    assert found["cop_low"] == pytest.approx(3 * 0.9) and found["cop_gross_low"] == pytest.approx(3)


def test_cooling_is_no_part_of_the_cop() -> None:
    found = shown(
        electrical_energy_kwh=1.5, electrical_energy_cooling_kwh=0.5, cooling_s=600.0, electrical_cooling_s=600.0
    )
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
    sampled = {"edge_uncertainty_s2": 3 * 600.0**2, "compressor_s": 3600.0, "thermal_meter_error_kwh": 0.3}

    def reach(method: str) -> float:
        found = shown(rules, thermal_method=method, **sampled)
        return float((found["thermal_energy_high_kwh"] - found["thermal_energy_kwh"]) / 1.96)

    meter, sampling = 0.3 / 3**0.5, 3 / 6
    assert reach("meter counter") == pytest.approx(math.hypot(meter, 0.1 / 6**0.5))
    assert reach("device power") == reach("modulation × rated power") == pytest.approx(math.hypot(meter, sampling))
    assert reach("meter counter, device counter") == pytest.approx(math.hypot(meter, 1 / 6**0.5))
    assert reach("device counter, flow rate × spread") == pytest.approx(math.hypot(meter, 1 / 6**0.5, sampling))
    assert set(COUNTED) == {"meter counter", "device counter", "meter counter, device counter"}


def test_no_cop_is_made_of_what_the_steps_of_counters_may_hide() -> None:
    """A heat pump that has just begun: of its counter in steps of 1 kWh the first is still to come."""
    rules = Rules(metering=Metering(quanta_kwh={kind: {"device counter": 1.0} for kind in ("electrical", "thermal")}))
    counted = dict.fromkeys(("electrical_method", "thermal_method"), "device counter")
    begun = shown(rules, **counted, electrical_energy_kwh=0.49, thermal_energy_kwh=0.08)
    assert begun["cop"] is None and begun["cop_gross"] is None and begun["cop_low"] is None
    assert begun["cop_reason"] == "known too coarsely: steps of counters and times between readings hide as much"
    later = shown(rules, **counted, electrical_energy_kwh=10.0, thermal_energy_kwh=30.0)
    assert later["cop"] == 3.0 and later["cop_low"] > 2 and later["cop_reason"] is None
    # More heat than Carnot allows is no fault of a sensor where a step explains it.
    assert (
        shown(rules, **counted, electrical_energy_kwh=0.1, thermal_energy_kwh=3.0)["cop_reason"] == begun["cop_reason"]
    )
    fine = shown(electrical_energy_kwh=0.49, thermal_energy_kwh=1.5)
    assert fine["cop"] == pytest.approx(1.5 / 0.49)


def test_a_boundary_of_which_little_is_left_has_no_figure_where_steps_of_counters_may_hide_it() -> None:
    """The backup heater gave nearly all of the heat; of the heat pump's own there is less than a counter's step."""
    heaters = ("compressor", "backup_heater")
    metering = Metering(
        electrical=heaters, thermal=heaters, installed=heaters,
        apart={"backup_heater": "electrical_energy_backup_heater_kwh"},
        quanta_kwh={kind: {"device counter": 1.0} for kind in ("electrical", "thermal")},
    )  # fmt: skip
    counted = dict.fromkeys(("electrical_method", "thermal_method"), "device counter")

    def told(backup_kwh: float) -> dict[str, Any]:
        energies = {"electrical_energy_kwh": 10.0, "thermal_energy_kwh": 12.0}
        backup = {"electrical_energy_backup_heater_kwh": backup_kwh, "backup_heater_s": 3600.0}
        return shown(Rules(metering=metering), **counted, **energies, **backup)

    little = told(9.8)
    assert little["cop"] == little["spf_h3"] == 1.2 and little["spf_h1"] is None
    assert "H1: known too coarsely" in little["spf_reason"]
    much = told(2.0)
    assert much["spf_h1"] == pytest.approx(10 / 8) and much["spf_reason"] is None


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
    for name in COPS:
        cop = found[name]
        assert cop is None or (0 <= cop <= Rules().maximum_cop * (1 + 1e-9) and math.isfinite(cop)), name
        assert cop != 0 or name.endswith("_low")
        if cop is not None and name == "cop":
            assert cop * (found["electrical_energy_least_kwh"] or 0) <= found["thermal_energy_kwh"] * (1 + 1e-9)
    assert (found["cop"] is None) == (found["cop_reason"] is not None)
    assert (None in (found["cop_heating"], found["cop_dhw"])) == (found["cop_uses_reason"] is not None)
    if found["cop"] is not None:
        assert 0 < found["cop_low"] <= found["cop"] <= found["cop_high"]
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

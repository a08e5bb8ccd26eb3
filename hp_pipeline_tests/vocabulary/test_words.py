"""Units, points, durations, signals and tables: the words that everything else is made of."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_pipeline.vocabulary.durations import format_duration, parse_duration
from hp_pipeline.vocabulary.points import Selector, parse_point, series_point
from hp_pipeline.vocabulary.signals import signals, summary_signals
from hp_pipeline.vocabulary.tables import tables
from hp_pipeline.vocabulary.units import UNITS, conversion


@pytest.mark.parametrize(
    ("number", "unit", "canonical", "expected"),
    [
        (1.5, "kW", "W", 1500),
        (20, "l/min", "l/h", 1200),
        (1.2, "m³/h", "l/h", 1200),
        (2500, "Wh", "kWh", 2.5),
        (0.001, "MWh", "kWh", 1),
        (3.6, "MJ", "kWh", 1),
        (308.15, "K", "°C", 35),
        (308.15, "K", "°F", 95),
        (95, "°F", "°C", 35),
        (9, "°F", "K", 5),
        (5, "°C", "K", 5),
        (1800, "rpm", "Hz", 30),
        (90, "min", "h", 1.5),
    ],
)
def test_a_unit_becomes_the_canonical_one(number: float, unit: str, canonical: str, expected: float) -> None:
    factor, offset = conversion(unit, canonical)
    assert number * factor + offset == pytest.approx(expected)


@given(st.sampled_from(UNITS), st.sampled_from(UNITS), st.floats(-1e6, 1e6))
def test_conversions_go_round(unit: str, canonical: str, number: float) -> None:
    try:
        factor, offset = conversion(unit, canonical)
        back, shift = conversion(canonical, unit)
    except ValueError as error:
        assert "is a unit of" in str(error)
        return
    if "K" in {unit, canonical} and unit != canonical:
        return  # absolute one way, a difference the other
    assert (number * factor + offset) * back + shift == pytest.approx(number, abs=1e-6)


def test_a_unit_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="'kWh' is a unit of energy, not of power"):
        conversion("kWh", "W")
    with pytest.raises(ValueError, match="unknown unit 'furlong'"):
        conversion("furlong", "W")


words = st.text(st.characters(codec="utf-8", exclude_characters="\\\n", exclude_categories=["Cs", "Cc"]), min_size=1)


@given(words, st.dictionaries(words, words, max_size=3), words)
def test_a_series_survives_being_written_as_a_point(measurement: str, tags: dict[str, str], field: str) -> None:
    series = parse_point(series_point(measurement, tags, field))
    assert series is not None
    assert (series.measurement, dict(series.tags), series.field) == (measurement, tags, field)
    assert Selector(measurement=measurement, field=field, tags=tags).matches(series_point(measurement, tags, field))


def test_a_selector_finds_what_it_names_and_nothing_else() -> None:
    point = series_point("°C", {"domain": "sensor", "entity_id": "hp_flow"}, "value")
    assert point == "°C,domain=sensor,entity_id=hp_flow value"
    for selector, found in [
        (Selector(measurement="°C"), True),
        (Selector(measurement="C"), False),
        (Selector(measurement="/C$/"), True),
        (Selector(measurement="°C", field="state"), False),
        (Selector(tags={"entity_id": "hp_flow"}), True),
        (Selector(tags={"entity_id": "hp"}), False),
        (Selector(tags={"entity_id": "/^hp_/", "domain": "sensor"}), True),
        (Selector(tags={"friendly_name": "/.*/"}), False),
        (Selector(point=point), True),
        (Selector(point="/hp_flow value$/"), True),
        (Selector(point=point, field="state"), False),
        (Selector(), False),
    ]:
        assert selector.matches(point) is found, selector
    assert Selector(point="Vorlauf °C").matches("Vorlauf °C")
    assert not Selector(field="value").matches("plain")


@given(st.integers(1, 10_000_000))
def test_durations_go_round(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize("wrong", ["90", 90, "1 week", "", "s", None, "1h30m"])
def test_a_duration_without_a_unit_is_refused_with_the_remedy(wrong: object) -> None:
    with pytest.raises(ValueError, match="write a number with a unit"):
        parse_duration(wrong)


def test_every_signal_is_complete() -> None:
    for name, signal in signals().items():
        assert signal.description and signal.max_age > timedelta(), name
        if signal.kind in {"gauge", "counter"}:
            assert signal.unit in UNITS and signal.minimum is not None and signal.maximum is not None
            assert signal.minimum < signal.maximum
        if signal.kind == "state":
            assert len(signal.values) >= 2
    assert all(signals()[name].kind == "gauge" for name in summary_signals())
    wanted = {
        "room_setpoint",
        "room_temperature",
        "outdoor_temperature",
        "delta_t",
        "flow_setpoint",
        "flow_temperature",
    }
    assert wanted | {"flow_rate"} <= set(summary_signals())


def test_no_description_is_cut_short() -> None:
    """A comma ends an entry of YAML's braces: what stands behind it would be lost without a word."""
    described = [signal.description for signal in signals().values()]
    described += [column.description for table in tables().values() for column in table.columns]
    assert [text for text in described if text.count("(") != text.count(")")] == []


def test_every_column_is_explained_and_named_once() -> None:
    for table in tables().values():
        assert table.description
        assert len(set(table.names)) == len(table.names), table.name
        assert all(column.description for column in table.columns)


@pytest.mark.parametrize(
    "table",
    ["sessions", "cycles", "defrosts", "hourly", "daily", "weekly", "monthly", "seasonal", "yearly", "all_time"],
)
def test_the_columns_that_others_rely_on(table: str) -> None:
    modes = ("heating", "dhw", "standby", "defrost")
    wanted = {
        "heat_pump", "start", "end", "electrical_energy_kwh", "thermal_energy_kwh", "cop", "cop_heating", "cop_dhw",
        "cop_without_defrost", "cop_heating_without_defrost", "cop_dhw_without_defrost", "cop_with_immersion",
        "cop_dhw_with_immersion", "compressor_starts", "defrosts", "electrical_coverage", "thermal_coverage",
        "cop_reason", "electrical_energy_immersion_kwh", "electrical_energy_backup_heater_kwh",
        *(f"{kind}_energy_{mode}_kwh" for kind in ("electrical", "thermal") for mode in modes),
        *(f"flow_temperature_{what}" for what in ("min", "max", "mean", "first", "last")),
    }  # fmt: skip
    assert wanted <= set(tables()[table].names)

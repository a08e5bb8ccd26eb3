"""SPF H1 to H4: what the meters include decides which can be told."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_pipeline.transforms.boundaries import immersion_heater, spf_columns, terms
from hp_pipeline.vocabulary.boundaries import BOUNDARY_OF, HEATERS, Metering

COLUMNS = {
    "backup_heater": "electrical_energy_backup_heater_kwh",
    "immersion_heater": "electrical_energy_immersion_kwh",
    "circulation_pump": "electrical_energy_circulation_pump_kwh",
    "brine_pump": "electrical_energy_brine_pump_kwh",
    "fan": "electrical_energy_fan_kwh",
    "crankcase_heater": "electrical_energy_crankcase_heater_kwh",
    "controls": "electrical_energy_controls_kwh",
    "compressor": "electrical_energy_compressor_kwh",
}
"""Of a house where each consumer has a meter of its own."""

USED = {
    "compressor": 1000.0,
    "controls": 40.0,
    "crankcase_heater": 10.0,
    "fan": 60.0,
    "brine_pump": 30.0,
    "backup_heater": 100.0,
    "immersion_heater": 70.0,
    "circulation_pump": 90.0,
}
HEAT = 4000.0
"""Of the compressor's side, kWh."""


def true_spf(boundary: int, installed: Collection[str]) -> float:
    electricity = sum(USED[name] for name in installed if BOUNDARY_OF[name] <= boundary)
    heat = HEAT + sum(USED[name] for name in {*installed} & {*HEATERS} if boundary >= 3)
    return heat / electricity


def row(metering: Metering) -> pl.DataFrame:
    """What the meters of such a house say."""
    assert metering.electrical is not None
    assert metering.thermal is not None
    return pl.DataFrame(
        {
            "electrical_energy_kwh": [sum(USED[name] for name in metering.electrical)],
            "electrical_energy_cooling_kwh": [None],
            "thermal_energy_kwh": [HEAT + sum(USED[name] for name in {*metering.thermal} & {*HEATERS})],
            **{column: [USED[name]] for name, column in metering.apart.items()},
        },
        schema_overrides={"electrical_energy_cooling_kwh": pl.Float64},
    )


def spfs(metering: Metering) -> dict[str, float]:
    found, _ = spf_columns(metering)
    ratios = {name: terms.heat / terms.electricity for name, terms in found.items()}
    shown = row(metering).with_columns(**ratios).row(0, named=True)
    return {name: shown[name] for name in ratios}


def test_one_meter_over_all_and_the_heaters_apart() -> None:
    """The formulas of field trials: H2 = (heat - heaters) / (all - pumps - heaters), H4 = heat / all."""
    installed = (
        "compressor",
        "controls",
        "fan",
        "backup_heater",
        "circulation_pump",
    )
    everything = installed
    apart = {name: COLUMNS[name] for name in ("backup_heater", "circulation_pump")}
    metering = Metering(
        everything,
        (
            "compressor",
            "backup_heater",
        ),
        apart,
        installed,
    )
    found = spfs(metering)
    assert set(found) == {"spf_h2", "spf_h3", "spf_h4"}
    assert found["spf_h2"] == pytest.approx(4000 / 1100)
    assert found["spf_h3"] == pytest.approx(4100 / 1200)
    assert found["spf_h4"] == pytest.approx(4100 / 1290)
    assert spf_columns(metering)[1] == "H1: no meter of its own: fan"


def test_a_consumer_in_no_meter_takes_its_boundaries_with_it() -> None:
    installed = (
        "compressor",
        "controls",
        "fan",
        "immersion_heater",
        "circulation_pump",
    )
    metering = Metering(
        (
            "compressor",
            "controls",
            "fan",
        ),
        ("compressor",),
        {},
        installed,
    )
    found, reason = spf_columns(metering)
    assert set(found) == {"spf_h2"}
    assert reason == (
        "H1: no meter of its own: fan; H3: no meter of its own: immersion heater; "
        "H4: no meter of its own: circulation pump, immersion heater"
    )


def test_without_a_statement_there_is_no_boundary() -> None:
    nothing = Metering(None, ("compressor",), {}, ("compressor",))
    assert spf_columns(nothing) == ({}, "H1, H2, H3, H4: the settings do not say what the electricity includes")
    no_heat = Metering(("compressor",), None, {}, ("compressor",))
    assert terms(2, no_heat).reason == "the settings do not say what the heat includes"


parts = st.frozensets(st.sampled_from(sorted(set(BOUNDARY_OF) - {"compressor"})))


@given(parts, st.data())
def test_every_boundary_that_is_told_is_the_true_one(others: frozenset[str], data: st.DataObject) -> None:
    """Whatever is installed, included and metered apart: a figure is right or it is not there."""
    installed = others | {"compressor"}
    chosen = st.frozensets(st.sampled_from(sorted(installed)))
    electrical = data.draw(chosen) | {"compressor"}
    thermal = data.draw(chosen) & {*HEATERS} | {"compressor"}
    apart = {name: COLUMNS[name] for name in data.draw(chosen)}
    metering = Metering(tuple(sorted(electrical)), tuple(sorted(thermal)), apart, tuple(sorted(installed)))
    found = spfs(metering)
    for name, value in found.items():
        assert value == pytest.approx(true_spf(int(name[-1]), installed))
    if installed <= set(apart):
        assert len(found) == 4
    ordered = [found[name] for name in sorted(found)]
    if not installed & {*HEATERS}:
        assert ordered == sorted(ordered, reverse=True), "a wider boundary has the same heat and more electricity"


@given(parts, st.data())
def test_the_immersion_heater_is_added_to_what_does_not_include_it(others: frozenset[str], data: st.DataObject) -> None:
    """Each energy with it is the same, whatever the meters include; where it has no meter, it is not known."""
    installed = others | {"compressor"}
    chosen = st.frozensets(st.sampled_from(sorted(installed)))
    electrical, thermal = (data.draw(chosen) | {"compressor"} for _ in range(2))
    apart = {name: COLUMNS[name] for name in data.draw(chosen)}
    metering = Metering(tuple(sorted(electrical)), tuple(sorted(thermal)), apart, tuple(sorted(installed)))
    rod = immersion_heater(metering)
    is_there = "immersion_heater" in installed
    for included, is_added in ((electrical, rod.electrical), (thermal, rod.thermal)):
        own = USED["immersion_heater"] if "immersion_heater" in included else 0.0
        more = USED["immersion_heater"] if is_added and rod.is_metered else 0.0
        if rod.is_known:
            assert own + more == (USED["immersion_heater"] if is_there else 0.0)
    if is_there and rod.is_metered:
        assert rod.is_known

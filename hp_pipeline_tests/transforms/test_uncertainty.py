"""Bands around figures: wide enough to hold the truth as often as they say, and not much wider."""

from __future__ import annotations

import random

import polars as pl
import pytest

from hp_pipeline.transforms.uncertainty import Apart, Error, fixed_deviation, permissible_error, ratio_band
from hp_pipeline.vocabulary.meters import electricity_meter, heat_meter

DRAWS = 4000


def at(accuracy: str, flow: float | None, spread: float | None) -> float:
    meter = heat_meter(accuracy, nominal_flow_l_per_h=1000, least_spread_k=3)
    row = pl.DataFrame({"flow": [flow], "spread": [spread]}, schema={"flow": pl.Float64, "spread": pl.Float64})
    found = row.with_columns(error=permissible_error(meter, pl.col("flow"), pl.col("spread")))
    return float(found["error"][0])


@pytest.mark.parametrize(("spread", "percent"), [(3, 7.0), (4, 6.0), (5, 5.4), (7, 4.8), (10, 4.2)])
def test_a_class_2_meter_at_half_its_nominal_flow(spread: float, percent: float) -> None:
    """EN 1434 as tabulated for qp/q = 2 and a least spread of 3 K."""
    assert 100 * at("2", 500, spread) == pytest.approx(percent, abs=0.06)


def test_where_flow_and_spread_do_not_count() -> None:
    assert at("device", 500, 3) == at("device", None, None) == 0.15
    assert at("2", None, None) == pytest.approx(heat_meter("2").at_plate)
    assert at("2", 500, -3) == at("2", 500, 3)
    assert at("2", 500, 0) < 1


@pytest.mark.parametrize(("accuracy", "percent"), [("1", 5 + 2.2), ("2", 5 + 2.2), ("3", 5 + 2.2)])
def test_a_flow_sensor_is_off_by_five_percent_at_most(accuracy: str, percent: float) -> None:
    """A trickle of a thousandth of the nominal flow at a spread of 10 K; at the nominal flow it is much less."""
    assert 100 * at(accuracy, 1, 10) == pytest.approx(percent)
    assert at(accuracy, 1000, 10) < at(accuracy, 1, 10)


@pytest.mark.parametrize(("accuracy", "percent"), [("A", 3.5), ("B", 2), ("C", 1)])
def test_a_class_of_electricity_meters_holds_in_use_not_in_the_laboratory(accuracy: str, percent: float) -> None:
    """Directive 2014/32/EU, annex V, table 2: 5 to 30 °C, from the least current on."""
    assert 100 * electricity_meter(accuracy).at_plate == pytest.approx(percent)


def drawn(kwh: float, share: float, quantum: float, sampling: float, coverage: float, seed: int) -> pl.DataFrame:
    """What a meter with a drawn error says of true energies, beside what an error's band needs."""
    source = random.Random(seed)
    rows = []
    for _ in range(DRAWS):
        true = kwh * source.uniform(0.5, 1.5)
        seen = true * coverage * (1 + source.uniform(-share, share)) + source.gauss(0, sampling)
        if quantum:
            base = source.uniform(0, quantum)
            seen = ((base + seen) // quantum - base // quantum) * quantum
        rows.append((true, seen, seen * share, coverage))
    return pl.DataFrame(rows, schema=["true", "seen", "meter", "coverage"], orient="row")


def error(quantum: float, sampling: float) -> Error:
    seen = pl.col("seen")
    fixed = fixed_deviation(pl.lit(quantum), pl.lit(3 * sampling**2))
    return Error(seen, pl.col("meter"), fixed, seen * (1 / pl.col("coverage") - 1), pl.lit(1.0), pl.lit(0.0))


@pytest.mark.parametrize(
    ("share", "quantum", "sampling", "coverage"),
    [(0.06, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 1.0), (0.0, 0.0, 0.4, 1.0), (0.05, 1.0, 0.3, 1.0), (0.02, 0.1, 0.1, 0.8)],
)
def test_bands_of_an_energy_hold_the_truth(share: float, quantum: float, sampling: float, coverage: float) -> None:
    rows = drawn(15, share, quantum, sampling, coverage, seed=7)
    band = error(quantum, sampling)
    inside = rows.select(inside=pl.col("true").is_between(band.low, band.high))["inside"].mean()
    assert isinstance(inside, float)
    assert inside >= 0.94
    if coverage == 1:
        width = rows.select(width=(band.high - band.low) / 2)["width"].mean()
        off = (rows["true"] - rows["seen"]).abs().max()
        assert isinstance(width, float)
        assert isinstance(off, float)
        assert width < 1.35 * off, "a band wider than any error says too little"


@pytest.mark.parametrize("coverage", [1.0, 0.7])
def test_bands_of_a_cop_hold_the_truth(coverage: float) -> None:
    heat = drawn(15, 0.06, 0.1, 0.05, coverage, seed=1).rename(lambda name: f"{name}_heat")
    power = drawn(4, electricity_meter("B").share, 0.01, 0.02, coverage, seed=2).rename(lambda name: f"{name}_power")
    rows = pl.concat([heat, power], how="horizontal")

    def of(kind: str) -> Error:
        seen = pl.col(f"seen_{kind}")
        lacking = seen * (1 / pl.col(f"coverage_{kind}") - 1)
        fixed = fixed_deviation(pl.lit(0.1), pl.lit(3 * 0.05**2))
        return Error(seen, pl.col(f"meter_{kind}"), fixed, lacking, pl.lit(1.0), pl.lit(0.0))

    low, high = ratio_band(of("heat"), of("power"))
    true = pl.col("true_heat") / pl.col("true_power")
    shown = rows.select(inside=true.is_between(low, high), ordered=(low < high) & (low >= 0))
    inside = shown["inside"].mean()
    assert isinstance(inside, float)
    assert inside >= 0.94
    assert shown["ordered"].all()


@pytest.mark.parametrize("backup_share", [0.0, 0.02, 0.10])
@pytest.mark.parametrize(("sign", "in_main"), [(-1, True), (1, False)])
def test_bands_hold_the_truth_where_a_heater_is_added_or_taken_off(
    backup_share: float, sign: int, in_main: bool
) -> None:
    """A day of frost: most of the electricity is a rod's, which the main meters include and H2 does not, or which they
    do not include and H3 does."""
    heat, power, backup = 62.0, 24.0, 48.0
    source = random.Random(11)
    main_heat, main_power = ((kwh + backup if in_main else kwh) for kwh in (heat, power))
    true = (main_heat + sign * backup) / (main_power + sign * backup)
    rows = []
    for _ in range(DRAWS):
        of_heat, of_power, of_backup = (1 + source.uniform(-share, share) for share in (0.07, 0.02, backup_share))
        rows.append((main_heat * of_heat, main_power * of_power, backup * of_backup))
    seen = pl.DataFrame(rows, schema=["heat", "power", "backup"], orient="row")
    nothing = pl.lit(0.0)

    def of(kind: str, share: float) -> Error:
        rest = pl.col(kind) + sign * pl.col("backup")
        return Error(rest, pl.col(kind) * share, nothing, nothing, pl.lit(1.0), nothing)

    apart = Apart(pl.col("backup") * backup_share, sign, sign)
    low, high = ratio_band(of("heat", 0.07), of("power", 0.02), [apart])
    shown = seen.select(inside=pl.lit(true).is_between(low, high), width=(high - low) / 2 / true)
    off = seen.select(off=((of("heat", 0).energy / of("power", 0).energy) / true - 1).abs())["off"]
    inside, width, within = shown["inside"].mean(), shown["width"].mean(), off.quantile(0.95)
    assert isinstance(inside, float) and isinstance(width, float) and within is not None
    assert inside >= 0.94
    assert width < 1.35 * within, "a band wider than the errors says too little"

"""What defrosts take, how long the flow needs, and their sums by the outdoor temperature."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms import defrosts
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.rules import Rules

START = datetime(2024, 1, 9, 23, 50, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RULES = Rules()


def _found(minutes: list[tuple[float | None, float | None]], begin: int, over: int) -> dict[str, Any]:
    """What is said of a defrost, from the flow temperature and the heat (W) of each minute."""
    frames = pl.DataFrame(
        {
            "start": [START + number * MINUTE for number in range(len(minutes))],
            "flow_temperature": [flow for flow, _ in minutes],
            "thermal_power": [heat for _, heat in minutes],
        },
        schema_overrides={"flow_temperature": pl.Float64, "thermal_power": pl.Float64},
    ).with_columns(end=pl.col("start") + MINUTE)
    rows = conform(pl.DataFrame({"start": [START + begin * MINUTE], "end": [START + over * MINUTE]}), "defrosts")
    seen = conform(frames, "frames").select(defrosts.FRAME_COLUMNS)
    return defrosts.with_recovery(rows, seen, RULES).row(0, named=True)


def test_the_time_until_the_flow_is_as_warm() -> None:
    heating: tuple[float | None, float | None] = (35.0, 6000.0)
    row = _found(
        [heating] * 5
        + [(30.0, 600.0)]
        + [(20.0, -6000.0)] * 3
        + [(22.0, -600.0)]
        + [(30.0, 3000.0)] * 7
        + [(34.6, 6e3)],
        begin=5,
        over=9,
    )
    assert row["heat_again_s"] == 60.0
    assert row["recovery_s"] == 8 * 60.0, "to half a kelvin"
    assert row["recovery_reason"] is None


def test_why_there_is_no_recovery() -> None:
    heating: list[tuple[float | None, float | None]] = [(35.0, 6000.0)] * 5
    cold: list[tuple[float | None, float | None]] = [(20.0, -6000.0)] * 4
    assert _found(heating + cold + [(30.0, 100.0)] * 20, 5, 9)["recovery_reason"] == "readings end before"
    assert _found(heating + cold + [(30.0, 100.0)] * 80, 5, 9)["recovery_reason"].endswith("within 60 min")
    assert "before it is unknown" in _found([(None, 1.0)] * 5 + cold + heating * 20, 5, 9)["recovery_reason"]
    assert "after it is unknown" in _found(heating + cold + [(None, 1.0)] * 80, 5, 9)["recovery_reason"]
    unknown = _found(heating + [(20.0, None)] * 4 + heating, 5, 9)
    assert unknown["heat_taken_kwh"] is None and unknown["recovery_s"] == 0.0


_HOURS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(-15, 15).map(lambda degrees: round(degrees, 1))),
        st.integers(0, 3),
        st.integers(0, 3000),
        st.integers(-500, 9000),
    ),
    min_size=2,
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(_HOURS, st.integers(1, 11))
def test_a_season_is_the_merge_of_its_months_and_nothing_is_lost(
    hours: list[tuple[float | None, int, int, int]], cut: int
) -> None:
    rows = pl.DataFrame(
        {
            "heat_pump": ["house"] * len(hours),
            "start": [START + timedelta(hours=number) for number in range(len(hours))],
            "outdoor_temperature_mean": [outdoor for outdoor, *_ in hours],
            "defrosts": [count for _, count, *_ in hours],
            "electrical_energy_kwh": [watts / 1000 for *_, watts, _ in hours],
            "thermal_energy_kwh": [watts / 1000 for *_, watts in hours],
        }
    ).with_columns(
        pl.lit(0.0).alias("electrical_energy_cooling_kwh"),
        pl.lit(0.0).alias("heat_from_tank_kwh"),
        *(pl.lit(3600.0).alias(name) for name in ("observed_s", "electrical_s", "thermal_s", "compressor_s")),
        defrost_s=pl.col("defrosts") * 240.0,
        electrical_energy_defrost_kwh=pl.col("defrosts") * 0.01,
        thermal_energy_defrost_kwh=pl.col("defrosts") * -0.3,
    )
    table = conform(rows, "hourly").select(defrosts.HOURLY_COLUMNS)
    began = rows.filter(pl.col("defrosts") > 0).select(pl.col("start") + timedelta(minutes=59), recovery_s=120.0)
    whole = defrosts.by_temperature(table, began, RULES)
    at = START + timedelta(hours=cut)
    months = [
        conform(
            defrosts.by_temperature(table.filter(side), began.filter(side), RULES).with_columns(start=pl.lit(START)),
            "defrost_monthly",
        )
        for side in (pl.col("start") < at, pl.col("start") >= at)
    ]
    assert conform(defrosts.merged(pl.concat(months), RULES), "defrost_monthly").equals(
        conform(whole, "defrost_monthly")
    )
    assert whole["defrosts"].sum() == rows["defrosts"].sum()
    assert whole["recovered"].sum() == began.height
    assert abs(whole["thermal_energy_kwh"].sum() - rows["thermal_energy_kwh"].sum()) < 1e-9
    shown = whole.filter(pl.col("cop").is_not_null())
    assert (shown["cop_cost"] >= -1e-12).all(), "here defrosts only take"
    assert (whole["cop"].is_null() == whole["cop_reason"].is_not_null()).all()


def _hours(**columns: Any) -> pl.DataFrame:
    """Ten hours at 1 °C with 1 kWh of electricity and 3 kWh of heat each, and what differs."""
    whole = {"electrical_energy_kwh": 1.0, "electrical_energy_cooling_kwh": 0.0, "thermal_energy_kwh": 3.0}
    none = {"electrical_energy_defrost_kwh": 0.0, "thermal_energy_defrost_kwh": 0.0, "heat_from_tank_kwh": 0.0}
    seconds = dict.fromkeys(("observed_s", "electrical_s", "thermal_s", "compressor_s"), 3600.0)
    warm = {"flow_temperature_mean": 33.0, "flow_temperature_s": 3600.0}
    outdoor = {"outdoor_temperature_mean": 1.0, "outdoor_temperature_s": 3600.0, "defrost_s": 0.0, "defrosts": 0}
    told = whole | none | seconds | warm | outdoor | columns
    rows = pl.DataFrame(
        {name: value if isinstance(value, list) else [value] * 10 for name, value in told.items()}, strict=False
    )
    starts = [START.replace(minute=0) + timedelta(hours=number) for number in range(10)]
    return conform(rows.with_columns(heat_pump=pl.lit("a"), start=pl.Series(starts)), "hourly").select(
        defrosts.HOURLY_COLUMNS
    )


def _cop(**columns: Any) -> tuple[float | None, str | None]:
    none = pl.DataFrame(schema={"start": pl.Datetime("us", "UTC"), "recovery_s": pl.Float64})
    row = defrosts.by_temperature(_hours(**columns), none, RULES).row(0, named=True)
    assert (row["cop"] is None) == (row["cop_without_defrost"] is None) == (row["cop_cost"] is None)
    return row["cop"], row["cop_reason"]


def test_the_cop_of_a_bin_obeys_the_floors_of_every_cop() -> None:
    half: list[float | None] = [1.0] * 6 + [None] * 4
    assert _cop() == (3.0, None)
    unlike = _cop(electrical_energy_kwh=half, electrical_s=[3600.0] * 6 + [0.0] * 4)
    assert unlike == (None, "electricity and heat are known for different times")
    few = [3600.0] * 4 + [0.0] * 6
    assert _cop(electrical_s=few, thermal_s=few) == (None, "known for only 40 % of the time")
    assert _cop(electrical_energy_kwh=0.001)[1] == "less than 0.05 kWh of electricity"
    assert _cop(thermal_energy_kwh=-1.0)[1] == "no heat given"
    carnot = "above the Carnot limit: a sensor is wrong"
    assert _cop(electrical_energy_kwh=0.25) == (None, carnot), "from 1 to 33 °C the limit is 9.6"
    assert _cop(electrical_energy_kwh=0.25, flow_temperature_mean=None, flow_temperature_s=0.0)[0] == 12.0
    assert _cop(electrical_energy_kwh=0.03, flow_temperature_mean=None, flow_temperature_s=0.0) == (None, carnot)
    brine = {"source_in_temperature_mean": 10.0, "source_in_temperature_s": 3600.0}
    assert _cop(electrical_energy_kwh=0.25, **brine)[0] == 12.0, "a machine in the ground draws from the ground"


def test_what_was_counted_over_a_silence_is_of_no_mode_and_not_lost() -> None:
    silent = {name: [0.0] * 3 + [3600.0] * 7 for name in ("observed_s", "compressor_s")}
    unknown: list[float | None] = [None] * 3 + [0.0] * 7
    assert _cop(electrical_energy_cooling_kwh=unknown, **silent)[0] == 3.0

"""What goes in comes out: energies, durations and counts are the same in every table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.outputs.summary import SESSION_VIEW, text_table
from hp_pipeline.vocabulary.tables import COUNT_COLUMNS, DURATION_COLUMNS, energy_columns
from hp_pipeline_tests.assets.house import (
    CURRENT,
    DEFROST,
    DELTA_T,
    FLOW,
    FLOW_RATE,
    MODE,
    POWER,
    VALVE,
    built,
    live,
    midnight,
    readings,
    table,
)

ENERGIES = [column.name for column in energy_columns()]
DURATIONS = [column.name for column in DURATION_COLUMNS]
COUNTS = [column.name for column in COUNT_COLUMNS]
PERIODS = ["hourly", "daily", "weekly", "monthly", "seasonal", "yearly", "all_time"]
CASES = [
    ("Europe/Berlin", datetime(2024, 3, 29, 20, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2024, 10, 25, 20, tzinfo=UTC)),
    ("Asia/Kolkata", datetime(2023, 12, 30, 5, tzinfo=UTC)),
    ("America/St_Johns", datetime(2024, 3, 9, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2024, 4, 5, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2024, 10, 4, tzinfo=UTC)),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]} {case[1]:%B}")
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    time_zone, start = request.param
    return built(tmp_path_factory.mktemp("house"), live(start, 5, seed=11), time_zone)


def _sums(rows: pl.DataFrame, columns: list[str]) -> dict[str, float]:
    return {name: rows[name].fill_null(0).sum() for name in columns}


def test_every_period_sums_to_the_frames(house: Workspace) -> None:
    frames = table(house, "frames").with_columns(
        hours=(pl.col("end") - pl.col("start")).dt.total_microseconds() / 3.6e9
    )
    electrical, thermal = (
        frames.select((pl.col(power) * pl.col("hours") / 1000).sum()).item()
        for power in ("electrical_power", "thermal_power")
    )
    for name in PERIODS:
        rows = table(house, name)
        assert rows["electrical_energy_kwh"].sum() == pytest.approx(electrical, abs=1e-6)
        assert rows["thermal_energy_kwh"].sum() == pytest.approx(thermal, abs=1e-6)
        assert rows["observed_s"].sum() == pytest.approx(frames["hours"].sum() * 3600, abs=1e-6)


def test_all_tables_agree_on_every_sum(house: Workspace) -> None:
    whole = _sums(table(house, "all_time"), ENERGIES + DURATIONS + COUNTS)
    assert whole["electrical_energy_kwh"] > 1 and whole["defrosts"] > 0 and whole["compressor_starts"] > 0
    for name in [*PERIODS, "segments"]:
        assert _sums(table(house, name), list(whole)) == pytest.approx(whole, abs=1e-9)


def test_sessions_and_the_time_without_a_mode_make_the_whole(house: Workspace) -> None:
    segments = table(house, "segments")
    unknown = _sums(segments.filter(pl.col("mode").is_null()), ENERGIES + DURATIONS + COUNTS)
    sessions = _sums(table(house, "sessions"), list(unknown))
    assert {name: sessions[name] + unknown[name] for name in unknown} == pytest.approx(
        _sums(table(house, "all_time"), list(unknown)), abs=1e-9
    )


def test_cycles_of_a_session_sum_to_it(house: Workspace) -> None:
    segments = table(house, "segments").filter(pl.col("mode").is_not_null(), pl.col("state").is_null())
    sessions = table(house, "sessions")
    cycles = table(house, "cycles").group_by("session_start").agg(pl.col([*ENERGIES, *DURATIONS, *COUNTS]).sum())
    assert cycles["session_start"].is_in(sessions["start"].implode()).all()
    for session in sessions.iter_rows(named=True):
        of_it = cycles.filter(pl.col("session_start") == session["start"])
        stateless = segments.filter(pl.col("start") >= session["start"], pl.col("start") < session["end"])
        for name in ENERGIES + DURATIONS + COUNTS:
            parts = of_it[name].sum() + (stateless[name].sum() or 0)
            assert parts == pytest.approx(session[name] or 0, abs=1e-9), name


def test_parts_sum_to_the_whole_in_every_row(house: Workspace) -> None:
    for name in [*PERIODS, "sessions", "cycles", "defrosts"]:
        rows = table(house, name)
        unknown = (
            rows["observed_s"]
            - rows.select(pl.sum_horizontal("heating_s", "dhw_s", "cooling_s", "standby_s")).to_series()
        )
        for row in rows.filter(unknown < 1e-6).iter_rows(named=True):
            for kind, modes in (
                ("electrical", ("heating", "dhw", "standby", "cooling")),
                ("thermal", ("heating", "dhw", "standby")),
            ):
                parts = sum(row[f"{kind}_energy_{mode}_kwh"] or 0 for mode in modes)
                assert parts == pytest.approx(row[f"{kind}_energy_kwh"] or 0, abs=1e-9)
            of_modes = sum(row[f"electrical_energy_{mode}_defrost_kwh"] or 0 for mode in ("heating", "dhw"))
            assert of_modes == pytest.approx(row["electrical_energy_defrost_kwh"] or 0, abs=1e-9)


def test_hours_and_days_tile_the_local_calendar(house: Workspace) -> None:
    hours, days = table(house, "hourly").sort("start"), table(house, "daily").sort("start")
    assert (hours["start"].shift(-1) >= hours["end"]).drop_nulls().all(), "hours overlap"
    assert hours["local_start"].n_unique() == hours.height
    assert (hours["observed_s"] <= (hours["end"] - hours["start"]).dt.total_seconds()).all()
    for day in days.iter_rows(named=True):
        within = hours.filter(pl.col("start") >= day["start"], pl.col("start") < day["end"])
        assert within["end"].max() <= day["end"]
        assert _sums(within, ENERGIES) == pytest.approx(_sums(days.filter(pl.col("start") == day["start"]), ENERGIES))


def test_an_event_is_counted_once_where_it_begins(house: Workspace) -> None:
    total = table(house, "all_time").row(0, named=True)
    sessions = table(house, "sessions")
    assert table(house, "defrosts").height == total["defrosts"] == sessions["defrosts"].sum()
    for mode in ("heating", "dhw"):
        assert sessions.filter(pl.col("mode") == mode).height == total[f"{mode}_sessions"]


@pytest.mark.parametrize(
    ("time_zone", "day", "hours"),
    [
        ("Europe/Berlin", "2024-03-31", 23.0),
        ("Europe/Berlin", "2024-10-27", 25.0),
        ("America/St_Johns", "2024-03-10", 23.0),
        ("America/St_Johns", "2024-11-03", 25.0),
        ("Australia/Lord_Howe", "2024-04-07", 24.5),
        ("Australia/Lord_Howe", "2024-10-06", 23.5),
        ("Asia/Kolkata", "2024-03-31", 24.0),
    ],
)
def test_a_day_has_the_energy_of_its_own_hours(tmp_path: Path, time_zone: str, day: str, hours: float) -> None:
    """1 kW all the time: a day of 23 hours uses 23 kWh, and each of its hours 1 kWh (or its part of it)."""
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(days=1)
    rows = []
    for count in range(3 * 24 * 12):
        now = start + timedelta(minutes=5 * count)
        rows += [(POWER, now, 1000.0), (MODE, now, "Heating"), (FLOW_RATE, now, 60 / 4.1868), (DELTA_T, now, 3.0)]
    house = built(tmp_path, readings(rows), time_zone)
    found = table(house, "daily").filter(pl.col("period") == day).row(0, named=True)
    assert found["electrical_energy_kwh"] == pytest.approx(hours, abs=1e-9)
    assert found["thermal_energy_kwh"] == pytest.approx(3 * hours, abs=1e-6)
    assert found["cop"] == pytest.approx(3)
    assert found["observed_s"] == hours * 3600 and found["electrical_coverage"] == 1
    within = table(house, "hourly").filter(pl.col("start") >= found["start"], pl.col("start") < found["end"])
    lasts = (within["end"] - within["start"]).dt.total_seconds() / 3600
    assert (within["electrical_energy_kwh"] - lasts).abs().max() < 1e-9
    assert (within["electrical_coverage"] == 1).all()
    assert within["local_start"].n_unique() == within.height


def test_a_session_over_midnights_is_the_merge_of_its_segments(tmp_path: Path) -> None:
    rows = []
    for count in range(12 * 60):
        now = midnight(2024, 1, 10) + timedelta(hours=6, minutes=5 * count)
        heats = 12 <= count < 12 * 50
        rows += [(MODE, now, "Heating" if heats else "Fan Only"), (VALVE, now, "OFF"), (DEFROST, now, "OFF")]
        rows += [(POWER, now, 1000.0 + count if heats else 20.0), (FLOW_RATE, now, 15.0), (DELTA_T, now, 4.0)]
    house = built(tmp_path, readings(rows))
    session = table(house, "sessions").filter(pl.col("mode") == "heating").row(0, named=True)
    assert (session["start"], session["end"]) == (midnight(2024, 1, 10, 7), midnight(2024, 1, 12, 8))
    pieces = table(house, "segments").filter(pl.col("mode") == "heating")
    assert pieces["start"].dt.date().n_unique() == 3
    assert session["electrical_energy_kwh"] == pytest.approx(pieces["electrical_energy_kwh"].sum(), abs=1e-9)
    assert session["electrical_power_min"] == 1012 and session["electrical_power_max"] == 1599
    assert session["electrical_power_first"] == 1012 and session["electrical_power_last"] == 1599
    assert session["electrical_power_mean"] == pytest.approx(1305.5)
    assert session["heating_s"] == session["observed_s"] == 49 * 3600


@pytest.mark.parametrize("told", [True, False])
def test_a_session_is_as_sure_as_the_frames_that_it_lasts(tmp_path: Path, told: bool) -> None:
    """The time-weighted mean over its frames, over midnights too; and 1 where the machine tells its mode itself."""
    rows: list[tuple[str, datetime, float | str]] = []
    for count in range(12 * 60):
        now = midnight(2024, 1, 10) + timedelta(hours=6, minutes=5 * count)
        heats = 12 <= count < 12 * 50
        to_tank = 12 * 20 <= count < 12 * 21
        rows += [(POWER, now, 1000.0 + count if heats else 20.0), (FLOW_RATE, now, 15.0), (DELTA_T, now, 4.0)]
        rows += [(CURRENT, now, 7.0 if heats else 0.0), (DEFROST, now, "OFF"), (FLOW, now, 47.0 if to_tank else 34.0)]
        if told:
            rows.append((MODE, now, "Heating" if heats else "Fan Only"))
        if told or count < 12 * 30:
            rows.append((VALVE, now, "OFF"))
    house = built(tmp_path, readings(rows))
    frames = table(house, "operation").with_columns(span=(pl.col("end") - pl.col("start")).dt.total_microseconds())
    for name in ("sessions", "cycles"):
        found = table(house, name)
        assert (found["end"] - found["start"] > timedelta(days=1)).any()
        for row in found.to_dicts():
            own = frames.filter(pl.col("start") >= row["start"], pl.col("start") < row["end"])
            mean = float(own.select((pl.col("mode_confidence") * pl.col("span")).sum() / pl.col("span").sum()).item())
            assert row["confidence"] == pytest.approx(mean, abs=1e-9)
            assert (row["confidence"] == 1) == told
    view = text_table(table(house, "sessions"), SESSION_VIEW, "Europe/Berlin", "sessions")
    assert ("sure" in view) == (not told)
    assert told or "90%" in view

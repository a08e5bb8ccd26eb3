"""A solar heating's tables: the same whatever came first, late, twice and only as much work as is due."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.exports import write_daily_csv, write_weekly_csv
from hp_pipeline.assets.stages import SOLAR_STAGES, HouseDailyStage, stages, store_readings, tables_of
from hp_pipeline.assets.workspace import SolarPlant, Workspace
from hp_pipeline.automation.jobs import figures_selection
from hp_pipeline.cli import cli
from hp_pipeline.simulation.devices.mqtt import SolarHouse
from hp_pipeline.simulation.house import Operation, simulate
from hp_pipeline.simulation.parameters import DAIKIN_ALTHERMA
from hp_pipeline.simulation.sensors import SensorModel, observe
from hp_pipeline.simulation.weather import simulate_weather
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.tables import HOUSE_SUM_COLUMNS
from hp_pipeline_tests.assets.small_house import contents, run_job, write_house
from hp_pipeline_tests.transforms.solar_readings import PARAMETERS, RULES, START, readings, truth

SETTINGS = """\
site: {name: Sunny house, time_zone: Europe/Berlin, start: 2024-03-18}
heat_pumps:
  - id: daikin
    frame_interval: 60s
    inputs: [{source: pump, profile: espaltherma_home_assistant}]
solar_systems:
  - id: sun
    name: On the roof
    inputs: [{source: broker, profile: solar_heating_v3}]
    heat_pumps: [daikin]
    tank: {litres: 320, height_m: 1.4, ambient_c: 19, loss_w_per_k: 2.5}
    collector: {area_m2: 8}
    immersion_heater: {rated_power_kw: 3}
    pellet_stove: {water_share: 0.7, up_to_c: 88}
sources:
  - {id: pump, kind: files}
  - {id: broker, kind: files}
"""
DAYS = 3


@pytest.fixture(scope="module")
def told() -> pl.DataFrame:
    """Three days, every five minutes, with an outage over a midnight."""
    silent = START + timedelta(hours=47, minutes=40), START + timedelta(hours=48, minutes=50)
    return readings(
        START,
        START + timedelta(days=DAYS),
        timedelta(minutes=5),
        noise_k=0.03,
        jitter_s=20,
        is_lost=lambda at: silent[0] < at < silent[1],
    )


def update(workspace: Workspace, days: tuple[date, date] | None = None) -> int:
    """Bring the solar heating up to date, as a new process would; how many partitions were made."""
    made = 0
    for stage in stages(workspace.solar_plant("sun")):
        outcome = stage.bring_up_to_date(stage.keys(*days) if days else stage.keys())
        outcome.raise_failures()
        made += sum(len(parts) for parts in outcome.stored.values())
    return made


def sunny_house(folder: Path) -> Workspace:
    return write_house(folder, SETTINGS)


def batch(workspace: Workspace, rows: pl.DataFrame) -> tuple[date, date]:
    """Store a batch; the days that it touches."""
    store_readings(workspace, "broker", rows)
    touched: pl.Series = rows["time"].dt.date()
    return touched.min(), touched.max()  # type: ignore[return-value]


@pytest.fixture(scope="module")
def whole(told: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = sunny_house(tmp_path_factory.mktemp("whole"))
    batch(workspace, told)
    update(workspace)
    return workspace


def test_the_settings_say_what_the_tank_is_like(whole: Workspace) -> None:
    plant = whole.solar_plant("sun")
    assert plant.tank_rules == RULES.__class__(**{**RULES.__dict__, "shares": (0.125,) * 8})
    assert [one.id for one in whole.plants] == ["daikin", "sun"]
    assert [one.id for one in whole.fed_by("pump")] == ["daikin", "sun"]
    assert [one.id for one in whole.fed_by("broker")] == ["sun"]
    assert [table for stage in SOLAR_STAGES for table in stage.tables] == tables_of(plant)
    with pytest.raises(LookupError, match="sun is no heat pump"):
        plant.heat_pump  # noqa: B018


@pytest.mark.parametrize("seed", [1, 2])
def test_order_batches_and_restarts_change_nothing(
    whole: Workspace, told: pl.DataFrame, tmp_path: Path, seed: int
) -> None:
    """Late by up to forty minutes (some by a day), a fifth of it twice, in batches of any size."""
    chance = random.Random(seed)
    workspace = sunny_house(tmp_path)
    moments = told["time"].unique().sort().to_list()
    again = chance.sample(moments, len(moments) // 5)
    late = [
        (at + timedelta(minutes=chance.choice([0, 0, 10, 40, 1500 * (chance.random() < 0.1)])), at)
        for at in (*moments, *again)
    ]
    arriving = [at for _, at in sorted(late)]
    while arriving:
        count = chance.choice([1, 20, 200])
        part, arriving = arriving[:count], arriving[count:]
        days = batch(workspace, told.filter(pl.col("time").is_in(part)))
        if chance.random() < 0.4:
            update(workspace, days)
    update(workspace)
    assert contents(workspace.lake) == contents(whole.lake)
    assert update(workspace) == 0


def test_only_what_a_late_reading_touches_is_made_again(told: pl.DataFrame, tmp_path: Path) -> None:
    workspace = sunny_house(tmp_path)
    late = START + timedelta(hours=30)
    batch(workspace, told.filter(~pl.col("time").is_between(late, late + timedelta(minutes=4))))
    update(workspace)
    before = hours(workspace)
    days = batch(workspace, told.filter(pl.col("time").is_between(late, late + timedelta(minutes=4))))
    made = update(workspace, days)
    assert 0 < made <= 16
    changed = hours(workspace).join(before, on=before.columns, how="anti", nulls_equal=True)
    assert set(changed["start"]) <= {late - timedelta(hours=1), late}
    assert changed.height


def hours(workspace: Workspace) -> pl.DataFrame:
    lake = workspace.lake
    return conform(lake.read("solar_hourly/sun", lake.keys("solar_hourly/sun")), "solar_hourly").sort("start")


def test_days_months_and_the_house_follow(whole: Workspace) -> None:
    lake = whole.lake
    days = conform(lake.read("solar_daily/sun", lake.keys("solar_daily/sun")), "solar_daily").sort("start")
    assert days["period"].to_list() == ["2024-03-18", "2024-03-19", "2024-03-20", "2024-03-21"]
    assert days["provisional"].to_list() == [False, False, False, True]
    second = days.row(1, named=True)
    begin = datetime.fromisoformat(second["local_start"])
    true = truth(begin, begin + timedelta(days=1))
    assert second["solar_kwh"] == pytest.approx(true["solar"], rel=0.15)
    assert second["device_solar_kwh"] == pytest.approx(true["solar"], rel=0.05)
    month = conform(lake.read("solar_monthly/sun", ["2024-03-01"]), "solar_monthly").row(0, named=True)
    year = conform(lake.read("solar_yearly/sun", ["2024-01-01"]), "solar_yearly").row(0, named=True)
    for name in ("solar_kwh", "draw_kwh", "stored_change_kwh"):
        assert month[name] == year[name] == pytest.approx(days[name].sum(), abs=1e-9)
    for table, key in (("house_monthly", "2024-03-01"), ("house_yearly", "2024-01-01")):
        longer = conform(lake.read(f"{table}/sun", [key]), table).row(0, named=True)
        of_days = conform(lake.read("house_daily/sun", lake.keys("house_daily/sun")), "house_daily")
        assert longer["draw_kwh"] == pytest.approx(of_days["draw_kwh"].sum(), abs=1e-9)
        assert longer["heat_pump_kwh"] is None and longer["closure"] is None
    house = conform(lake.read("house_daily/sun", lake.keys("house_daily/sun")), "house_daily")
    # Of the heat pump nothing is known, so the balance cannot close: it says null, not 0.
    assert house["closure_error_kwh"].null_count() == house["heat_pump_kwh"].null_count() == house.height > 0
    assert house["solar_kwh"].sum() == pytest.approx(days["solar_kwh"].sum(), abs=1e-9)


def test_files_for_people(whole: Workspace) -> None:
    plant = whole.solar_plant("sun")
    assert isinstance(plant, SolarPlant)
    daily, weekly = write_daily_csv(plant, date(2024, 3, 19)), write_weekly_csv(plant, date(2024, 3, 18))
    assert daily is not None
    assert weekly is not None
    assert daily.relative_to(whole.exports).as_posix() == "sun/daily/2024-03-19.csv"
    assert weekly.relative_to(whole.exports).as_posix() == "sun/weekly/2024-W12.csv"
    assert len(weekly.read_text(encoding="utf-8").splitlines()) == 1 + hours(whole).height
    assert write_daily_csv(plant, date(2025, 3, 19)) is None


def test_a_command_shows_it(whole: Workspace) -> None:
    places = ["--settings", str(whole.settings.directory / "hp.yaml"), "--data", str(whole.data)]

    def call(*words: str) -> str:
        answer = CliRunner().invoke(cli, ["solar", *words, *places])
        assert answer.exception is None or answer.exit_code == 2, answer.exception
        return answer.output

    rows = json.loads(call("--by", "day", "--from", "2024-03-19", "--format", "json"))
    assert [row["period"] for row in rows] == ["2024-03-19", "2024-03-20", "2024-03-21"]
    assert rows[0]["solar_kwh"] > 1
    assert len(call("--by", "hour", "--format", "csv").splitlines()) == 1 + hours(whole).height
    assert "2024-03" in call("--by", "month")
    assert "2024-03-20" in call("--by", "day", "--house")
    assert "2024" in call("--by", "year", "--house")


def test_since_when_pump_heater_and_stove_are_on(whole: Workspace, told: pl.DataFrame) -> None:
    lake = whole.lake
    rows = conform(lake.read("state_intervals/sun", lake.keys("state_intervals/sun")), "state_intervals").sort("start")
    assert set(rows["signal"]) == {"solar_pump", "immersion_heater_on", "pellet_stove_on"}
    point = "solar_heating_v3/status#system_state.primary_pump"
    said = told.filter(pl.col("point") == point).sort("time").with_columns(before=pl.col("text").shift(1))
    gap = said["time"].diff().fill_null(timedelta()) > timedelta(minutes=10)
    changed = said.filter((pl.col("text") != pl.col("before")) & ~gap)
    begun = rows.filter(pl.col("signal") == "solar_pump", pl.col("start") == pl.col("since"), pl.col("begin_seen"))
    assert begun.height > 4
    assert begun["since"].to_list() == changed["time"].to_list()
    assert begun["since_uncertainty_s"].is_between(200, 400).all()  # it is asked every five minutes
    # The outage over a midnight ends each of them.
    silent = START + timedelta(hours=47, minutes=40), START + timedelta(hours=48, minutes=50)
    assert rows.filter(pl.col("start") < silent[0], pl.col("end") > silent[1]).is_empty()
    assert not rows.filter(pl.col("start") >= silent[1]).group_by("signal").first()["begin_seen"].any()
    days = conform(lake.read("state_daily/sun", lake.keys("state_daily/sun")), "state_daily")
    on = days.filter(pl.col("signal") == "solar_pump", pl.col("state") == "on")
    pumped = conform(lake.read("solar_daily/sun", lake.keys("solar_daily/sun")), "solar_daily")["pump_s"].sum()
    assert on["known_s"].sum() == pytest.approx(pumped)
    places = ["--settings", str(whole.data.parent / "hp.yaml"), "--data", str(whole.data)]
    answer = CliRunner().invoke(cli, ["states", "--signal", "pellet_stove_on", "--heat-pump", "sun", *places])
    assert answer.exit_code == 0 and "2024-03-19" in answer.output


ON = {"pump_s": "solar_pump", "immersion_s": "immersion_heater_on", "pellet_s": "pellet_stove_on"}
"""Durations, and the states of `state_daily` that say the same."""


def test_what_ran_is_known_while_a_layer_is_silent(told: pl.DataFrame, tmp_path: Path) -> None:
    """One of eight layers lost over the sun of a day: every duration is that of `state_daily`, and that of a tank that
    has lost none, while of the balance only the covered time is told."""
    lost = START + timedelta(hours=31), START + timedelta(hours=42)
    is_lost = pl.col("point").str.ends_with("rtd_sensor_3") & pl.col("time").is_between(*lost)
    days, on = [], pl.DataFrame()
    for name, rows in (("whole", told), ("dead", told.filter(~is_lost))):
        workspace = sunny_house(tmp_path / name)
        batch(workspace, rows)
        update(workspace)
        lake = workspace.lake
        days.append(conform(lake.read("solar_daily/sun", lake.keys("solar_daily/sun")), "solar_daily").sort("start"))
        states = conform(lake.read("state_daily/sun", lake.keys("state_daily/sun")), "state_daily")
        on = states.filter(pl.col("state") == "on")
        for duration, signal in ON.items():
            known = dict(on.filter(pl.col("signal") == signal).select("period", "known_s").iter_rows())
            ran = dict(days[-1].select("period", duration).iter_rows())
            assert ran == pytest.approx({period: known.get(period, 0.0) for period in ran}, abs=1e-6), duration
    whole, dead = days
    assert dead["covered_s"].sum() < whole["covered_s"].sum() - 10 * 3600
    assert dead["pump_s"].sum() > 4 * 3600
    exact = [*ON, "stagnation_s", "pump_starts", "immersion_known_s"]
    assert dead.select(exact).equals(whole.select(exact))
    assert dead["immersion_electrical_kwh"].to_list() == pytest.approx(whole["immersion_electrical_kwh"].to_list())
    assert whole["immersion_electrical_kwh"].to_list() == pytest.approx(whole["immersion_kwh"].to_list())
    house = conform(lake.read("house_daily/sun", lake.keys("house_daily/sun")), "house_daily").sort("start")
    assert house["immersion_electrical_kwh"].equals(dead["immersion_electrical_kwh"])


def test_a_run_makes_and_checks_it(told: pl.DataFrame, tmp_path: Path) -> None:
    workspace = sunny_house(tmp_path)
    batch(workspace, told.filter(pl.col("time") < START + timedelta(hours=30)))
    with dg.DagsterInstance.ephemeral() as instance:
        own = figures_selection([workspace.solar_plant("sun")])
        result = run_job(workspace, "figures", instance, first=START.date(), last=START.date(), selection=own)
        assert result.success
        checks = {(check.asset_key, check.check_name): check.passed for check in result.get_asset_check_evaluations()}
        assert checks[asset_key("solar_daily", "sun"), "balances"]
        assert checks[asset_key("solar_frames", "sun"), "understood"]
        assert checks[asset_key("house_daily", "sun"), "made"]
    assert workspace.lake.keys("solar_yearly/sun") == ["2024-01-01"]


@dataclass(frozen=True)
class Both:
    """A tank that a heat pump heats, too: what happened, and what tank and heat pump told of it."""

    tank: SolarHouse
    told: pl.DataFrame
    pump: pl.DataFrame

    def true(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with what happened in them, such as `solar_true`."""
        ends = [(self.tank.at(start), self.tank.at(end)) for start, end in rows.select("start", "end").iter_rows()]
        names = ("solar_kwh", "heat_pump_kwh", "drawn_kwh")
        happened = {name: [last[name] - first[name] for first, last in ends] for name in names}
        return rows.with_columns(
            pl.Series(f"{name.removesuffix('_kwh')}_true", amounts, pl.Float64) for name, amounts in happened.items()
        )


STOP = START + timedelta(days=DAYS)


@cache
def both(every: timedelta, seed: int) -> Both:
    weather = simulate_weather(START - timedelta(days=1), STOP + timedelta(hours=1), step_s=30, seed=seed)
    run = simulate(DAIKIN_ALTHERMA, weather, seed)
    given = np.where(run.operation == Operation.DHW, run.heat_kw, 0.0)
    tank = SolarHouse(weather, 1, replace(PARAMETERS, draws_l_per_day=380.0, stove_kw=0.0), given)
    assert abs(tank.imbalance_kwh(START, STOP)) < 1e-6
    margin = timedelta(minutes=30)
    told = readings(START - margin, STOP + margin, every, noise_k=0.03, tank=tank)
    return Both(tank, told, observe(run, SensorModel(interval_s=30, text_repeat_s=600), seed).readings)


def update_both(workspace: Workspace, days: tuple[date, date] | None = None) -> int:
    """As `update`, the heat pump first."""
    for stage in stages(workspace.plant("daikin")):
        stage.bring_up_to_date(stage.keys(*days) if days else stage.keys()).raise_failures()
    return update(workspace, days)


def made_of(folder: Path, told: Both) -> Workspace:
    workspace = sunny_house(folder)
    batch(workspace, told.told)
    store_readings(workspace, "pump", told.pump)
    update_both(workspace)
    return workspace


LAYER_LOST = START + timedelta(hours=27), START + timedelta(hours=35)
PUMP_LOST = START + timedelta(hours=38), START + timedelta(hours=46)


def house_with_outages(folder: Path) -> Workspace:
    """Three days of a tank that collector, immersion heater and heat pump heat; of the second a layer of the tank is
    lost for eight hours, the heat pump for eight others."""
    whole = both(timedelta(minutes=5), 3)
    is_lost = pl.col("point").str.ends_with("rtd_sensor_3") & pl.col("time").is_between(*LAYER_LOST)
    pump = whole.pump.filter(~pl.col("time").is_between(*PUMP_LOST))
    return made_of(folder, replace(whole, told=whole.told.filter(~is_lost), pump=pump))


def test_the_balance_of_a_house_is_of_the_hours_in_which_all_is_known(tmp_path: Path) -> None:
    workspace = house_with_outages(tmp_path)
    lake, tables = workspace.lake, []
    for name in ("house_hourly", "house_daily", "house_monthly", "house_yearly"):
        tables.append(conform(lake.read(f"{name}/sun", lake.keys(f"{name}/sun")), name).sort("start"))
    rows, days, *_ = tables
    own = [rows.filter(pl.col("local_start").str.starts_with(day)) for day in days["period"]]
    for table in tables:
        for sums in HOUSE_SUM_COLUMNS:
            assert table[sums.name].sum() == pytest.approx(rows[sums.name].sum(), abs=1e-6), sums.name
        error = table["balanced_input_kwh"] - table["balanced_output_kwh"]
        assert table["closure_error_kwh"].to_list() == pytest.approx(error.to_list(), abs=1e-9)
    for day, hours_of_day in zip(days.iter_rows(named=True), own, strict=True):
        for sums in HOUSE_SUM_COLUMNS:
            assert (day[sums.name] or 0) == pytest.approx(hours_of_day[sums.name].sum(), abs=1e-6), sums.name
    second = days.row(1, named=True)
    assert second["period"] == "2024-03-19"
    # Tank and heat pump are known for two thirds of the day each, together for a third.
    assert second["covered_s"] / 86400 == pytest.approx(16 / 24, abs=0.02)
    assert second["heat_pump_s"] / 86400 == pytest.approx(16 / 24, abs=0.05)
    assert second["coverage"] == pytest.approx(own[1]["coverage"].sum() / 24)
    assert second["coverage"] == pytest.approx(8 / 24, abs=0.06)
    lost = [pl.col("start") >= first for first, _ in (LAYER_LOST, PUMP_LOST)]
    back = [pl.col("end") <= last for _, last in (LAYER_LOST, PUMP_LOST)]
    for begins, ends in zip(lost, back, strict=True):
        silent = rows.filter(begins, ends)
        assert silent.height == 8 and silent["balanced_s"].sum() == silent["coverage"].sum() == 0
    # What was not lost is not lacking: the electricity of the heater while the layer was.
    dead = rows.filter(lost[0], back[0])
    assert dead["covered_s"].sum() == 0 and dead["immersion_kwh"].null_count() == 8
    assert dead["electrical_coverage"].min() > 0.9 and dead["electrical_kwh"].null_count() == 0
    assert dead["immersion_electrical_kwh"].sum() > 2
    assert within(rows).filter(pl.col("balanced_s") > 0)["closure_error_kwh"].abs().max() < 0.35
    assert not within(rows)["provisional"].any() and days["provisional"].to_list() == [False] * 3 + [True]
    assert rows["content"].n_unique() == rows.height


def within(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the three days, in order."""
    return rows.filter(pl.col("start") >= START, pl.col("end") <= STOP).sort("start")


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize(
    ("every_s", "hour_kwh", "share", "closes_kwh"), [(60, 0.15, 0.04, 0.35), (300, 0.5, 0.25, 0.35)]
)
def test_solar_heat_is_near_the_truth_where_a_heat_pump_heats_the_tank_at_the_same_time(
    tmp_path: Path, every_s: int, seed: int, hour_kwh: float, share: float, closes_kwh: float
) -> None:
    told = both(timedelta(seconds=every_s), seed)
    workspace = made_of(tmp_path, told)
    rows = told.true(within(hours(workspace)))
    assert rows.height == 24 * DAYS and rows["coverage"].min() > 0.9
    assert not rows["provisional"].any()
    at_once = rows.filter(pl.col("pump_s") > 0, pl.col("heat_pump_true") > 0.05)
    assert at_once.height >= 3 and at_once["heat_pump_true"].sum() > 4
    assert (rows["solar_kwh"] - rows["solar_true"]).abs().max() < hour_kwh
    assert (at_once["solar_kwh"] - at_once["solar_true"]).abs().max() < hour_kwh
    assert rows["solar_kwh"].sum() == pytest.approx(rows["solar_true"].sum(), rel=share)
    assert rows["heat_pump_kwh"].sum() == pytest.approx(rows["heat_pump_true"].sum(), rel=0.01)
    assert (rows["heat_pump_kwh"] - rows["heat_pump_true"]).abs().max() < 0.1
    assert rows["draw_kwh"].sum() == pytest.approx(rows["drawn_true"].sum(), rel=0.02 if every_s == 60 else 0.06)
    # The same heat is in the house's balance, once: what is left over is what the tank cannot explain.
    lake = workspace.lake
    house = within(conform(lake.read("house_hourly/sun", lake.keys("house_hourly/sun")), "house_hourly"))
    assert (house["heat_pump_kwh"] - rows["heat_pump_kwh"]).abs().max() < 1e-8
    assert (house["closure_error_kwh"] + rows["unexplained_kwh"]).abs().max() < 1e-8
    assert house["closure_error_kwh"].abs().max() < closes_kwh


@pytest.mark.parametrize("seed", [1, 2])
def test_order_batches_and_restarts_change_nothing_where_a_heat_pump_heats_the_tank(tmp_path: Path, seed: int) -> None:
    """Tank and heat pump tell in batches of any size, some of them a day late; the heat pump is silent over a day."""
    chance, told = random.Random(seed), both(timedelta(minutes=5), 3)
    silent = START + timedelta(hours=20), START + timedelta(hours=51)
    pump = told.pump.filter(~pl.col("time").is_between(*silent), pl.col("time") >= START)
    tank = told.told.filter(pl.col("time") >= START)
    at_once = made_of(tmp_path / "at_once", replace(told, told=tank, pump=pump))
    workspace = sunny_house(tmp_path / "in_parts")
    parts = []
    for source, rows in (("broker", tank), ("pump", pump)):
        cut = timedelta(hours=chance.choice([5, 9]))
        late = timedelta(hours=26)
        parts += [
            (at + late * (chance.random() < 0.25), source, part)
            for (at,), part in rows.group_by(pl.col("time").dt.truncate(cut), maintain_order=True)
        ]
    for _, source, rows in sorted(parts, key=lambda part: part[0]):
        store_readings(workspace, source, rows)
        if chance.random() < 0.6:
            times: pl.Series = rows["time"].dt.date()
            update_both(workspace, (times.min(), times.max()))  # type: ignore[arg-type]
    update_both(workspace)
    assert contents(workspace.lake) == contents(at_once.lake)
    assert update_both(workspace) == 0


def test_solar_hours_are_due_again_when_the_heat_pump_tells_late(tmp_path: Path) -> None:
    """Until then they say that its heat is lacking, and that they are not final; also those long before the day on
    which it tells again."""
    told = both(timedelta(minutes=5), 3)
    silent = START + timedelta(hours=6, minutes=30), STOP - timedelta(hours=12)
    before, behind = (told.pump.filter(pl.col("time") < silent[0]), told.pump.filter(pl.col("time") > silent[1]))
    workspace = sunny_house(tmp_path)
    batch(workspace, told.told)
    store_readings(workspace, "pump", before)
    update_both(workspace)
    rows = within(hours(workspace))
    assert rows["provisional"].to_list() == [False] * 6 + [True] * (24 * DAYS - 6)
    assert rows["coverage"][:6].min() > 0.9 and rows["coverage"][8:].max() == 0
    assert rows["covered_s"].min() == 3600 and rows["heat_pump_kwh"][8:].null_count() == 24 * DAYS - 8
    lake = workspace.lake
    days = conform(lake.read("solar_daily/sun", lake.keys("solar_daily/sun")), "solar_daily").sort("start")
    assert days["provisional"].to_list() == [True] * 4
    # It tells again: what it was silent over is final, and still lacking.
    store_readings(workspace, "pump", behind)
    update_both(workspace, ((STOP - timedelta(hours=12)).date(), STOP.date()))
    rows = within(hours(workspace))
    assert not rows["provisional"].any()
    assert rows["coverage"][8:58].max() == 0 and rows["coverage"][61:].min() > 0.9
    assert update_both(workspace) == 0
    # What it should have told comes after all, and these hours are made again from it.
    missed = told.pump.filter(pl.col("time").is_between(*silent))
    store_readings(workspace, "pump", missed)
    update_both(workspace, (silent[0].date(), silent[1].date()))
    assert within(hours(workspace))["coverage"].min() > 0.9
    assert update_both(workspace) == 0


def test_a_silence_of_the_heat_pump_that_lasts_for_days_is_final_once_it_tells_again(tmp_path: Path) -> None:
    """Also when only the day on which it tells again is looked at."""
    told, workspace = both(timedelta(minutes=5), 3), sunny_house(tmp_path)
    reach = HouseDailyStage(workspace.solar_plant("sun")).reach
    days = reach + 8
    first = told.told.filter(pl.col("time") >= START, pl.col("time") < START + timedelta(hours=1))
    every_day = [first.with_columns(pl.col("time") + timedelta(days=day)) for day in range(days)]
    batch(workspace, pl.concat(every_day))
    for day in (0, days - 1):
        pumped = told.pump.filter(pl.col("time").is_between(START, START + timedelta(hours=23)))
        store_readings(workspace, "pump", pumped.with_columns(pl.col("time") + timedelta(days=day)))
        on = START.date() + timedelta(days=day)
        update_both(workspace, (on, on))
        if not day:
            update_both(workspace)
            assert hours(workspace)["provisional"].to_list() == [False] + [True] * (days - 1)
    # The tank's own newest hour.
    assert hours(workspace)["provisional"].to_list() == [False] * (days - 1) + [True]
    assert update_both(workspace) == 0

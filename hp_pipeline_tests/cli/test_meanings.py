"""What the documentation says of the figures is what the tables hold: formulas, nulls, the README's queries."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from hp_pipeline.assets.stages import stages, store_readings, tables_of
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.outputs.figures_page import figures_page
from hp_pipeline.settings import load_settings
from hp_pipeline.simulation.devices.mqtt import SolarHouse
from hp_pipeline.simulation.weather import simulate_weather
from hp_pipeline.transforms import outlook
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline.vocabulary.tables import figure_columns, tables
from hp_pipeline.vocabulary.tables.meanings import MEANINGS, meaning_of, meanings
from hp_pipeline_tests.assets.test_stages_solar import house_with_outages, sunny_house
from hp_pipeline_tests.cli.conftest import Call
from hp_pipeline_tests.transforms.seasons import NOBODY_KNOWS, ZONE, daily, monthly, of_month
from hp_pipeline_tests.transforms.solar_readings import PARAMETERS, START, readings

ALL = list(meanings(iter(tables().values())))

NOT_IN_THREE_DAYS = {
    *("co2_g_per_kwh_heat", "co2_g_per_kwh_heating", "co2_g_per_kwh_dhw"),
    *("starts_difference", "running_difference_s"),
}
"""Figures with a formula that no house has: no device that counts its starts, no CO2."""


def held(workspace: Workspace) -> duckdb.DuckDBPyConnection:
    """A database of the tables that a house has, in memory."""
    database = duckdb.connect()
    for plant in workspace.plants:
        for name in tables_of(plant):
            asset = f"{name}/{plant.id}"
            rows = conform(workspace.lake.read(asset, workspace.lake.keys(asset)), name)
            database.register("rows", rows.to_arrow())
            database.execute(f"CREATE TABLE IF NOT EXISTS {name} AS FROM rows LIMIT 0; INSERT INTO {name} FROM rows")
    return database


@pytest.fixture(scope="module")
def houses(made: Path, tmp_path_factory: pytest.TempPathFactory) -> list[duckdb.DuckDBPyConnection]:
    """The small house; one whose tank a collector, an immersion heater and a stove heat, of whose heat pump nothing is
    read; one of whose tank nothing is drawn; one whose tank a heat pump heats, too,
    with outages of either; and one that has been read for years."""
    stop = START + timedelta(hours=30)
    quiet = replace(PARAMETERS, draws_l_per_day=0.0, stove_kw=0.0)
    unused = SolarHouse(simulate_weather(START, stop, step_s=60, seed=3), 1, quiet)
    sunny = []
    for tank in (None, unused):
        workspace = sunny_house(tmp_path_factory.mktemp("sunny"))
        store_readings(workspace, "broker", readings(START, stop, timedelta(minutes=5), tank=tank))
        for stage in stages(workspace.solar_plant("sun")):
            stage.bring_up_to_date(stage.keys()).raise_failures()
        sunny.append(held(workspace))
    small = held(Workspace(load_settings(made / "hp.yaml"), made / "data"))
    both = house_with_outages(tmp_path_factory.mktemp("outages"))
    return [small, *sunny, held(both), looked_back_on()]


def looked_back_on() -> duckdb.DuckDBPyConnection:
    """What compares years, of a heat pump that heats in winter and cools in summer."""
    days = daily(date(2024, 1, 1), date(2026, 2, 11), lambda day: 40.0 if day.month in (11, 12, 1, 2, 3) else 5.0)
    cooling = pl.when(pl.col("period").str.slice(5, 2).is_in(["06", "07", "08"])).then(6.0).otherwise(0.0)
    days = days.with_columns(
        electrical_energy_cooling_kwh=cooling, electrical_energy_kwh=pl.col("electrical_energy_kwh") + cooling
    )
    months, newest = monthly(days), date(2026, 2, 1)
    database = duckdb.connect()
    for name, rows in (
        ("comparisons", outlook.comparisons(months, days, days, newest, ZONE, Rules(), NOBODY_KNOWS)),
        ("outlook", outlook.outlook(months, of_month(days, newest), ZONE, Rules(), NOBODY_KNOWS)),
    ):
        database.register("rows", rows.to_arrow())
        database.execute(f"CREATE TABLE {name} AS FROM rows")
    return database


def counts(database: duckdb.DuckDBPyConnection, table: str, amounts: dict[str, str]) -> dict[str, int]:
    """Each of these counts over the rows of a table, all in one query; none where the house has no such table."""
    there = database.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [table]).fetchone()
    if not amounts or not there:
        return {}
    columns = ", ".join(f"{amount} AS {name}" for name, amount in amounts.items())
    found = database.execute(f"SELECT {columns} FROM {table}").fetchone() or ()
    return dict(zip(amounts, found, strict=True))


def test_every_family_has_columns_and_every_figure_a_meaning() -> None:
    page = figures_page()
    for meaning in MEANINGS:
        assert any(meaning.of(column, table) for table, column, _ in ALL), meaning
    for table in tables().values():
        if set(figure_columns()) <= set(table.columns):
            assert [column.name for column in figure_columns() if not meaning_of(table, column)] == []
    for _, column, meaning in ALL:
        assert f"`{column.name}`" in page
        assert not meaning.formula or f"`{meaning.formula}`" in page


def test_formulas_are_what_the_tables_hold(houses: list[duckdb.DuckDBPyConnection]) -> None:
    computed = set()
    for database in houses:
        for table in tables().values():
            of_table = [(column.name, meaning.formula) for of, column, meaning in ALL if of is table]
            formulas = {name: formula for name, formula in of_table if formula}
            known = counts(database, table.name, {name: f"count({name})" for name in formulas})
            wrong = {
                name: f"count(*) FILTER ({name} IS NOT NULL AND coalesce(abs({name} - ({formula})) "
                f"> 1e-9 * greatest(1, abs({name})), true))"
                for name, formula in formulas.items()
            }
            assert {name for name, rows in counts(database, table.name, wrong).items() if rows} == set(), table.name
            computed |= {name for name, rows in known.items() if rows}
    lacking = {column.name for _, column, meaning in ALL if meaning.formula} - computed
    assert lacking == NOT_IN_THREE_DAYS, " ".join(sorted(lacking ^ NOT_IN_THREE_DAYS))


def test_what_is_said_to_be_never_null_is_never_null(houses: list[duckdb.DuckDBPyConnection]) -> None:
    for database in houses:
        for table in tables().values():
            names = [column.name for of, column, meaning in ALL if of is table and meaning.null_when is None]
            lacking = counts(database, table.name, {name: f"count(*) - count({name})" for name in names})
            assert {name for name, rows in lacking.items() if rows} == set(), table.name


def test_queries_of_the_readme_answer(made: Path, call: Call) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"\n## Your figures\n(.*?)\n## ", readme, re.DOTALL)
    queries = [query for block in re.findall(r"```sql\n(.*?)```", section, re.DOTALL) for query in block.split(";")]
    queries = [query for query in queries if query.strip()]
    assert 6 <= len(queries) <= 10
    assert call(made, "sql", "SELECT 1").exit_code == 0
    with duckdb.connect(str(made / "data" / "hp.duckdb"), read_only=True) as database:
        for query in queries:
            answer = database.execute(query)
            assert answer.description
            answer.fetchall()

"""Commands that show figures: summaries, temperatures, cycles, SQL, exports."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import Result

from hp_pipeline.assets.stages import DailyStage
from hp_pipeline.assets.workspace import Workspace, open_lake
from hp_pipeline.cli.figures import COST_GROUPINGS
from hp_pipeline.outputs.summary import PERIOD_VIEW, text_table
from hp_pipeline.settings import load_settings
from hp_pipeline_tests.assets.small_house import DAYS, SETTINGS, write_house
from hp_pipeline_tests.cli.conftest import Call

GROUPINGS = ("all", "year", "season", "month", "week", "day", "hour", "session", "cycle")


@pytest.mark.parametrize("by", GROUPINGS)
def test_every_grouping_in_every_form(made: Path, call: Call, by: str) -> None:
    text = call(made, "summary", "--by", by)
    assert text.exit_code == 0
    assert "daikin" in text.output
    assert "annex" in text.output
    answer = call(made, "summary", "--by", by, "--format", "json")
    rows = json.loads(answer.stdout)
    table = pl.read_csv(io.StringIO(call(made, "summary", "--by", by, "--format", "csv").stdout))
    assert table.height == len(rows) > 0
    assert table.columns == list(rows[0])
    assert {"heat_pump", "start", "end", "electrical_energy_kwh", "thermal_energy_kwh", "cop"} <= set(rows[0])
    # The text has a line of title, two of headers, one below them, and the rows.
    assert len(text.output.splitlines()) == len(rows) + 4


def test_days_filled_up_are_shown_when_asked_for(made: Path, call: Call) -> None:
    text = call(made, "summary", "--by", "day", "--filled")
    assert text.exit_code == 0 and "what nobody measured filled in" in text.output
    rows = json.loads(call(made, "summary", "--by", "day", "--filled", "--from", DAYS[1], "--format", "json").stdout)
    assert [row["period"] for row in rows if row["heat_pump"] == "daikin"] == list(DAYS[1:])
    assert {row["thermal_filling"] for row in rows} == {"read"}
    refused = call(made, "summary", "--filled")
    assert refused.exit_code == 2 and "--filled goes with --by day" in refused.output


def test_all_groupings_tell_the_same_energy(made: Path, call: Call) -> None:
    totals = {}
    for by in GROUPINGS:
        rows = json.loads(call(made, "summary", "--by", by, "--heat-pump", "daikin", "--format", "json").stdout)
        totals[by] = sum(row["electrical_energy_kwh"] or 0 for row in rows)
    # Cycles lie within sessions, and what is used before the first mode is known lies in no session.
    assert totals.pop("cycle") <= totals["session"] + 1e-6 < totals["all"] < totals.pop("session") + 0.01
    assert totals["all"] > 20
    assert max(totals.values()) - min(totals.values()) < 1e-6, totals


def test_ranges_are_of_local_days(made: Path, call: Call) -> None:
    def rows(by: str, *more: str) -> list[dict[str, object]]:
        answer = call(made, "summary", "--by", by, "--format", "json", "--heat-pump", "daikin", *more)
        found: list[dict[str, object]] = json.loads(answer.stdout)
        return found

    day = rows("day", "--from", "2025-01-14", "--to", "2025-01-14")
    assert [row["period"] for row in day] == ["2025-01-14"]
    assert day[0]["start"] == "2025-01-13T23:00:00+00:00"
    assert len(rows("hour", "--from", "2025-01-14", "--to", "2025-01-14")) == 24
    assert [row["period"] for row in rows("day", "--from", "2025-01-14")] == ["2025-01-14", "2025-01-15"]
    assert [row["period"] for row in rows("day", "--to", "2025-01-13")] == ["2025-01-13"]
    sums = rows("all", "--from", "2025-01-13", "--to", "2025-01-14")
    both = rows("day", "--from", "2025-01-13", "--to", "2025-01-14")
    assert sums[0]["electrical_energy_kwh"] == pytest.approx(
        sum(float(str(row["electrical_energy_kwh"])) for row in both)
    )


def test_nothing_stored_is_valid_in_every_form(tmp_path: Path, call: Call) -> None:
    write_house(tmp_path / "empty")
    for command in (["summary"], ["summary", "--by", "session"], ["cycles"], ["heating-by-temperature"]):
        text = call(tmp_path / "empty", *command)
        assert text.exit_code == 0, text.output
        assert "hp-pipeline materialize" in text.output
        assert json.loads(call(tmp_path / "empty", *command, "--format", "json").stdout) == []
        assert call(tmp_path / "empty", *command, "--format", "csv").exit_code == 0
    answer = call(tmp_path / "empty", "sql", "SELECT * FROM sessions", "--format", "json")
    assert json.loads(answer.stdout) == []


@pytest.mark.parametrize("words", [["heating-by-temperature"], ["summary", "heating-by-temperature"]])
def test_heating_by_temperature(made: Path, call: Call, words: list[str]) -> None:
    rows = json.loads(call(made, *words, "--heat-pump", "daikin", "--format", "json").stdout)
    assert all(row["outdoor_to"] - row["outdoor_from"] == 1 for row in rows)
    heating = json.loads(call(made, "summary", "--by", "all", "--heat-pump", "daikin", "--format", "json").stdout)[0]
    assert sum(row["electrical_energy_kwh"] for row in rows) == pytest.approx(
        heating["electrical_energy_heating_kwh"], rel=1e-6
    )
    wide = json.loads(call(made, *words, "--heat-pump", "daikin", "--format", "json", "--width", "5").stdout)
    assert len(wide) < len(rows)
    assert "outdoor" in call(made, *words).output
    narrow = call(
        made, *words, "--from", "2025-01-14", "--to", "2025-01-14", "--heat-pump", "daikin", "--format", "json"
    )
    assert 0 < sum(row["hours"] for row in json.loads(narrow.stdout)) < sum(row["hours"] for row in rows)


@pytest.mark.parametrize("words", [["cycles"], ["summary", "cycles"]])
def test_cycles(made: Path, call: Call, words: list[str]) -> None:
    rows = json.loads(call(made, *words, "--format", "json").stdout)
    assert {row["mode"] for row in rows} == {"heating"}
    assert {row["state"] for row in rows} == {"on"}
    assert call(made, *words).output.startswith("Compressor cycles of heating")


def test_text_is_not_squeezed_where_it_is_read_by_a_program(made: Path, call: Call) -> None:
    lines = call(made, "summary", "--by", "day").output.splitlines()
    assert "…" not in "".join(lines)
    assert lines[1].split() == ["electr.", "heat", "COP", "COP", "de-", "outdoor", "electr.", "heat"]
    assert lines[4].startswith("daikin     2025-01-13")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_text_fits_the_terminal_and_says_what_it_leaves_out(made: Path, width: int) -> None:
    workspace = Workspace(load_settings(made / "hp.yaml"), made / "data")
    rows = workspace.lake.read("daily/daikin", DAYS)
    assert rows is not None
    assert DailyStage(workspace.plant("daikin")).keys() == list(DAYS)
    rows = rows.with_columns(cop_reason=pl.lit("electricity is known for less than a half of it"))
    text = text_table(rows, PERIOD_VIEW, "Europe/Berlin", "By day", width)
    table = [line for line in text.splitlines() if not line.startswith(("A wider", "No COP"))]
    assert max(map(len, table)) <= width
    assert all(day in text for day in DAYS), "nothing in it is cut"
    assert ("A wider terminal shows more" in text) == (width < 100)
    assert "electricity is known for less than a half of it" in text


def test_sql_forms(made: Path, call: Call) -> None:
    query = "SELECT heat_pump, period, start, cop FROM daily WHERE heat_pump = 'daikin' ORDER BY start"
    table = call(made, "sql", query)
    assert "2025-01-14 00:00:00+01" in table.output, "times are shown in the house's time"
    rows = json.loads(call(made, "sql", query, "--format", "json").stdout)
    assert [row["period"] for row in rows] == list(DAYS)
    assert rows[1]["start"] == "2025-01-14T00:00:00+01:00"
    csv = pl.read_csv(io.StringIO(call(made, "sql", query, "--format", "csv").stdout))
    assert csv.columns == ["heat_pump", "period", "start", "cop"]
    assert csv.height == 3
    everything = call(made, "sql", "SELECT * FROM daily").output
    assert "…" not in everything, "columns are not left out where no terminal is narrow"


def test_sql_of_any_type(made: Path, call: Call) -> None:
    query = (
        "SELECT 'NaN'::DOUBLE AS a, [1, 2] AS b, {'x': DATE '2025-01-01'} AS c, INTERVAL 26 HOURS AS d, "
        "1.5::DECIMAL(5, 2) AS e, 'x'::BLOB AS f, uuid() AS g, TIME '07:00' AS h, 1 AS a"
    )
    (row,) = json.loads(call(made, "sql", query, "--format", "json").stdout)
    assert (row["a"], row["b"], row["c"], row["e"], row["f"], row["h"]) == (
        None, [1, 2], {"x": "2025-01-01"}, 1.5, "78", "07:00:00"
    )  # fmt: skip
    assert "93600 s" in row["d"]
    assert row["a_9"] == 1
    assert len(call(made, "sql", query, "--format", "csv").stdout.splitlines()) == 2
    assert call(made, "sql", query).exit_code == 0


def test_sql_explains_the_tables(made: Path, call: Call) -> None:
    tables = json.loads(call(made, "sql", "SHOW TABLES", "--format", "json").stdout)
    names = {row["name"] for row in tables}
    assert {"readings", "frames", "sessions", "cycles", "defrosts", "hourly", "daily", "weekly", "monthly", "yearly",
            "all_time"} <= names  # fmt: skip
    query = "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'daily' AND comment IS NULL"
    comments = json.loads(call(made, "sql", query, "--format", "json").stdout)
    assert [row["column_name"] for row in comments] in ([], ["date"])


def test_sql_mistakes(made: Path, call: Call) -> None:
    answer = call(made, "sql", "SELECT nonsense FROM daily")
    assert answer.exit_code == 1
    assert "nonsense" in answer.stderr
    assert "Traceback" not in answer.output
    written = call(made, "sql", "CREATE TABLE t AS SELECT 1")
    assert written.exit_code == 1
    assert "read-only" in written.stderr


def test_sql_from_a_pipe(made: Path, call: Call) -> None:
    answer = call(made, "sql", "--format", "json", input="SELECT 1 AS a;\nSELECT\n  2 AS b;\n\nSELECT 3 AS c")
    assert answer.exit_code == 0
    assert [json.loads(line) for line in answer.stdout.splitlines()] == [[{"a": 1}], [{"b": 2}], [{"c": 3}]]
    bad = call(made, "sql", "--format", "json", input="nonsense;\nSELECT 1 AS a;\n")
    assert bad.exit_code == 1
    assert json.loads(bad.stdout) == [{"a": 1}]
    assert "nonsense" in bad.stderr


def test_sql_sees_what_is_stored_after_the_data_moved(house: Path, call: Call) -> None:
    assert call(house, "sql", "SELECT 1").exit_code == 0
    moved = house.rename(house.with_name("elsewhere"))
    rows = json.loads(call(moved, "sql", "SELECT count(*) AS days FROM daily", "--format", "json").stdout)
    assert rows == [{"days": 6}]


def test_export(house: Path, call: Call) -> None:
    answer = call(house, "export")
    assert answer.exit_code == 0
    assert "8 files written" in answer.output
    folder = house / "data" / "exports" / "daikin"
    assert sorted(path.name for path in folder.glob("*/*")) == [*(f"{day}.csv" for day in DAYS), "2025-W03.csv"]
    assert call(house, "export", "--day", "2025-01-14").stdout.startswith("4 files written")
    damaged = open_lake(house / "data").path("frames/daikin", "2025-01-13")
    damaged.write_bytes(b"")
    some = call(house, "export")
    assert some.exit_code == 1
    assert str(damaged) in some.stderr
    assert "all others were" in some.stderr


def test_verify(house: Path, call: Call) -> None:
    good = call(house, "verify")
    assert good.exit_code == 0
    assert "as they were written" in good.output
    path = open_lake(house / "data").path("daily/annex", "2025-01-14")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)
    bad = call(house, "verify")
    assert bad.exit_code == 1
    assert str(path) in bad.stderr
    assert bad.stderr.count("is damaged") == 1, "a file of several days is named once"


def test_mistakes_in_options(made: Path, call: Call) -> None:
    answer = call(made, "summary", "--heat-pump", "daikn")
    assert answer.exit_code == 2
    assert "There is no heat pump 'daikn'; there are: daikin, annex." in answer.stderr
    answer = call(made, "summary", "--from", "2025-02-01", "--to", "2025-01-01")
    assert answer.exit_code == 2
    assert "--from 2025-02-01 lies after --to 2025-01-01" in answer.stderr
    answer = call(made, "summary", "--by", "fortnight")
    assert answer.exit_code == 2
    assert "season" in answer.stderr
    assert call(made, "summary", "--from", "1.2.2025").exit_code == 2


def rows_of(answer: Result) -> list[dict[str, Any]]:
    """What a command said as JSON."""
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


def test_costs_of_days_months_seasons_and_years(made: Path, call: Call) -> None:
    totals = {}
    for by in COST_GROUPINGS:
        rows = rows_of(call(made, "costs", "--by", by, "--heat-pump", "daikin", "--format", "json"))
        totals[by] = sum(row["cost"] for row in rows)
        assert all(row["cost"] == pytest.approx(0.3 * row["electrical_energy_kwh"]) for row in rows)
        text = call(made, "costs", "--by", by).output
        assert text.startswith(f"Cost in EUR, by {by}")
        assert rows[0]["period"] in text
    assert totals["day"] > 5
    assert list(totals.values()) == pytest.approx([totals["day"]] * len(totals), abs=1e-8)
    one = call(made, "costs", "--by", "day", "--from", DAYS[1], "--to", DAYS[1], "--format", "csv")
    table = pl.read_csv(io.StringIO(one.stdout))
    assert table["heat_pump"].to_list() == ["daikin", "annex"]
    assert set(table["period"]) == {DAYS[1]}
    assert (table["cost_per_kwh_heat"] * table["thermal_energy_kwh"]).to_list() == pytest.approx(
        table["cost"].to_list(), rel=1e-6
    )


def test_costs_of_a_house_without_a_price(tmp_path: Path, call: Call) -> None:
    write_house(tmp_path, SETTINGS.split("tariffs:")[0])
    answer = call(tmp_path, "costs")
    assert answer.exit_code == 1
    assert "see tariffs in hp.example.yaml" in answer.stderr


def test_outlook_with_too_few_days_says_why(made: Path, call: Call) -> None:
    rows = rows_of(call(made, "outlook", "--heat-pump", "daikin", "--format", "json"))
    assert {(row["kind"], row["period"]) for row in rows} == {("season", "2024/25"), ("year", "2025")}
    (year,) = rows_of(call(made, "summary", "--by", "year", "--heat-pump", "daikin", "--format", "json"))
    for row in rows:
        assert row["cop"] == pytest.approx(year["cop"], abs=1e-9), "the JAZ so far is that of the days there are"
        assert row["electrical_energy_estimate_kwh"] is None
        assert row["estimate_reason"] == "figures of only 2 days"
        assert row["comparison_reason"] == "no figures of the year before"
    text = call(made, "outlook").output
    assert "figures of only 2 days" in text
    assert "no figures of the year before" in text
    assert "2024/25" in text
    assert len(pl.read_csv(io.StringIO(call(made, "outlook", "--format", "csv").stdout))) == 4


def test_boundaries_are_shown_where_the_meters_tell_them(made: Path) -> None:
    workspace = Workspace(load_settings(made / "hp.yaml"), made / "data")
    rows = workspace.lake.read("daily/daikin", DAYS)
    assert rows is not None
    assert "SPF" not in text_table(rows, PERIOD_VIEW, "Europe/Berlin", "By day")
    told = rows.with_columns(spf_h3=pl.lit(3.1234))
    lines = text_table(told, PERIOD_VIEW, "Europe/Berlin", "By day").splitlines()
    assert lines[1].split().count("SPF") == 1
    assert "H3" in lines[2].split()
    assert all("3.12" in line for line in lines[4:])

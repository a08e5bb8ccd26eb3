"""Price files, and costs that follow from them without touching other days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.prices import PriceFileError, read_prices
from hp_pipeline.assets.stages import CostsDailyStage, FramesStage, stages, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.settings import load_settings
from hp_pipeline.settings.tariffs import PriceFiles
from hp_pipeline.transforms.costs import STOPPED_AFTER
from hp_pipeline.transforms.schema import conform
from hp_pipeline_tests.assets.small_house import (
    DAYS,
    FIRST,
    SETTINGS,
    house_with_readings,
    make_all,
    readings,
    write_house,
)

LAYOUT = PriceFiles(files="*.csv", factor=0.001, surcharge_per_kwh=0.1)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(("start,price_per_kwh", *lines)) + "\n", encoding="utf-8")
    return path


def test_prices_over_the_end_of_summer_time_with_a_missing_hour(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.csv",
        "2026-10-25T01:00+02:00,100",
        "2026-10-25T02:00+02:00,200",
        "2026-10-25T02:00+01:00,300",
        "2026-10-25T02:00:00Z,400",
        "2026-10-25T05:00Z,-500",
    )
    rows = read_prices(path, LAYOUT)
    hours = [start.hour for start in rows["start"]]
    assert hours == [23, 0, 1, 2, 5]
    assert rows["price"].to_list() == pytest.approx([0.2, 0.3, 0.4, 0.5, -0.4])
    assert (rows["end"] - rows["start"]).unique().to_list() == [timedelta(hours=1)]


def minutes_of(*steps: tuple[int, int]) -> list[int]:
    """Begins of prices, in minutes, from so many of each step."""
    found = [0]
    for step, count in steps:
        found += [found[-1] + step * (number + 1) for number in range(count)]
    return found


@pytest.mark.parametrize(
    "begins",
    [
        minutes_of((60, 48), (15, 96)),
        minutes_of((15, 96), (60, 48)),
        minutes_of((60, 24), (30, 20), (15, 8), (60, 12)),
        minutes_of((24 * 60, 10)),
    ],
)
@pytest.mark.parametrize("missing", [(), (5,), (3, 9), (6, 7, 8)])
def test_the_resolution_of_prices_may_change_within_a_file(
    tmp_path: Path, begins: list[int], missing: tuple[int, ...]
) -> None:
    """As on 1 October 2025, when the exchange went from hours to quarters: each price holds to the next, and one that
    is missing is missing."""
    start = datetime(2025, 9, 29, tzinfo=UTC)
    told = [begin for place, begin in enumerate(begins[:-1]) if place not in missing]
    path = write(tmp_path / "p.csv", *(f"{start + timedelta(minutes=begin):%Y-%m-%dT%H:%MZ},{begin}" for begin in told))
    rows = read_prices(path, PriceFiles(files="*.csv"))
    expected = [
        (start + timedelta(minutes=begin), start + timedelta(minutes=end))
        for place, (begin, end) in enumerate(pairwise(begins))
        if place not in missing
    ]
    assert rows.select("start", "end").rows() == expected
    assert rows["price"].to_list() == told


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "2026-01-05T00:00,100",
            "line 3: '2026-01-05T00:00' is no time with an offset, such as 2026-01-31T13:00+01:00",
        ),
        ("monday,100", "line 3: 'monday' is no time with an offset"),
        ("2026-01-05T00:00Z,cheap", "line 3: the price is no number"),
        ("2026-01-05T00:00Z,", "line 3: the price is no number"),
    ],
)
def test_a_line_that_says_no_price_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = write(tmp_path / "p.csv", "2026-01-04T00:00Z,100", line)
    with pytest.raises(PriceFileError) as refused:
        read_prices(path, LAYOUT)
    assert said in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_file_without_the_column_or_without_lines(tmp_path: Path) -> None:
    with pytest.raises(PriceFileError, match="has no column 'price'; it has start, price_per_kwh"):
        read_prices(write(tmp_path / "p.csv"), PriceFiles(files="*", price="price"))
    empty = tmp_path / "empty.csv"
    empty.touch()
    with pytest.raises(PriceFileError, match="cannot be read"):
        read_prices(empty, LAYOUT)
    assert read_prices(write(tmp_path / "none.csv"), LAYOUT).is_empty()


def table(workspace: Workspace, name: str, pump: str = "daikin") -> pl.DataFrame:
    asset = f"{name}/{pump}"
    return conform(workspace.lake.read(asset, workspace.lake.keys(asset)), name).sort("start")


def dynamic(folder: Path) -> Workspace:
    settings = SETTINGS.replace("price_per_kwh: 0.3", "prices: {files: prices/*.csv}")
    (folder / "hp.yaml").write_text(settings, encoding="utf-8")
    return Workspace(load_settings(folder / "hp.yaml"), folder / "data")


def hourly_prices(path: Path, first: date, days: int, price: float) -> None:
    start = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(hours=1)
    path.parent.mkdir(exist_ok=True)
    write(path, *(f"{start + timedelta(hours=i):%Y-%m-%dT%H:%M:%SZ},{price}" for i in range(24 * days)))


def test_prices_that_come_later_change_the_costs_of_their_days_only(tmp_path: Path) -> None:
    house_with_readings(tmp_path, ("files_a",))
    workspace = dynamic(tmp_path)
    make_all(workspace)
    rows = table(workspace, "costs_daily").sort("start")
    assert rows["cost"].null_count() == rows.height == 3
    assert set(rows["cost_reason"]) == {"no price for 100 % of the electricity"}

    hourly_prices(tmp_path / "prices" / "1.csv", date(2025, 1, 13), 1, 0.3)
    (tmp_path / "prices" / "2.csv").write_text("garbage", encoding="utf-8")
    workspace = dynamic(tmp_path)
    stage = CostsDailyStage(workspace.plant("daikin"))
    assert stage.due(stage.keys()) == ["2025-01-13"]
    make_all(workspace)
    rows = table(workspace, "costs_daily")
    known = rows.row(0, named=True)
    assert known["cost"] == pytest.approx(known["electrical_energy_kwh"] * 0.3, rel=1e-9)
    assert known["cost_per_kwh_heat"] == pytest.approx(
        0.3 * known["electrical_energy_kwh"] / known["thermal_energy_kwh"]
    )
    assert rows["cost"].to_list()[1:] == [None, None]

    # A corrected file takes precedence, and what it leaves out stays.
    hourly_prices(tmp_path / "prices" / "3.csv", date(2025, 1, 13), 3, 0.5)
    workspace = dynamic(tmp_path)
    make_all(workspace)
    rows = table(workspace, "costs_daily").sort("start")
    assert rows["cost"].to_list() == pytest.approx([0.5 * kwh for kwh in rows["electrical_energy_kwh"]], rel=1e-9)
    month = table(workspace, "costs_monthly")
    season = table(workspace, "costs_seasonal")
    assert month["cost"].sum() == season["cost"].sum() == pytest.approx(rows["cost"].sum(), abs=1e-12)
    assert season["period"].to_list() == ["2024/25"]
    again = stages(workspace.plant("daikin"))
    assert all(stage.due(stage.keys()) == [] for stage in again)
    whole = table(workspace, "costs_all_time")
    assert whole["cost"].to_list() == season["cost"].to_list()
    assert table(workspace, "costs_weekly")["cost"].sum() == pytest.approx(rows["cost"].sum(), abs=1e-12)


def test_another_standing_charge_changes_the_periods_that_it_runs_in(tmp_path: Path) -> None:
    house_with_readings(tmp_path, ("files_a",))
    more = "{name: later, from: 2025-01-15, price_per_kwh: 0.3, standing_charge_per_day: 0.8}"
    settings = SETTINGS.replace("price_per_kwh: 0.3}", f"price_per_kwh: 0.3, standing_charge_per_day: 0.4}}, {more}")
    (tmp_path / "hp.yaml").write_text(settings, encoding="utf-8")
    workspace = Workspace(load_settings(tmp_path / "hp.yaml"), tmp_path / "data")
    make_all(workspace)
    told = {name: table(workspace, f"costs_{name}")["standing_charge"].to_list() for name in ("daily", "monthly")}
    assert told == {"daily": [0.4, 0.4, 0.8], "monthly": [1.6]}, "the other heat pump has told nothing yet"
    (tmp_path / "hp.yaml").write_text(settings.replace("0.8", "1.0"), encoding="utf-8")
    workspace = Workspace(load_settings(tmp_path / "hp.yaml"), tmp_path / "data")
    due = {stage.tables[0]: stage.due(stage.keys()) for stage in stages(workspace.plant("daikin"))}
    assert due["costs_daily"] == ["2025-01-15"]
    assert due["outlook"], "the charge goes on to the end of the year"
    make_all(workspace)
    for name in ("daily", "weekly", "monthly", "seasonal", "yearly", "all_time"):
        assert table(workspace, f"costs_{name}")["standing_charge"].sum() == 1.8


CHARGED = SETTINGS.replace("price_per_kwh: 0.3}", "price_per_kwh: 0.3, standing_charge_per_day: 0.5}")
COST_TABLES = tuple(f"costs_{name}" for name in ("daily", "weekly", "monthly", "seasonal", "yearly", "all_time"))


def charged_house(folder: Path) -> Workspace:
    write_house(folder, CHARGED)
    return Workspace(load_settings(folder / "hp.yaml"), folder / "data")


def charges(workspace: Workspace, pump: str) -> dict[str, float]:
    rows = table(workspace, "costs_daily", pump)
    return dict(zip(rows["period"], rows["standing_charge"], strict=True))


def nothing_is_due(workspace: Workspace) -> bool:
    return not any(stage.due(stage.keys()) for plant in workspace.plants for stage in stages(plant))


def test_a_heat_pump_shares_the_charge_from_its_first_reading_on(tmp_path: Path) -> None:
    workspace = charged_house(tmp_path)
    store_readings(workspace, "files_a", readings())
    make_all(workspace)
    alone = charges(workspace, "daikin")
    assert alone == dict.fromkeys(DAYS, 0.5)

    store_readings(workspace, "files_b", readings().filter(pl.col("time") >= datetime(2025, 1, 14, 8, tzinfo=UTC)))
    FramesStage(workspace.plant("annex")).bring_up_to_date(["2025-01-14", "2025-01-15"])
    stage = CostsDailyStage(workspace.plant("daikin"))
    assert stage.due(stage.keys()) == ["2025-01-14", "2025-01-15"], "what was before stays as it is"
    make_all(workspace)
    assert charges(workspace, "daikin") == {"2025-01-13": 0.5, "2025-01-14": 0.25, "2025-01-15": 0.25}
    assert charges(workspace, "annex") == {"2025-01-14": 0.25, "2025-01-15": 0.25}
    for name in COST_TABLES:
        sums = [table(workspace, name, pump)["standing_charge"].sum() for pump in ("daikin", "annex")]
        assert sums == [1.0, 0.5], name
    assert nothing_is_due(workspace)


def test_of_several_heat_pumps_none_is_made_before_all_are_known(tmp_path: Path) -> None:
    """All at once, as after the first import: the first in the settings is charged its part at once."""
    workspace = charged_house(tmp_path)
    for source in ("files_a", "files_b"):
        store_readings(workspace, source, readings())
    make_all(workspace)
    assert charges(workspace, "daikin") == charges(workspace, "annex") == dict.fromkeys(DAYS, 0.25)
    assert nothing_is_due(workspace)


def test_a_day_of_silence_is_paid_like_any_other(tmp_path: Path) -> None:
    """Its row comes with the reading that ends the silence, not with the next sweep."""
    workspace = charged_house(tmp_path)
    day = pl.col("time").dt.date()
    store_readings(workspace, "files_a", readings().filter(day == FIRST, pl.col("time").dt.hour() < 20))
    make_all(workspace)
    later = readings().filter(day == FIRST).with_columns(pl.col("time").dt.offset_by("60d"))
    store_readings(workspace, "files_a", later)
    plant = workspace.plant("daikin")
    for stage in stages(plant):
        stage.bring_up_to_date(stage.keys(FIRST + timedelta(days=60), FIRST + timedelta(days=60))).raise_failures()
    found = table(workspace, "costs_daily")
    assert found["period"].to_list() == [str(FIRST + timedelta(days=count)) for count in range(found.height)]
    assert found.height in {61, 62}
    for name in COST_TABLES:
        assert table(workspace, name)["standing_charge"].sum() == 0.5 * found.height
    assert table(workspace, "costs_monthly")["period"].to_list() == ["2025-01", "2025-02", "2025-03"]
    assert found["cost"].drop_nulls().len() <= 4
    assert nothing_is_due(workspace)


def test_a_heat_pump_that_is_silent_is_charged_as_far_as_the_house_is_read(tmp_path: Path) -> None:
    workspace = charged_house(tmp_path)
    store_readings(workspace, "files_a", readings())
    store_readings(workspace, "files_b", readings().filter(pl.col("time").dt.date() == FIRST))
    make_all(workspace)
    assert charges(workspace, "daikin") == charges(workspace, "annex") == dict.fromkeys(DAYS, 0.25)
    assert nothing_is_due(workspace)
    longer = readings().with_columns(pl.col("time").dt.offset_by(f"{STOPPED_AFTER.days + 3}d"))
    store_readings(workspace, "files_a", longer)
    make_all(workspace)
    assert charges(workspace, "annex") == dict.fromkeys(sorted(charges(workspace, "annex")), 0.25)
    assert set(charges(workspace, "annex")) <= {"2025-01-13", "2025-01-14"}, "it has stopped: the other pays on"
    both = charges(workspace, "daikin")
    assert set(both.values()) == {0.25, 0.5} and both["2025-01-15"] == 0.5
    assert sum(both.values()) + sum(charges(workspace, "annex").values()) == 0.5 * len(both)
    assert nothing_is_due(workspace)


def test_quarters_hours_and_days_have_the_same_energies(tmp_path: Path) -> None:
    house_with_readings(tmp_path, ("files_a",))
    workspace = dynamic(tmp_path)
    make_all(workspace)
    for energy in ("electrical_energy_kwh", "thermal_energy_heating_kwh", "thermal_energy_kwh"):
        sums = [
            table(workspace, name).select(pl.col(energy).sum()).item()
            for name in ("quarter_hourly", "hourly", "daily", "seasonal", "costs_daily", "costs_yearly")
        ]
        assert sums == pytest.approx([sums[0]] * len(sums), abs=1e-9)
        assert sums[0] > 1


def test_a_house_in_the_south_has_its_seasons_by_calendar_years(tmp_path: Path) -> None:
    house_with_readings(tmp_path, ("files_a",))
    for starts, label in ((1, "2025"), (7, "2024/25")):
        settings = SETTINGS.replace("start: 2025-01-12", f"start: 2025-01-12, heating_season_starts: {starts}")
        (tmp_path / "hp.yaml").write_text(settings, encoding="utf-8")
        workspace = Workspace(load_settings(tmp_path / "hp.yaml"), tmp_path / "data")
        make_all(workspace)
        for name in ("seasonal", "costs_seasonal", "defrost_seasonal", "efficiency_seasonal", "heat_loss"):
            assert set(table(workspace, name)["period"]) == {label}, name
        kinds = table(workspace, "outlook").select("kind", "period").rows()
        assert set(kinds) == {("season", label), ("year", "2025")}
        seasons = table(workspace, "comparisons").filter(pl.col("kind") == "season")
        assert set(seasons["period"]) == {label}

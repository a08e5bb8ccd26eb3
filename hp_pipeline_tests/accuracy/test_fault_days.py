"""A fortnight of faults of Modbus and of MQTT, one a day: what each costs, and what stands in the ledger.

Luxtronik, Viessmann and Shelly have a day with all their faults in `test_whole_way`; the fortnights of all protocols
are a part of `python -m benchmarks whole_way`.
"""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from benchmarks.fault_days import FORTNIGHTS, LUXTRONIK_DAYS, VIESSMANN_DAYS, FaultDay, Suffered, suffer
from benchmarks.walking import ELECTRICITY, HEAT
from hp_pipeline.simulation.devices.troubled import BEFORE_KWH, CounterTrouble, Trouble, TroubledHouse
from hp_pipeline.simulation.devices.world import House
from hp_pipeline.simulation.house import Trajectory

PROTOCOLS = ("Modbus (ISG)", "MQTT")


@pytest.fixture(scope="module", params=PROTOCOLS)
def suffered(request: pytest.FixtureRequest) -> Suffered:
    return suffer(request.param)


def test_no_fault_costs_more_than_what_nobody_saw(suffered: Suffered) -> None:
    days = suffered.verdicts()
    assert days.height == len(suffered.days) > 12
    assert days.filter(~pl.col("met")).is_empty(), days.filter(~pl.col("met"))


def test_resets_and_sentinels_are_found_and_nothing_is_invented(suffered: Suffered) -> None:
    lines = {line.what.partition(" · ")[2]: line for line in suffered.lines()}
    assert lines["counter reset · ledger"].value == 1.0
    assert lines["ledger: precision"].value >= 0.99
    assert "reset" in lines["counter reset · ledger"].note
    if suffered.protocol == "MQTT":
        assert lines["sentinel of a counter · ledger"].value == 1.0


def test_days_without_faults_are_as_good_as_any(suffered: Suffered) -> None:
    quiet = suffered.verdicts().filter(pl.col("fault").str.contains("^(none|day of 23)"))
    assert quiet.height == 3
    assert quiet["ledger"].to_list() == ["", "", ""]
    step = suffered.walked.way.budget.thermal_step_kwh
    assert quiet["heat_off"].abs().max() <= max(0.1, 2 * step)


def test_an_outage_of_the_meter_alone_takes_nothing_from_the_day_and_adds_nothing() -> None:
    """The machine's cloud tells afterwards what it counted meanwhile, in hours and never as exactly as the meter."""
    (outage,) = (day for day in VIESSMANN_DAYS if day.fault == "outage, 40 min")
    suffered = suffer("Viessmann + Shelly", [replace(outage, day=1, hour=4.0)])
    (day,) = suffered.verdicts().to_dicts()
    assert day["met"] and abs(day["electricity_off"]) < 1e-3, day


def test_no_two_faults_share_a_day() -> None:
    for _, days in FORTNIGHTS.values():
        assert len({day.day for day in days}) == len(days)
    assert {day.fault for day in LUXTRONIK_DAYS} & {day.fault for day in VIESSMANN_DAYS} >= {
        "spike",
        "counter reset",
        "frozen counter, 2 h",
        "factor ×10",
        "late start of a counter",
        "outage, 40 min",
        "device clock off by 1 h",
        "day of 23 hours",
    }


def test_the_counters_of_a_troubled_house_lie_as_told(runs: dict[str, Trajectory]) -> None:
    run = runs["deep_frost"]
    start = House(run).start
    at = [start + timedelta(hours=hours) for hours in range(0, 60, 6)]
    troubles = [
        Trouble(CounterTrouble.late_start, start, at[1]),
        Trouble(CounterTrouble.spike, at[2], at[2] + timedelta(minutes=1)),
        Trouble(CounterTrouble.frozen, at[3], at[4]),
        Trouble(CounterTrouble.factor, at[5], at[5]),
        Trouble(CounterTrouble.sentinel, at[6], at[6] + timedelta(minutes=1)),
        Trouble(CounterTrouble.reset, at[7], at[7]),
    ]
    name, true, house = "thermal_energy_total", House(run), TroubledHouse(run, troubles)
    before = BEFORE_KWH[name]

    def counted(first: int, last: int) -> float:
        return true.counter(name, at[last]) - true.counter(name, at[first])

    moment = timedelta(seconds=30)
    assert house.counter(name, at[0] + moment) == house.counter(name, at[1]) == before
    assert house.counter(name, at[2] + moment) - house.counter(name, at[2] - moment) > 700
    assert house.counter(name, at[3] + moment) == house.counter(name, at[4] - moment)
    assert house.counter(name, at[4] + moment) == pytest.approx(before + counted(1, 4), abs=0.2)
    assert house.at(at[5] + moment).number(name) == pytest.approx(10 * (before + counted(1, 5)), abs=2)
    assert house.counter(name, at[6] + moment) == -1
    assert house.counter(name, at[8]) == pytest.approx(10 * counted(7, 8))
    assert house.counter("outdoor_degree_hours_total", at[8]) == true.counter("outdoor_degree_hours_total", at[8])
    assert {HEAT, ELECTRICITY} >= FaultDay("", 0).of

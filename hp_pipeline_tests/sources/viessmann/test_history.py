"""Lists of energies → counters at the borders of days, weeks, months and years, in the device's own calendar."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hp_pipeline.simulation.devices.world import House
from hp_pipeline.sources.live import Polled
from hp_pipeline.sources.viessmann import ViessmannCloud
from hp_pipeline.sources.viessmann.features import features_of
from hp_pipeline.sources.viessmann.history import remembered
from hp_pipeline_tests.sources.viessmann.conftest import MORNING, START, Account

BERLIN = ZoneInfo("Europe/Berlin")
NAME = "heating.power.consumption.total"


def counters(read_at: str, **lists: list[float]) -> dict[str, dict[datetime, float]]:
    properties: dict[str, Any] = {}
    for period, values in lists.items():
        properties[period] = {"type": "array", "unit": "kilowattHour", "value": values}
        properties[f"{period}ValueReadAt"] = {"type": "string", "value": read_at}
    document = {"data": [{"feature": NAME, "timestamp": read_at, "properties": properties}]}
    features = features_of(document, datetime(2030, 1, 1, tzinfo=UTC))
    everything = datetime(2000, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
    found: dict[str, dict[datetime, float]] = {}
    for reading in remembered(features, {("", ""): ""}, BERLIN, *everything):
        assert reading.time is not None and reading.value is not None
        found.setdefault(reading.point.removeprefix(f"{NAME}."), {})[reading.time.astimezone(BERLIN)] = reading.value
    return found


def local(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, second, tzinfo=BERLIN)


def test_a_day_counts_from_its_midnight_to_its_last_second() -> None:
    days = counters("2025-11-19T11:19:12Z", day=[13, 20.7, 11.8])["day"]
    assert days == {
        local(2025, 11, 17): 0.0,
        local(2025, 11, 17, 23, 59, 59): 11.8,
        local(2025, 11, 18): 0.0,
        local(2025, 11, 18, 23, 59, 59): 20.7,
        local(2025, 11, 19): 0.0,
        local(2025, 11, 19, 12, 19, 12): 13.0,
    }


def test_days_of_23_and_25_hours_begin_at_local_midnight() -> None:
    spring = counters("2025-03-31T10:00:00Z", day=[1.0, 2.0, 3.0])["day"]
    assert local(2025, 3, 30) in spring and spring[local(2025, 3, 30, 23, 59, 59)] == 2.0
    midnights = sorted(moment for moment, value in spring.items() if value == 0.0)
    hours = [(b.astimezone(UTC) - a.astimezone(UTC)) / timedelta(hours=1) for a, b in itertools.pairwise(midnights)]
    assert hours == [24.0, 23.0]


def test_longer_periods_are_told_for_the_ends_of_the_shorter_ones() -> None:
    found = counters(
        "2025-11-19T11:19:12Z", day=[13, 20.7, 11.8], week=[45.5, 50.1], month=[176.1, 168.3], year=[478.6, 0]
    )
    assert found["week"][local(2025, 11, 17)] == 0.0
    assert found["week"][local(2025, 11, 18, 23, 59, 59)] == pytest.approx(32.5)
    assert found["month"][local(2025, 11, 18, 23, 59, 59)] == pytest.approx(163.1)
    assert found["year"][local(2025, 11, 18, 23, 59, 59)] == pytest.approx(465.6)
    assert found["year"][local(2025, 10, 31, 23, 59, 59)] == pytest.approx(302.5)
    assert found["month"][local(2025, 10, 31, 23, 59, 59)] == pytest.approx(168.3)
    assert local(2024, 12, 31, 23, 59, 59) not in found["year"], "0 of a year before the device was there"


def test_a_counter_does_not_reach_into_the_period_before() -> None:
    found = counters("2025-11-02T11:00:00Z", day=[1, 2, 30, 40], month=[3, 500])
    within = [moment for moment in found["month"] if moment > local(2025, 11, 1)]
    assert sorted(within) == [local(2025, 11, 1, 23, 59, 59), local(2025, 11, 2, 12, 0, 0)]


def test_lists_that_contradict_each_other_are_not_combined() -> None:
    found = counters("2025-11-19T11:19:12Z", day=[13, 200.0, 11.8], month=[20.0, 168.3])
    assert local(2025, 11, 17, 23, 59, 59) not in found["month"]


def test_the_cloud_remembers_what_the_house_has_used(account: Account, house: House) -> None:
    async def asked(source: ViessmannCloud) -> list[Polled]:
        return [chunk async for chunk in source.history(START, MORNING + timedelta(days=1))]

    _, chunks = account.run(ViessmannCloud.poll, asked)
    assert account.places()[3:] == ["features", "features"], "history is one request"
    told = {
        (reading.point, reading.time): reading.value for chunk in chunks for reading in chunk.readings if reading.value
    }
    midnight = datetime(2024, 1, 17, tzinfo=BERLIN).astimezone(UTC)
    begin = midnight - timedelta(days=1)
    counter = "electrical_energy_total"
    used = house.at(midnight).number(counter) - house.at(begin).number(counter)
    assert told[f"{NAME}.day", midnight - timedelta(seconds=1)] == pytest.approx(used, abs=0.06)
    since_start = house.at(midnight).number(counter) - house.at(house.start).number(counter)
    assert told[f"{NAME}.year", midnight - timedelta(seconds=1)] == pytest.approx(since_start, abs=0.2)
    assert all(START <= time < MORNING + timedelta(days=1) for _, time in told if time is not None)


def test_history_keeps_to_its_range(account: Account) -> None:
    async def asked(source: ViessmannCloud) -> list[Polled]:
        return [chunk async for chunk in source.history(START, START + timedelta(hours=1))]

    (chunks,) = account.run(asked)
    assert [reading for chunk in chunks for reading in chunk.readings] == []

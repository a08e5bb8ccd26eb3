"""Meters over midnight: what is told is the house's truth, in whatever order the device clears and adds."""

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from hp_pipeline.simulation.devices.modbus import SimulatedModbus, StiebelIsg
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline_tests.sources.modbus.conftest import START, reader_of

BASE = {"thermal_energy_heating_total": 1_950.0, "electrical_energy_heating_total": 990.0}
METERS = {
    "heat_heating": "thermal_energy_heating_total",
    "heat_dhw": "thermal_energy_dhw_total",
    "electricity_heating": "electrical_energy_heating_total",
    "electricity_dhw": "electrical_energy_dhw_total",
}
MIDNIGHT = START + timedelta(hours=23)
"""In the house's time zone (UTC+1) the second day begins here."""


def truth(house: House, moment: Any, name: str) -> int:
    return int(house.at(moment).number(name) + BASE.get(name, 0.0))


@pytest.mark.parametrize(
    ("day_lag", "total_lag", "magnitude_lag"),
    [(0, 0, 0), (0, 100, 0), (100, 0, 0), (0, 0, 70), (40, 0, 90), (0, 300, 200)],
    ids=["at once", "cleared first", "added first", "half a magnitude", "added first and half", "slow"],
)
def test_meters_follow_the_truth_over_midnight(house: House, day_lag: int, total_lag: int, magnitude_lag: int) -> None:
    """Polls of 20 s around a midnight at which the totals pass a thousand."""

    async def test() -> None:
        clock = Clock(MIDNIGHT - timedelta(minutes=15), 0)
        device = StiebelIsg(
            house,
            clock,
            base_kwh=BASE,
            day_lag=timedelta(seconds=day_lag),
            total_lag=timedelta(seconds=total_lag),
            magnitude_lag=timedelta(seconds=magnitude_lag),
        )
        async with SimulatedModbus({1: device.unit()}) as server:
            source = reader_of(server, wall=lambda: clock.now().timestamp(), slow_every="1d")
            told: dict[str, list[float]] = {name: [] for name in METERS}
            held = 0
            for _ in range(110):
                polled = await source.poll()
                readings = {reading.point: reading.value for reading in polled.readings}
                torn = {name for name, why in source.report.reasons.items() if why.startswith("held")}
                held += len(torn)
                for name, counter in METERS.items():
                    value = readings[name]
                    assert value is not None
                    now = truth(house, clock.now(), counter)
                    assert now - 3 <= value <= now
                    assert value == now or name in torn
                    told[name].append(value)
                clock.move(timedelta(seconds=20))
            await source.close()
        for series in told.values():
            assert all(before <= after for before, after in pairwise(series))
        assert bool(held) is bool(day_lag or total_lag or magnitude_lag)

    asyncio.run(test())


def test_a_restart_in_the_middle_of_a_midnight_keeps_the_meter(house: House) -> None:
    async def test() -> None:
        clock = Clock(MIDNIGHT - timedelta(seconds=30), 0)
        device = StiebelIsg(house, clock, base_kwh=BASE, day_lag=timedelta(seconds=300))
        kept: dict[str, Any] = {}
        async with SimulatedModbus({1: device.unit()}) as server:
            for _ in range(20):
                source = reader_of(server, wall=lambda: clock.now().timestamp(), state=kept, keep=kept.__setitem__)
                readings = {r.point: r.value for r in (await source.poll()).readings}
                value = readings["heat_heating"]
                assert value is not None and value <= truth(house, clock.now(), METERS["heat_heating"])
                await source.close()
                clock.move(timedelta(seconds=20))

    asyncio.run(test())


def test_a_controller_that_was_replaced_is_told_as_it_is_after_a_while(house: House) -> None:
    async def test() -> None:
        clock = Clock(START + timedelta(hours=30), 0)
        device = StiebelIsg(house, clock, base_kwh=BASE)
        async with SimulatedModbus({1: device.unit()}) as server:
            source = reader_of(server, wall=lambda: clock.now().timestamp())
            before = {r.point: r.value for r in (await source.poll()).readings}["heat_heating"]
            device.resets.append(clock.now())
            seen = []
            for _ in range(35):
                clock.move(timedelta(seconds=30))
                seen.append({r.point: r.value for r in (await source.poll()).readings}["heat_heating"])
            assert seen[0] == before, "may be torn: not believed at once"
            assert seen[-1] is not None and seen[-1] < 10
            await source.close()

    asyncio.run(test())

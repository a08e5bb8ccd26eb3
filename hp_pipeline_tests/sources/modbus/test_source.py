"""Polling a Stiebel ISG over real sockets: few requests, holes learned once, every fault with its outcome."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hp_pipeline.simulation.devices.modbus import Fault, SimulatedModbus, StiebelIsg, Unit
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.sources.live import Outcome, PolledSource, PollError
from hp_pipeline.sources.modbus import RegisterSource
from hp_pipeline.sources.modbus.source import BUSY_PAUSES
from hp_pipeline.sources.modbus.wire import Line, LineAddress, Lines, WireError
from hp_pipeline_tests.sources.modbus.conftest import START, reader_of

NOON = START + timedelta(hours=36)
TRANSPORTS = ("tcp", "rtu_over_tcp", "rtu")


def isg(house: House, **more: Any) -> StiebelIsg:
    """An ISG at noon of the second day, whose clock stands."""
    return StiebelIsg(house, more.pop("clock", Clock(NOON, 0)), **more)


def values(polled: Any) -> dict[str, float | str]:
    return {reading.point: reading.text if reading.value is None else reading.value for reading in polled.readings}


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))  # type: ignore[arg-type]


@pytest.mark.parametrize("holes", ["illegal", "padded"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_isg_is_read_in_at_most_six_requests(house: House, transport: Any, holes: Any) -> None:
    async def test() -> None:
        device = isg(house, base_kwh={"thermal_energy_heating_total": 12_634})
        state = house.at(NOON)
        async with SimulatedModbus({1: device.unit(holes)}, transport=transport) as server:
            source = reader_of(server)
            assert isinstance(source, PolledSource)
            everything = values(await source.poll())
            assert source.model == "WPMsystem"
            fast = values(await source.poll())
            assert source.report.requests == 5
            assert {name: everything[name] for name in fast} == fast
            assert everything["room_1_temperature"] == pytest.approx(state.number("room_temperature"), abs=0.05)
            assert "room_1_temperature" not in fast
            for point in ("flow_temperature", "return_temperature", "outdoor_temperature", "dhw_temperature"):
                assert fast[point] == pytest.approx(state.number(point), abs=0.05)
            assert fast["flow_rate"] == pytest.approx(state.number("flow_rate") / 60, abs=0.05)
            assert fast["operation"] == state.word("operating_mode")
            assert fast["operating_status.compressor"] == state.number("compressor_on")
            assert fast["heat_heating"] == int(state.number("compressor_heat_heating_total") + 12_634)
            backup = state.number("backup_heater_energy_dhw_total")
            assert fast["electricity_dhw"] == int(state.number("electrical_energy_dhw_total") - backup)
            assert fast["heat"] == fast["heat_heating"] + fast["heat_dhw"]
            assert source.report.reasons == {} and source.report.refused == {}
            await source.close()

    run(test)


@pytest.mark.parametrize(("controller", "model"), [(390, "WPM3"), (391, "WPM3i"), (449, "WPMsystem")])
def test_the_controller_decides_what_is_read(house: House, controller: int, model: str) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house, controller=controller).unit()}) as server:
            source = reader_of(server)
            found = values(await source.poll())
            assert source.model == model
            prefix = "wpm3i_" if model == "WPM3i" else ""
            flow = house.at(NOON).number("flow_temperature")
            assert found[f"{prefix}flow_temperature"] == pytest.approx(flow, abs=0.05)
            assert ("flow_temperature" in found) is (model != "WPM3i")
            assert ("inverter_power" in found) is (model == "WPMsystem")
            assert model in source.identity
            await source.close()

    run(test)


def test_slow_registers_come_at_their_pace(house: House) -> None:
    async def test() -> None:
        now = [0.0]
        async with SimulatedModbus({1: isg(house).unit()}) as server:
            source = reader_of(server, slow_every="5min", monotonic=lambda: now[0])
            slow_at = []
            for second in range(0, 1000, 20):
                now[0] = float(second)
                if "room_1_temperature" in values(await source.poll()):
                    slow_at.append(second)
            assert slow_at == [0, 300, 600, 900]
            await source.close()

    run(test)


# ---- holes --------------------------------------------------------------------------------------------------


def test_holes_are_found_once_and_never_asked_again(house: House) -> None:
    missing = {508, 516, 519, 535, 2505, *range(583, 602), *range(3689, 3734)}

    async def test() -> None:
        kept: dict[str, Any] = {}
        async with SimulatedModbus({1: isg(house, missing=missing).unit()}) as server:
            source = reader_of(server, keep=lambda key, value: kept.__setitem__(key, json.loads(json.dumps(value))))
            first = values(await source.poll())
            assert "flow_temperature" in first and "heat_heating" in first
            learning = len(server.requests)
            touched = {
                address
                for request in server.requests
                for address in range(request.address, request.address + request.count)
            }
            assert missing & touched
            for again in (source, reader_of(server, state=kept)):
                server.requests.clear()
                everything = await again.poll()
                asked = {
                    a for request in server.requests for a in range(request.address, request.address + request.count)
                }
                assert not asked & missing
                assert len(server.requests) < learning
                assert "flow_temperature" in values(everything)
                await again.close()

    run(test)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(missing=st.sets(st.sampled_from([*range(500, 548), *range(2500, 2507), *range(3500, 3516)]), max_size=25))
def test_whatever_is_missing_the_rest_is_read_and_no_hole_is_asked_twice(house: House, missing: set[int]) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house, missing=missing).unit()}) as server:
            source = reader_of(server)
            await source.poll()
            server.requests.clear()
            found = values(await source.poll())
            asked = {a for request in server.requests for a in range(request.address, request.address + request.count)}
            assert not asked & missing
            here = {"flow_temperature": {542}, "dhw_temperature": {521}, "heat_heating_total": {3501, 3502}}
            for point, addresses in here.items():
                assert (point in found) is not bool(addresses & missing)
            assert ("heat_heating" in found) is not bool({3500, 3501, 3502} & missing)
            await source.close()

    run(test)


def test_what_answered_once_is_no_hole_when_it_is_refused_later(house: House) -> None:
    async def test() -> None:
        device = isg(house)
        async with SimulatedModbus({1: device.unit()}) as server:
            source = reader_of(server)
            await source.poll()
            before = source.knowledge.state()
            server.inject(Fault.ILLEGAL_FUNCTION)
            partly = values(await source.poll())
            assert "flow_temperature" not in partly and "heat_heating" in partly
            assert list(source.report.refused) == ["input 506+42"]
            assert source.knowledge.state() == before
            assert "flow_temperature" in values(await source.poll())
            await source.close()

    run(test)


def test_a_device_without_any_register_of_the_map(house: House) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house).unit()}) as server:
            source = reader_of(server, "luxtronik_shi")
            with pytest.raises(PollError) as told:
                await source.poll()
            assert told.value.outcome is Outcome.unsupported and not told.value.retry
            server.requests.clear()
            with pytest.raises(PollError, match="none of the registers of the map luxtronik_shi"):
                await source.poll()
            assert server.requests == []
            await source.close()

    run(test)


def test_another_controller_than_the_map_is_for(house: House) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house, controller=104).unit()}) as server:
            source = reader_of(server)
            with pytest.raises(
                PollError, match="controller 104, which the map stiebel_eltron_wpm does not know"
            ) as told:
                await source.poll()
            assert told.value.outcome is Outcome.unsupported and "probe" in told.value.remedy
            await source.close()
            named = reader_of(server, model="WPM3")
            assert "flow_temperature" in values(await named.poll())
            await named.close()

    run(test)


# ---- faults -------------------------------------------------------------------------------------------------

FAULTS = {
    Fault.STALL: Outcome.timeout,
    Fault.HALF: Outcome.broken,
    Fault.CLOSE_MID_ANSWER: Outcome.broken,
    Fault.GARBAGE: Outcome.broken,
    Fault.WRONG_LENGTH: Outcome.broken,
    Fault.WRONG_UNIT: Outcome.broken,
    Fault.WRONG_FUNCTION: Outcome.broken,
    Fault.BAD_SUM: Outcome.broken,
    Fault.BUSY: Outcome.busy,
    Fault.FAILURE: Outcome.error,
    Fault.GATEWAY: Outcome.offline,
    Fault.ILLEGAL_FUNCTION: Outcome.unsupported,
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_fault_has_its_outcome_and_brings_no_false_reading(
    house: House, transport: Any, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    if transport == "rtu" and fault is Fault.CLOSE_MID_ANSWER:
        fault = Fault.HALF  # a cable cannot be hung up
    monkeypatch.setattr("hp_pipeline.sources.modbus.source.BUSY_PAUSES", (0.01, 0.01, 0.01))

    async def test() -> None:
        async with SimulatedModbus({1: isg(house).unit()}, transport=transport) as server:
            source = reader_of(server, answer_timeout="700ms")
            good = values(await source.poll())
            server.always(fault)
            server.requests.clear()
            with pytest.raises(PollError) as told:
                await source.poll()
            assert told.value.outcome is FAULTS[fault], told.value
            if fault is Fault.ILLEGAL_FUNCTION:
                assert len(server.requests) == 5, "illegal is never asked again"
            server.always(None)
            again = values(await source.poll())
            assert {name: good[name] for name in again} == again
            assert server.injected
            await source.close()

    run(test)


@pytest.mark.parametrize("fault", [Fault.FRAGMENT, Fault.SLOW, Fault.STALE])
@pytest.mark.parametrize("transport", ["tcp", "rtu_over_tcp"])
def test_answers_that_are_only_odd_are_read(house: House, transport: Any, fault: Fault) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house).unit()}, transport=transport) as server:
            source = reader_of(server, answer_timeout="5s")
            good = values(await source.poll())
            server.inject(fault)
            if fault is Fault.STALE and transport == "rtu_over_tcp":
                # Without transaction numbers an old answer is caught when it does not fit the request.
                with pytest.raises(PollError) as told:
                    await source.poll()
                assert told.value.outcome is Outcome.broken
            again = values(await source.poll())
            assert {name: good[name] for name in again} == again
            await source.close()

    run(test)


def test_a_device_that_is_off_and_comes_back(house: House) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house).unit()}) as server:
            source = reader_of(server)
            await source.poll()
            await server.refuse()
            with pytest.raises(PollError) as told:
                await source.poll()
            assert (
                told.value.outcome is Outcome.refused
                and not told.value.retry
                and "Modbus is switched on" in str(told.value)
            )
            await server.accept()
            assert values(await source.poll())
            await source.close()

    run(test)


def test_busy_is_asked_again_and_illegal_is_not(house: House) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house).unit()}) as server:
            source = reader_of(server)
            await source.poll()
            server.requests.clear()
            server.inject(Fault.BUSY, 2)
            started = time.monotonic()
            assert "flow_temperature" in values(await source.poll())
            assert len(server.requests) == 7 and source.report.requests == 7
            assert time.monotonic() - started >= sum(BUSY_PAUSES[:2])
            await source.close()

    run(test)


def test_sentinels_are_no_readings(house: House) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house).unit()}) as server:
            source = reader_of(server)
            await source.poll()
            server.always(Fault.SENTINEL)
            polled = await source.poll()
            assert polled.readings == []
            assert set(source.report.reasons.values()) == {"not available"}
            await source.close()

    run(test)


def test_an_unknown_unit(house: House) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house).unit()}) as server:
            source = reader_of(server, unit=9, answer_timeout="200ms")
            with pytest.raises(PollError) as told:
                await source.poll()
            assert told.value.outcome in (Outcome.error, Outcome.timeout) and "unit number (9)" in str(told.value)
            await source.close()

    run(test)


# ---- several units on one line, life ------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_two_units_share_a_line_and_a_dead_third_one_costs_them_only_its_time_limit(
    house: House, transport: Any
) -> None:
    async def test() -> None:
        units = {1: isg(house).unit(), 2: isg(house, controller=390).unit("padded"), 3: isg(house).unit()}
        async with SimulatedModbus(units, transport=transport) as server:
            lines = Lines()
            sources = [
                reader_of(server, id=f"pump_{n}", unit=n, lines=lines, answer_timeout="700ms") for n in (1, 2, 3)
            ]
            server.always(Fault.STALL, unit=3)
            started = time.monotonic()
            first, second, third = await asyncio.gather(*(s.poll() for s in sources), return_exceptions=True)
            assert time.monotonic() - started < 4
            assert isinstance(third, PollError) and third.outcome is Outcome.timeout
            assert "inverter_power" in values(first) and "inverter_power" not in values(second)
            assert values(second)["flow_temperature"] == values(first)["flow_temperature"]
            assert {request.unit for request in server.requests} == {1, 2, 3}
            await sources[0].close()
            assert values(await sources[1].poll())
            await sources[1].close()
            await sources[2].close()

    run(test)


def test_an_answer_that_comes_late_is_not_taken_for_the_next_one(house: House) -> None:
    """RTU frames have no number: the registers of another request of the same length would look right."""
    words = {"input": {address: address for address in range(100)}}

    async def test() -> None:
        async with SimulatedModbus({1: Unit(lambda: words)}, transport="rtu") as server:
            line = Line(LineAddress("rtu", device=server.device))
            assert await line.read(1, "input", 10, 2, 1) == [10, 11]
            server.inject(Fault.SLOW)
            with pytest.raises(WireError):
                await line.read(1, "input", 20, 2, 0.4)
            assert await line.read(1, "input", 30, 2, 1) == [30, 31]
            await line.close()

    run(test)


def test_a_poll_that_is_cancelled_ends_at_once_and_leaves_nothing_open(house: House) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house).unit()}) as server:
            source = reader_of(server, answer_timeout="30s")
            server.always(Fault.STALL)
            task = asyncio.create_task(source.poll())
            await asyncio.sleep(0.1)
            started = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - started < 5
            await source.close()
            await source.close()
            with pytest.raises(PollError, match="was closed"):
                await source.poll()

    run(test)


def test_what_is_kept_changes_only_when_something_counts(house: House) -> None:
    async def test() -> None:
        clock, kept = Clock(NOON, 0), []
        async with SimulatedModbus({1: isg(house, clock=clock).unit()}) as server:
            source = reader_of(server, keep=lambda key, value: kept.append(key), wall=lambda: clock.now().timestamp())
            for _ in range(5):
                await source.poll()
                clock.move(timedelta(seconds=1))
            assert sorted(kept) == ["device", "meters"]
            await source.close()

    run(test)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"map": "nowhere.yaml"}, "cannot read register map"),
        ({"model": "WPM4"}, "model: found 'WPM4'"),
        ({"skip": ["ruums"]}, "skip: found 'ruums'"),
        ({"instance": 2}, "instance: found 2"),
    ],
)
def test_settings_that_the_map_does_not_bear(house: House, more: dict[str, Any], what: str) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house).unit()}) as server:
            with pytest.raises(PollError, match=what):
                reader_of(server, **{"name": more.pop("map", "stiebel_eltron_wpm"), **more})

    run(test)


def test_groups_and_registers_that_are_skipped_are_not_asked_for(house: House) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house).unit()}) as server:
            source = reader_of(server, skip=["rolling_sums", "operating_mode", "system_parameters"])
            await source.poll()
            assert not any(request.function == 3 for request in server.requests)
            assert not any(request.address >= 3689 and request.address < 4000 for request in server.requests)
            await source.close()

    run(test)


def test_a_house_without_modbus_loads_none_and_one_with_it_no_general_client(house: House) -> None:
    code = (
        "import sys; import hp_pipeline.settings; "
        "assert 'hp_pipeline.sources.modbus' not in sys.modules; "
        "import hp_pipeline.sources.modbus; "
        "heavy = {'pymodbus', 'serial', 'polars', 'duckdb', 'dagster', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_source_is_what_the_collector_expects(house: House) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house).unit()}) as server:
            source = reader_of(server)
            assert isinstance(source, RegisterSource)
            polled = await source.poll()
            points = [reading.point for reading in polled.readings]
            assert points == sorted(set(points))
            assert all((reading.value is None) != (reading.text is None) for reading in polled.readings)
            await source.close()

    run(test)


def test_a_unit_may_refuse_everything_but_keep_its_address(house: House) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: Unit(lambda: {"input": {5001: 449}})}) as server:
            source = reader_of(server)
            with pytest.raises(PollError) as told:
                await source.poll()
                await source.poll()
            assert told.value.outcome is Outcome.unsupported
            await source.close()

    run(test)


def test_a_gap_that_can_be_read_is_read_over_although_another_one_cannot(house: House) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house, missing={508}).unit()}) as server:
            source = reader_of(server)
            await source.poll()
            await source.poll()
            assert source.report.requests == 6, "only the hole at 508 parts what is wanted"
            assert source.knowledge.holes == {"input": {508}}
            await source.close()

    run(test)


@pytest.mark.parametrize("most", [1, 7, 32])
def test_a_device_that_answers_only_short_requests(house: House, most: int) -> None:
    """It refuses long ones with an exception that looks as if an address were wrong."""

    async def test() -> None:
        async with SimulatedModbus({1: isg(house).unit()}) as server:
            server.most_words = most
            source = reader_of(server)
            found = {}
            for _ in range(8):
                found |= values(await source.poll())
            assert "flow_temperature" in found and "heat_heating_day" in found and "comfort_temperature_dhw" in found
            assert ("heat_heating" in found) is (most >= 2)
            server.requests.clear()
            await source.poll()
            assert max(request.count for request in server.requests) <= most
            assert source.report.refused == {}
            await source.close()

    run(test)


def test_a_function_that_a_device_does_not_know_is_asked_once_and_never_again(house: House) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house).unit()}) as server:
            server.unknown.add(3)
            source = reader_of(server)
            assert "flow_temperature" in values(await source.poll())
            assert "illegal function" in source.report.refused["holding 1500+19"]
            assert sum(request.function == 3 for request in server.requests) == 1
            for _ in range(3):
                assert "flow_temperature" in values(await source.poll())
            assert sum(request.function == 3 for request in server.requests) == 1
            await source.close()

    run(test)


def test_a_serial_adapter_that_is_pulled_out(house: House) -> None:
    async def test() -> None:
        async with SimulatedModbus({1: isg(house).unit()}, transport="rtu") as server:
            source = reader_of(server, answer_timeout="700ms")
            await source.poll()
            await server.refuse()
            server.unplug()
            outcomes = []
            for _ in range(2):
                with pytest.raises(PollError) as told:
                    await source.poll()
                outcomes.append(told.value.outcome)
            assert set(outcomes) <= {Outcome.broken, Outcome.refused} and outcomes[-1] is Outcome.refused
            await source.close()

    run(test)

"""Polling a controller over a real socket: what it reads, and that no fault brings a false reading."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise
from typing import TypeVar

import pytest

from hp_pipeline.settings.sources import LuxtronikSource
from hp_pipeline.simulation.devices.luxtronik import FIRMWARE, PASSWORD_DIGITS, LuxtronikFault, LuxtronikServer
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.sources.live import Outcome, Polled, PolledSource, PollError
from hp_pipeline.sources.luxtronik import LuxtronikPoller, open_source
from hp_pipeline.sources.luxtronik.events import event_of
from hp_pipeline_tests.simulation.devices.conftest import START

T = TypeVar("T")
NOON = START + timedelta(hours=36)


def poller(server: LuxtronikServer, timeout: float = 5.0) -> LuxtronikPoller:
    settings = LuxtronikSource.model_construct(
        id="pump", host="127.0.0.1", port=server.port, timeout=timedelta(seconds=timeout)
    )
    return open_source(settings)


def with_server(house: House, work: Callable[[LuxtronikServer], Awaitable[T]], **options: object) -> T:
    async def run() -> T:
        async with LuxtronikServer(house, Clock(NOON, 0.0), **options) as server:  # type: ignore[arg-type]
            return await work(server)

    return asyncio.run(run())


def values_of(polled: Polled) -> dict[str, float | None]:
    return {reading.point: reading.value for reading in polled.readings if not reading.point.startswith("event/")}


def test_all_values_come_raw_with_clock_and_identity(house: House) -> None:
    async def work(server: LuxtronikServer) -> Polled:
        source = poller(server)
        assert isinstance(source, PolledSource)
        polled = await source.poll()
        await source.close()
        assert server.requests == [3003, 3004, 3005]
        return polled

    polled = with_server(house, work)
    values = values_of(polled)
    assert len(values) == 1187 + 275 + 398 - len(PASSWORD_DIGITS)
    state = house.at(NOON)
    assert values["calculation/10"] == round(state.number("flow_temperature") * 10)
    assert values["parameter/854"] == int(state.number("thermal_energy_heating_total") * 100 + 1e-6)
    assert polled.device_time == NOON
    assert polled.identity == f"{FIRMWARE} model 88 1187/275/398"


def test_the_password_of_the_web_server_is_never_told(house: House) -> None:
    polled = with_server(house, lambda server: poller(server).poll())
    assert not {f"parameter/{index}" for index in range(755, 761)} & {reading.point for reading in polled.readings}


FAULTS = [
    (LuxtronikFault.stall, 0, Outcome.timeout),
    (LuxtronikFault.stall, 3005, Outcome.timeout),
    (LuxtronikFault.stall_midway, 3003, Outcome.timeout),
    (LuxtronikFault.short, 3003, Outcome.timeout),  # it waits for what was announced
    (LuxtronikFault.short, 3005, Outcome.timeout),
    (LuxtronikFault.close, 3003, Outcome.broken),
    (LuxtronikFault.close, 3004, Outcome.broken),
    (LuxtronikFault.close, 3005, Outcome.broken),
    (LuxtronikFault.reset, 0, Outcome.broken),
    (LuxtronikFault.busy, 1, Outcome.busy),
    (LuxtronikFault.busy, -1, Outcome.broken),
    (LuxtronikFault.garbage, 3003, Outcome.broken),
    (LuxtronikFault.garbage, 3004, Outcome.broken),
    (LuxtronikFault.garbage, 3005, Outcome.broken),
    (LuxtronikFault.stray_byte, 0, Outcome.broken),
    (LuxtronikFault.too_many, 0, Outcome.broken),
    (LuxtronikFault.none_at_all, 0, Outcome.broken),
    (LuxtronikFault.long, 3003, Outcome.broken),
    (LuxtronikFault.long, 3004, Outcome.broken),
    (LuxtronikFault.long, 3005, Outcome.broken),
]


@pytest.mark.parametrize(("fault", "value", "outcome"), FAULTS)
def test_a_fault_has_its_outcome_and_brings_no_reading(
    house: House, fault: LuxtronikFault, value: float, outcome: Outcome
) -> None:
    async def work(server: LuxtronikServer) -> PollError:
        source = poller(server, timeout=0.4)
        server.faults.inject(fault, value=value)
        with pytest.raises(PollError) as caught:
            await source.poll()
        assert [injected.fault for injected in server.faults.injected] == [fault]
        # The next poll is right again: nothing of the broken one is left behind.
        assert values_of(await source.poll())["calculation/80"] in (0.0, 1.0, 4.0, 5.0)
        return caught.value

    error = with_server(house, work)
    assert error.outcome is outcome
    assert error.retry
    assert "127.0.0.1" in str(error)
    assert error.wait == (timedelta(seconds=5) if outcome is Outcome.busy else None)


def test_answers_may_come_in_pieces_of_any_size(house: House) -> None:
    async def work(server: LuxtronikServer) -> list[dict[str, float | None]]:
        source, found = poller(server), []
        for size in (3, 7, 1458):
            server.faults.inject(LuxtronikFault.fragment, times=3, value=size)
            found.append(values_of(await source.poll()))
        found.append(values_of(await source.poll()))
        return found

    for one, other in pairwise(with_server(house, work)):
        assert one == other


def test_nobody_there_is_refused_with_a_remedy(house: House) -> None:
    async def work(server: LuxtronikServer) -> PollError:
        await server.refuse_connections()
        with pytest.raises(PollError) as caught:
            await poller(server).poll()
        await server.start()
        return caught.value

    error = with_server(house, work)
    assert error.outcome is Outcome.refused
    assert "8889" in error.remedy


def test_an_unknown_name_is_refused() -> None:
    settings = LuxtronikSource(id="pump", host="no-such-host.invalid")
    with pytest.raises(PollError, match="not known in this network") as caught:
        asyncio.run(open_source(settings).poll())
    assert caught.value.outcome is Outcome.refused


def test_polls_never_overlap_and_nothing_is_left_open(house: House) -> None:
    async def work(server: LuxtronikServer) -> None:
        source = poller(server)
        await asyncio.gather(*(source.poll() for _ in range(4)))
        await asyncio.sleep(0.05)
        assert (server.connections, server.most_at_once) == (4, 1)

    with_server(house, work)


def test_a_cancelled_poll_ends_at_once_and_frees_the_next(house: House) -> None:
    async def work(server: LuxtronikServer) -> None:
        source = poller(server, timeout=30.0)
        server.faults.inject(LuxtronikFault.stall, value=3004)
        began = time.monotonic()
        task = asyncio.create_task(source.poll())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 5
        assert values_of(await source.poll())

    with_server(house, work)


def test_only_reads_are_ever_sent(house: House) -> None:
    async def work(server: LuxtronikServer) -> None:
        source = poller(server, timeout=0.3)
        for fault in LuxtronikFault:
            if fault is not LuxtronikFault.refuse:
                server.faults.inject(fault)
            with contextlib.suppress(PollError):
                await source.poll()
        assert set(server.requests) == {3003, 3004, 3005}

    with_server(house, work)


def test_a_clock_that_is_wrong_is_told_and_a_sentinel_is_kept_raw(house: House) -> None:
    async def work(server: LuxtronikServer) -> Polled:
        server.faults.inject(LuxtronikFault.clock_offset, times=None, value=-7200.0)
        server.faults.inject(LuxtronikFault.sentinel)
        return await poller(server).poll()

    polled = with_server(house, work)
    assert polled.device_time == NOON - timedelta(hours=2)
    assert values_of(polled)["calculation/19"] == -500.0


def test_another_firmware_is_another_identity(house: House) -> None:
    async def work(server: LuxtronikServer) -> tuple[Polled, Polled]:
        source = poller(server)
        first = await source.poll()
        server.faults.inject(LuxtronikFault.fewer_values)
        return first, await source.poll()

    first, second = with_server(house, work)
    assert second.identity == f"{FIRMWARE} model 88 1086/200/336" != first.identity
    assert len(values_of(second)) == 1086 + 200 + 336 - len(PASSWORD_DIGITS)


def test_counters_that_are_reset_or_fall_back_are_kept_as_they_are(house: House) -> None:
    async def work(server: LuxtronikServer) -> list[float]:
        source, told = poller(server), []
        for fault, value in ((None, 0.0), (LuxtronikFault.rollback, 3600.0), (LuxtronikFault.counter_reset, 0.0)):
            if fault:
                server.faults.inject(fault, value=value)
            told.append(values_of(await source.poll())["parameter/1136"] or 0.0)
        return told

    right, back, reset = with_server(house, work)
    assert right >= back > reset == 0.0


def test_events_are_told_once_with_their_own_time(house: House) -> None:
    async def work(server: LuxtronikServer) -> tuple[list[Polled], list[Polled]]:
        source = poller(server)
        still = [await source.poll(), await source.poll()]
        moving = [await source.poll()]
        for _ in range(40):
            server.clock.move(timedelta(minutes=30))
            moving.append(await source.poll())
        return still, moving

    async def run() -> tuple[list[Polled], list[Polled]]:
        async with LuxtronikServer(house, Clock(START + timedelta(hours=12), 0.0)) as server:
            return await work(server)

    still, moving = asyncio.run(run())

    def events(polled: Polled) -> list[tuple[object, ...]]:
        found = [event_of(reading.point, reading.time) for reading in polled.readings if reading.time is not None]
        return [(event.kind, event.code, event.time) for event in found if event]

    assert len(events(still[0])) == 10
    assert events(still[1]) == []
    told = [event for polled in moving for event in events(polled)]
    assert len(told) == len(set(told)) > 5
    stops = house.stops(START + timedelta(hours=32), 100)
    after = [stop.time for stop in stops if stop.time > (START + timedelta(hours=12)).timestamp()]
    assert {int(time.timestamp()) for kind, _, time in told if kind == "switch_off"} >= set(after[:5])  # type: ignore[attr-defined]

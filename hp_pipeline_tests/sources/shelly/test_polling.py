"""Polling Shelly meters over real sockets: what they tell, and that no fault brings a false reading."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from hp_pipeline.settings.sources import ShellySource
from hp_pipeline.simulation.devices.shelly import FIRST_MAC, SECOND_MAC, Model, ShellyFault, ShellyServer
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.sources.live import Outcome, Polled, PolledSource, PollError, RemembersHistory
from hp_pipeline.sources.shelly import (
    Device,
    ShellyMeter,
    blocks_of,
    counter_events,
    format_probe,
    open_source,
    parse_json,
    probe,
    readings_of_csv,
    readings_of_records,
    readings_of_status,
)
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline_tests.simulation.devices.conftest import START

T = TypeVar("T")
NOON = START + timedelta(hours=36)


def meter(server: ShellyServer, timeout: float = 5.0, password: str | None = None, **options: Any) -> ShellyMeter:
    source = ShellySource.model_construct(
        id="meter",
        host="127.0.0.1",
        port=server.port,
        timeout=timedelta(seconds=timeout),
        password=None if password is None else SecretStr(password),
    )
    return open_source(source, **options)


def with_server(house: House, work: Callable[[ShellyServer], Awaitable[T]], **options: Any) -> T:
    async def run() -> T:
        async with ShellyServer(house, Clock(NOON, 0.0), **options) as server:
            return await work(server)

    return asyncio.run(run())


def values_of(polled: Polled) -> dict[str, float | str | None]:
    return {reading.point: reading.text if reading.value is None else reading.value for reading in polled.readings}


async def polled_once(server: ShellyServer, **options: Any) -> Polled:
    source = meter(server, **options)
    try:
        return await source.poll()
    finally:
        await source.close()


PROFILES = {
    Model.pro_3em: "shelly_3em",
    Model.gen3_3em: "shelly_3em",
    Model.pro_em: "shelly_em",
    Model.plus_1pm: "shelly_pm",
}


@pytest.mark.parametrize("model", Model)
def test_power_and_counter_are_those_of_the_house(house: House, model: Model) -> None:
    polled = with_server(house, polled_once, model=model)
    values, state = values_of(polled), house.at(NOON)
    told = {}
    for name, mapping in load_profile(PROFILES[model]).mappings.items():
        (point,) = {point for selector in mapping.selectors for point in values if selector.matches(point)}
        told[name] = values[point] * mapping.factor  # type: ignore[operator]
    assert told["electrical_power"] == pytest.approx(state.number("electrical_power"), abs=0.06)
    assert told["electrical_energy_total"] == pytest.approx(state.number("electrical_energy_total"), abs=1e-5)
    assert polled.device_time == NOON
    assert (values["device.mac"], values["device.firmware"]) == (FIRST_MAC, "1.4.4")


def test_a_three_phase_meter_tells_every_phase(house: House) -> None:
    values = values_of(with_server(house, polled_once))
    assert {
        *(f"em:0.{phase}_{key}" for phase in "abc" for key in ("act_power", "voltage", "current", "pf", "freq")),
        *(f"emdata:0.{phase}_total_act{ret}_energy" for phase in "abc" for ret in ("", "_ret")),
        "em:0.total_act_power", "em:0.total_current", "emdata:0.total_act", "emdata:0.total_act_ret", "em:0.errors",
    } <= set(values)  # fmt: skip
    assert values["em:0.errors"] == "none"
    assert "em:0.n_current" not in values  # no clamp, no reading


def test_a_password_is_asked_for_once_and_never_shown(house: House) -> None:
    async def work(server: ShellyServer) -> tuple[int, str]:
        source = meter(server, password="s3cret")
        for _ in range(3):
            await source.poll()
        await source.close()
        return server.unauthorised, repr(vars(source))

    unauthorised, shown = with_server(house, work, password="s3cret")
    assert unauthorised == 1
    assert "s3cret" not in shown


@pytest.mark.parametrize(("password", "remedy"), [(None, "Set `password`"), ("wrong", "environment variable")])
def test_a_wrong_login_is_denied_with_a_remedy(house: House, password: str | None, remedy: str) -> None:
    with pytest.raises(PollError) as caught:
        with_server(house, lambda server: polled_once(server, password=password), password="s3cret")
    assert caught.value.outcome is Outcome.denied
    assert not caught.value.retry
    assert remedy in caught.value.remedy
    assert "wrong" not in str(caught.value).replace("wrongly", "")


FAULTS = [
    (ShellyFault.stall, 0, Outcome.timeout),
    (ShellyFault.close, 0, Outcome.broken),
    (ShellyFault.reset, 0, Outcome.broken),
    (ShellyFault.garbage, 0, Outcome.broken),
    (ShellyFault.html, 0, Outcome.broken),
    (ShellyFault.not_a_number, 0, Outcome.broken),
    (ShellyFault.wrong_length, 0, Outcome.broken),
    (ShellyFault.starting, 0, Outcome.busy),
    (ShellyFault.status, 401, Outcome.denied),
    (ShellyFault.status, 403, Outcome.denied),
    (ShellyFault.status, 404, Outcome.unsupported),
    (ShellyFault.status, 429, Outcome.limited),
    (ShellyFault.status, 500, Outcome.error),
    (ShellyFault.status, 503, Outcome.busy),
    (ShellyFault.status, 302, Outcome.error),
]


@pytest.mark.parametrize(("fault", "value", "outcome"), FAULTS)
def test_a_fault_has_its_outcome_and_brings_no_reading(
    house: House, fault: ShellyFault, value: float, outcome: Outcome
) -> None:
    async def work(server: ShellyServer) -> PollError:
        source = meter(server, timeout=0.5)
        await source.poll()
        server.faults.inject(fault, value=value)
        with pytest.raises(PollError) as caught:
            await source.poll()
        assert [injected.fault for injected in server.faults.injected] == [fault]
        assert "em:0.total_act_power" in values_of(await source.poll())
        await source.close()
        return caught.value

    error = with_server(house, work)
    assert error.outcome is outcome
    assert (error.wait is not None) == (outcome is Outcome.limited)
    assert "127.0.0.1" in str(error)


def test_answers_may_come_in_pieces(house: House) -> None:
    async def work(server: ShellyServer) -> tuple[Polled, Polled]:
        source = meter(server)
        whole = await source.poll()
        server.faults.inject(ShellyFault.fragment, value=11)
        pieces = await source.poll()
        await source.close()
        return whole, pieces

    whole, pieces = with_server(house, work)
    assert values_of(whole) == values_of(pieces)


def test_nobody_there_is_refused(house: House) -> None:
    async def work(server: ShellyServer) -> PollError:
        await server.refuse_connections()
        with pytest.raises(PollError) as caught:
            await polled_once(server)
        return caught.value

    assert with_server(house, work).outcome is Outcome.refused


def test_a_cancelled_poll_ends_at_once_and_frees_the_next(house: House) -> None:
    async def work(server: ShellyServer) -> None:
        source = meter(server, timeout=30.0)
        server.faults.inject(ShellyFault.stall)
        task = asyncio.create_task(source.poll())
        await asyncio.sleep(0.3)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 5
        assert (await source.poll()).readings
        await source.close()

    with_server(house, work)


def test_a_clock_that_is_wrong_or_not_set(house: House) -> None:
    async def work(server: ShellyServer) -> list[Polled]:
        source = meter(server)
        server.faults.inject(ShellyFault.clock_offset, value=-90.0)
        polls = [await source.poll()]
        server.faults.inject(ShellyFault.no_clock)
        polls.append(await source.poll())
        await source.close()
        return polls

    ahead, unset = with_server(house, work)
    assert ahead.device_time == NOON - timedelta(seconds=90)
    assert unset.device_time is None


def test_reset_rollback_swap_and_profile_are_told_apart(house: House) -> None:
    kept: dict[str, Any] = {}

    async def work(server: ShellyServer) -> list[Polled]:
        source = meter(server, keep=kept.__setitem__)
        polls = [await source.poll()]
        for fault, value in ((ShellyFault.rollback, 120.0), (ShellyFault.counter_reset, 0.0), (ShellyFault.swap, 0.0)):
            server.faults.inject(fault, value=value)
            polls.append(await source.poll())
        server.profile = "monophase"
        polls.append(await source.poll())
        polls.append(await source.poll())
        await source.close()
        return polls

    polls = with_server(house, work)
    told = [values_of(polled).get("event/counter") for polled in polls]
    assert told[0] is None
    assert str(told[1]).startswith("rollback: emdata:0.total_act fell")
    assert str(told[2]).startswith("reset: emdata:0.total_act fell")
    # The counter of the other meter is higher: only its MAC shows that it is another one.
    assert told[3] == f"swap: meter {FIRST_MAC} was replaced by {SECOND_MAC}"
    assert told[4] == "profile: triphase was changed to monophase"
    assert told[5] is None
    assert len({polled.identity for polled in polls}) == 3
    assert kept["device"] == {"mac": SECOND_MAC, "profile": "monophase"}


def test_a_swap_is_seen_after_a_restart(house: House) -> None:
    kept = {"device": {"mac": "A8032AFFFFFF", "profile": "triphase"}}
    polled = with_server(house, lambda server: polled_once(server, state=kept))
    assert values_of(polled)["event/counter"] == f"swap: meter A8032AFFFFFF was replaced by {FIRST_MAC}"


def test_counters_of_nobody_have_no_events() -> None:
    assert counter_events(None, Device("A"), {}, {"emdata:0.total_act": 5.0}) == []
    assert counter_events(Device("A"), Device("A"), {"x": 5.0}, {"x": 4.99}) == []


# -- what the meter remembers


async def remembered(server: ShellyServer, hours: float = 3.0, before: float = 0.0) -> list[Polled]:
    source = meter(server)
    assert isinstance(source, PolledSource)
    assert isinstance(source, RemembersHistory)
    try:
        stop = NOON - timedelta(hours=before)
        return [polled async for polled in source.history(stop - timedelta(hours=hours), stop)]
    finally:
        await source.close()


def series_of(polls: list[Polled], point: str) -> dict[Any, float | None]:
    return {reading.time: reading.value for polled in polls for reading in polled.readings if reading.point == point}


@pytest.mark.parametrize("page", [7, 60, 1000])
def test_records_are_paged_and_hold_the_energy(house: House, page: int) -> None:
    polls = with_server(house, remembered, page=page)
    series = series_of(polls, "emdata:0.record.total_act_power")
    assert list(series) == sorted(series)
    assert len(series) == 180
    kwh = sum(value or 0.0 for value in series.values()) / 60 / 1000
    first, last = (house.at(moment).number("electrical_energy_total") for moment in (NOON - timedelta(hours=3), NOON))
    assert kwh == pytest.approx(last - first, rel=1e-3)
    assert len(polls) == -(-180 // page)


def test_a_meter_with_five_minute_records(house: House) -> None:
    series = series_of(with_server(house, remembered, model=Model.gen3_3em), "emdata:0.record.total_act_power")
    assert len(series) == 36
    assert {moment.timestamp() % 300 for moment in series} == {0.0}


def test_a_meter_with_single_phases(house: House) -> None:
    polls = with_server(house, remembered, model=Model.pro_em)
    assert len(series_of(polls, "em1data:0.record.act_power")) == 180
    assert len(series_of(polls, "em1data:1.record.act_power")) == 180


def test_what_the_meter_slept_through_stays_a_gap(house: House) -> None:
    off = (NOON - timedelta(hours=2, seconds=30), NOON - timedelta(hours=1, seconds=30))
    series = series_of(with_server(house, remembered, without_power=[off]), "emdata:0.record.total_act_power")
    assert len(series) == 180 - 61
    assert not [moment for moment in series if off[0] <= moment < off[1]]


def test_long_stretches_are_asked_for_day_by_day(house: House) -> None:
    async def work(server: ShellyServer) -> list[str]:
        server.clock.move(timedelta(hours=30))
        source = meter(server)
        polls = [polled async for polled in source.history(START, START + timedelta(days=10))]
        assert sum(len(polled.readings) for polled in polls) == 66 * 60 * 16
        return [target for target in server.requests if "GetData" in target]

    asked = with_server(house, work, page=100_000)
    assert len(asked) == 3


@pytest.mark.parametrize("fault", [ShellyFault.duplicate, ShellyFault.out_of_order, ShellyFault.unnamed])
def test_odd_pages_bring_the_same_records(house: House, fault: ShellyFault) -> None:
    async def work(server: ShellyServer) -> list[Polled]:
        server.faults.inject(fault, times=None)
        return await remembered(server, hours=1)

    right = with_server(house, lambda server: remembered(server, hours=1))
    odd = with_server(house, work)
    point = "emdata:0.record.b_act_power"
    assert series_of(odd, point) == series_of(right, point)


@pytest.mark.parametrize(
    ("fault", "outcome", "says"),
    [
        (ShellyFault.same_page, Outcome.broken, "do not go on"),
        (ShellyFault.torn_row, Outcome.broken, "another number of values"),
    ],
)
def test_pages_that_cannot_be_right_end_the_reading(
    house: House, fault: ShellyFault, outcome: Outcome, says: str
) -> None:
    async def work(server: ShellyServer) -> int:
        server.faults.inject(fault, times=None)
        with pytest.raises(PollError, match=says) as caught:
            await remembered(server)
        assert caught.value.outcome is outcome
        return len(server.requests)

    assert with_server(house, work) < 10


def test_a_relay_keeps_no_records(house: House) -> None:
    with pytest.raises(PollError, match="keeps no records") as caught:
        with_server(house, remembered, model=Model.plus_1pm)
    assert caught.value.outcome is Outcome.unsupported


def test_the_file_of_records_is_the_same(house: House) -> None:
    async def work(server: ShellyServer) -> tuple[str, list[Polled]]:
        stop = int(NOON.timestamp())
        query = {"ts": str(stop - 3600), "end_ts": str(stop), "add_keys": "true"}
        return server._csv(query), await remembered(server, hours=1)

    text, polls = with_server(house, work)
    readings = readings_of_csv(text, "emdata:0")
    assert readings == [reading for polled in polls for reading in polled.readings]
    with pytest.raises(ValueError, match="line 1"):
        readings_of_csv(text.split("\r\n", 1)[1], "emdata:0")
    with pytest.raises(ValueError, match="line 3"):
        readings_of_csv("\r\n".join([*text.split("\r\n")[:2], "x,1"]), "emdata:0")


@pytest.mark.parametrize("model", Model)
def test_a_meter_is_described_for_its_owner(house: House, model: Model) -> None:
    async def work(server: ShellyServer) -> str:
        settings = ShellySource.model_construct(
            id="meter", host="127.0.0.1", port=server.port, timeout=timedelta(seconds=5), password=SecretStr("s3cret")
        )
        return format_probe(await probe(settings))

    text = with_server(house, work, model=model, password="s3cret")
    assert f"model {model}, MAC {FIRST_MAC}, firmware 1.4.4" in text
    assert f"profile: {PROFILES[model]}" in text
    assert ("has records of every" in text) == (model is not Model.plus_1pm)
    assert "password: ${SHELLY_PASSWORD}" in text
    assert "s3cret" not in text


# -- anything

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)
COMPONENTS = st.sampled_from(["em:0", "emdata:0", "em1:1", "switch:0", "pm1:0", "sys", "wifi"])
FIELDS = st.sampled_from(["total_act_power", "aenergy", "errors", "a_errors", "id", "total_act", "unixtime"])


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_refused(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(parse_json(content), dict)


@given(st.dictionaries(COMPONENTS, JSON | st.dictionaries(FIELDS, JSON, max_size=4), max_size=5))
@settings(deadline=None)
def test_any_status_is_read_or_refused(status: dict[str, Any]) -> None:
    try:
        readings = readings_of_status(status)
    except ValueError:
        return
    for reading in readings:
        assert (reading.value is None) != (reading.text is None)
        assert json.dumps(reading.value, allow_nan=False)
    assert len({reading.point for reading in readings}) == len(readings)


BLOCKS = st.fixed_dictionaries(
    {},
    optional={
        "ts": JSON | st.integers(0, 2**33),
        "period": JSON | st.sampled_from([60, 300]),
        "records": JSON | st.integers(0, 10),
        "values": JSON | st.lists(st.lists(st.floats() | st.none(), max_size=3), max_size=3),
    },
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "keys": JSON | st.just(["a_total_act_energy", "a_avg_voltage"]),
        "data": JSON | st.lists(BLOCKS, max_size=3),
        "data_blocks": JSON | st.lists(BLOCKS, max_size=3),
        "next_record_ts": JSON,
    },
)


@given(ANSWERS)
@settings(max_examples=300, deadline=None)
def test_any_records_are_read_or_refused(answer: dict[str, Any]) -> None:
    for parse in (blocks_of, lambda told: readings_of_records(told, "emdata:0")):
        try:
            found: Any = parse(answer)
        except ValueError:
            continue
        if isinstance(found, tuple):
            assert all(reading.time is not None and reading.value is not None for reading in found[0])


@given(st.text(max_size=60), st.booleans())
def test_any_file_of_records_is_read_or_refused(text: str, headed: bool) -> None:
    try:
        readings_of_csv(("timestamp,a_total_act_energy\n" if headed else "") + text, "emdata:0")
    except ValueError as error:
        assert str(error).startswith("line ")


def test_httpx_is_not_loaded_before_the_first_request() -> None:
    code = (
        "import hp_pipeline.sources.shelly, sys; assert not {'httpx', 'polars', 'dagster', 'duckdb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

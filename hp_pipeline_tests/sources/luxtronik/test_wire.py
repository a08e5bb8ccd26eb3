"""The wire format: recordings of real controllers, their synthetic twins, and any garbage."""

import asyncio
import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.simulation.devices.luxtronik import LuxtronikServer
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.sources.luxtronik.discovery import FoundController, discover, parse_answer
from hp_pipeline.sources.luxtronik.events import clock_of, event_of, events_of
from hp_pipeline.sources.luxtronik.source import readings_of
from hp_pipeline.sources.luxtronik.wire import BusyError, NotUnderstoodError, Picture, parse_recording, request
from hp_pipeline.vocabulary.luxtronik import Group, registers
from hp_pipeline_tests.simulation.devices.conftest import START
from hp_pipeline_tests.sources.luxtronik.test_polling import poller, values_of

COMMANDS = {Group.parameter: 3003, Group.calculation: 3004, Group.visibility: 3005}


def picture_of(frames: dict[int, bytes]) -> Picture:
    return Picture(*(parse_recording(frames[COMMANDS[group]], group) for group in Group))


def twin(clock: int, firmware: str, counts: tuple[int, int, int], calculations: dict[int, int]) -> Picture:
    """A made-up controller that is shaped like the recorded ones."""
    values = [0] * counts[1]
    for place, character in enumerate(firmware.ljust(10, "\0")):
        values[81 + place] = ord(character)
    for index, value in {134: clock, **calculations}.items():
        values[index] = value
    return Picture([0] * counts[0], values, [1] * counts[2])


def test_requests_are_those_of_the_protocol() -> None:
    assert [request(group).hex() for group in Group] == ["00000bbb00000000", "00000bbc00000000", "00000bbd00000000"]


def test_a_recorded_v1_80_controller(v1_80: dict[int, bytes]) -> None:
    picture = picture_of(v1_80)
    assert picture.identity == "V1.80 model 7 1086/200/336"
    assert clock_of(picture) == datetime(2017, 7, 26, 11, 40, 33, tzinfo=UTC)
    table = registers()
    meanings = {
        reading.point: table.decode(reading.point, int(reading.value or 0), picture.firmware)
        for reading in readings_of(picture)
    }
    assert meanings["calculation/78"] == "L1A"
    assert (meanings["calculation/10"], meanings["calculation/11"]) == (34.2, 32.6)
    assert meanings["calculation/19"] is None  # -50.0: no sensor
    assert meanings["calculation/80"] == "no request"
    errors = [event for event in events_of(picture) if event.kind == "error"]
    assert [event.code for event in errors] == [715, 715, 715, 715, 716]
    assert errors[-1].text == "high pressure"
    offs = [event for event in events_of(picture) if event.kind == "switch_off"]
    # The ring's first slot is not the newest: by time it is.
    assert offs[-1].time == datetime.fromtimestamp(1501045864, UTC)
    assert [event.time for event in offs] == sorted(event.time for event in offs)
    assert [event.text for event in offs] == [
        "no request", "no request", "system error", "heat pump error", "heat pump error"
    ]  # fmt: skip


def test_a_recorded_v3_78_controller(v3_78: dict[int, bytes]) -> None:
    picture = picture_of(v3_78)
    assert picture.identity == "V3.78 model 58 1075/232/327"
    table = registers()

    def meaning(point: str) -> object:
        group, index = point.split("/")
        return table.decode(point, picture.values(Group(group))[int(index)], picture.firmware)

    assert meaning("calculation/78") == "MSW 6"
    assert meaning("calculation/151") == 8772.7 == meaning("parameter/854")
    assert meaning("calculation/154") == 9161.3 == meaning("parameter/852")
    assert meaning("parameter/880") == datetime.fromtimestamp(1461904780, UTC)
    assert len(events_of(picture)) == 10


def test_recorded_answers_are_polled_over_a_socket(house: House, v1_80: dict[int, bytes]) -> None:
    async def run() -> dict[str, float | None]:
        async with LuxtronikServer(house, Clock(START, 0.0), recorded=v1_80) as server:
            return values_of(await poller(server).poll())

    assert len(asyncio.run(run())) == 1086 + 200 + 336 - 6


def test_rings_of_made_up_controllers() -> None:
    clock = 1_700_000_000
    ring = {
        100: 716, 95: clock - 100, 101: 335364, 96: clock - 50, 102: 0, 97: 0, 103: 715, 98: clock + 3 * 86_400,
        104: 715, 99: 5, 106: 9, 111: clock - 30, 107: 9, 112: clock - 30, 108: 26, 113: clock - 7,
    }  # fmt: skip
    picture = twin(clock, "V3.92.0", (1187, 275, 398), ring)
    found = [(event.kind, event.code, event.text) for event in events_of(picture)]
    # A code out of step, an empty slot, the future and 1970 are left out; equal slots are one event.
    assert found == [
        ("error", 716, "high pressure"),
        ("switch_off", 9, "no request"),
        ("switch_off", 26, "maximum increase of the return"),
    ]
    event = events_of(picture)[0]
    assert event_of(event.reading.point, event.time) == event
    assert event.reading.value == clock - 100


def test_an_old_controller_has_fewer_rings() -> None:
    assert events_of(Picture([1], [1] * 100, [1])) == []
    assert clock_of(Picture([1], [1] * 135, [1])) is None  # never set: 1970
    assert Picture([1], [1] * 10, [1]).identity == "unknown firmware model ? 1/10/1"


FRAMES = {Group.parameter: (3003,), Group.calculation: (3004, 0), Group.visibility: (3005,)}


@given(group=st.sampled_from(list(Group)), values=st.lists(st.integers(-128, 127), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_what_is_packed_is_parsed(group: Group, values: list[int]) -> None:
    head, code = FRAMES[group], "b" if group is Group.visibility else "i"
    frame = struct.pack(f">{len(head)}ii{len(values)}{code}", *head, len(values), *values)
    assert list(parse_recording(frame, group)) == values
    for damaged in (frame[:-1], frame + b"\0", b"\0" + frame):
        with pytest.raises((NotUnderstoodError, BusyError)):
            parse_recording(damaged, group)


@given(group=st.sampled_from(list(Group)), content=st.binary(max_size=400), headed=st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_understood_or_refused(group: Group, content: bytes, headed: bool) -> None:
    frame = struct.pack(">i", COMMANDS[group]) + content if headed else content
    try:
        values = parse_recording(frame, group)
    except (NotUnderstoodError, BusyError):
        return
    assert len(frame) == 4 * (len(FRAMES[group]) + 1) + len(values) * (1 if group is Group.visibility else 4)


@given(calculations=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=280))
@settings(deadline=None)
def test_any_values_have_an_identity_and_believable_events(calculations: list[int]) -> None:
    picture = Picture([0], calculations, [0])
    assert picture.identity
    for event in events_of(picture):
        assert event.time.year >= 2000
        assert event.text
        assert event_of(event.reading.point, event.time) == event


def test_discovery_finds_a_controller(house: House) -> None:
    async def run() -> tuple[list[FoundController], int]:
        async with LuxtronikServer(house, Clock(START, 0.0)) as server:
            port = await server.answer_discovery()
            found = await discover(wait=timedelta(seconds=0.2), address="127.0.0.1", ports=(port,))
            return found, server.port

    found, port = asyncio.run(run())
    assert found == [FoundController("127.0.0.1", port)]


@given(st.binary(max_size=40))
def test_answers_to_the_call_are_parsed_or_not(data: bytes) -> None:
    for answer in (data, b"2500;111;" + data):
        found = parse_answer(answer, "10.0.0.9")
        assert found is None or found.port is None or 0 < found.port < 65536


def test_old_firmware_tells_no_port() -> None:
    assert parse_answer(b"2500;111;;\0", "10.0.0.9") == FoundController("10.0.0.9", None)
    assert parse_answer(b"2000;111;1;\0", "10.0.0.9") is None

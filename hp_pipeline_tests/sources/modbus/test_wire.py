"""The wire: what the protocol's documents say, checked against pymodbus, and nothing that could write."""

import ast
import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU
from pymodbus.pdu.register_message import ReadInputRegistersResponse

import hp_pipeline.sources.modbus
from hp_pipeline.simulation.devices.modbus import SimulatedModbus, Unit
from hp_pipeline.sources.live import Outcome
from hp_pipeline.sources.modbus.wire import (
    READ_FUNCTIONS,
    DeviceError,
    Line,
    LineAddress,
    Lines,
    WireError,
    answer_of,
    crc16,
    request_of,
)

REGISTERS = {
    "input": {address: address * 7 & 0xFFFF for address in range(100, 300)},
    "holding": {address: address for address in range(10)},
    "coil": {address: address % 3 == 0 for address in range(32)},
    "discrete": {address: address % 5 == 0 for address in range(32)},
}


def unit() -> Unit:
    return Unit(lambda: REGISTERS)


@given(st.binary(max_size=260))
def test_the_check_sum_is_that_of_the_protocol(frame: bytes) -> None:
    assert crc16(frame) == int(FramerRTU.compute_CRC(frame)).to_bytes(2, "big")


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=125), st.integers(0, 60_000))
def test_registers_there_and_back(words: list[int], address: int) -> None:
    answer = bytes([4]) + ReadInputRegistersResponse(registers=words).encode()
    assert answer_of(request_of("input", address, len(words)), answer) == words


@given(st.binary(max_size=260), st.sampled_from(sorted(READ_FUNCTIONS)), st.integers(1, 125))
def test_an_answer_is_the_expected_one_or_none(answer: bytes, table: str, count: int) -> None:
    """Whatever comes: as many words as were asked for, an exception of the device, or a broken answer."""
    try:
        words = answer_of(request_of(table, 0, count), answer)  # type: ignore[arg-type]
    except DeviceError as error:
        assert len(answer) == 2 and answer[1] == error.code
    except WireError as error:
        assert error.outcome is Outcome.broken
    else:
        assert len(words) == count


def test_only_the_four_functions_that_read_can_be_asked_for() -> None:
    assert {request_of(table, 0, 1)[0] for table in READ_FUNCTIONS} == {1, 2, 3, 4}


def test_no_code_of_the_room_speaks_of_writing_or_of_a_general_client() -> None:
    for path in Path(hp_pipeline.sources.modbus.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        imported = {
            module
            for node in ast.walk(tree)
            for module in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not any(module.split(".")[0] == "pymodbus" for module in imported), path
        if path.name == "source.py":
            assert not any("write" in name for name in named)


@pytest.mark.parametrize(
    ("table", "address", "count"),
    [("input", 0, 126), ("input", 0, 0), ("coil", 0, 2001), ("input", 65530, 7), ("holding", -1, 1)],
)
def test_what_the_protocol_cannot_ask_for(table: str, address: int, count: int) -> None:
    with pytest.raises(ValueError, match="cannot ask"):
        request_of(table, address, count)  # type: ignore[arg-type]


@pytest.mark.parametrize("transport", ["tcp", "rtu_over_tcp"])
def test_all_four_tables_over_the_network(transport: str) -> None:
    async def read() -> None:
        async with SimulatedModbus({1: unit(), 7: unit()}, transport=transport) as server:  # type: ignore[arg-type]
            line = Line(LineAddress(transport, "127.0.0.1", server.port))  # type: ignore[arg-type]
            for number in (1, 7):
                assert await line.read(number, "input", 110, 3, 1) == [770, 777, 784]
                assert await line.read(number, "holding", 0, 10, 1) == list(range(10))
                assert await line.read(number, "coil", 1, 9, 1) == [0, 0, 1, 0, 0, 1, 0, 0, 1]
                assert await line.read(number, "discrete", 4, 3, 1) == [0, 1, 0]
            assert [r.function for r in server.requests] == [4, 3, 1, 2] * 2
            assert line.requests == 8
            await line.close()

    asyncio.run(read())


def test_one_request_at_a_time_on_a_line() -> None:
    async def read() -> None:
        async with SimulatedModbus({1: unit(), 2: unit()}) as server:
            line = Line(LineAddress("tcp", "127.0.0.1", server.port))
            reads = [line.read(1 + n % 2, "input", 100 + n, 1, 1) for n in range(20)]
            answers = await asyncio.gather(*reads)
            assert answers == [[(100 + n) * 7] for n in range(20)]
            assert [r.address for r in server.requests] == list(range(100, 120)), "one connection, in order"
            await line.close()

    asyncio.run(read())


def test_a_connection_that_the_device_closed_meanwhile_is_opened_again_without_a_word() -> None:
    async def read() -> None:
        async with SimulatedModbus({1: unit()}) as server:
            line = Line(LineAddress("tcp", "127.0.0.1", server.port))
            assert await line.read(1, "holding", 3, 1, 1) == [3]
            await server.refuse()
            await server.accept()
            await asyncio.sleep(0.05)
            assert await line.read(1, "holding", 4, 1, 1) == [4]
            await line.close()

    asyncio.run(read())


def test_a_request_that_is_given_up_leaves_no_connection() -> None:
    async def read() -> None:
        async with SimulatedModbus({1: unit()}) as server:
            from hp_pipeline.simulation.devices.modbus import Fault

            server.always(Fault.STALL)
            line = Line(LineAddress("tcp", "127.0.0.1", server.port))
            task = asyncio.create_task(line.read(1, "input", 100, 1, 30))
            await asyncio.sleep(0.1)
            assert line.is_open
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not line.is_open

    asyncio.run(read())


def test_lines_are_shared_by_place_and_only_with_the_same_settings() -> None:
    async def share() -> None:
        lines = Lines()
        cable = LineAddress("rtu", device="/dev/ttyUSB0", baud_rate=9600)
        first, second = lines.take(cable), lines.take(cable)
        assert first is second
        with pytest.raises(ValueError, match="/dev/ttyUSB0 is already used"):
            lines.take(LineAddress("rtu", device="/dev/ttyUSB0", baud_rate=19200))
        await lines.give_back(first)
        await lines.give_back(second)
        assert lines.take(LineAddress("rtu", device="/dev/ttyUSB0", baud_rate=19200)) is not first

    asyncio.run(share())

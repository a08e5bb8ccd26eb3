"""The shipped maps: read back register by register through a real server; mistakes in a map with their place."""

import asyncio
import struct
from importlib.resources import files
from typing import Any

import pytest

from hp_pipeline.simulation.devices.modbus import SimulatedModbus, Unit
from hp_pipeline.vocabulary.energies import COUNTERS
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline.vocabulary.registers import (
    Register,
    RegisterMap,
    RegisterMapError,
    load_map,
    parse_map,
    profile_text,
    shipped_maps,
)
from hp_pipeline_tests.sources.modbus.conftest import reader_of

FORMATS = dict(
    zip(("int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"), "hHiIqQfd", strict=True)
)


def sample(register: Register, seed: int) -> tuple[list[int], float | str]:
    """Words that a device could send for a register, and what they mean, worked out apart from the decoder."""
    low = -20.0 if register.minimum is None else register.minimum
    high = 60.0 if register.maximum is None else register.maximum
    if register.type == "text":
        return [int.from_bytes(b"U4", "big")] * register.words, "U4" * register.words
    if register.enum:
        code = sorted(register.enum)[seed % len(register.enum)]
        return [code], register.enum[code]
    if register.pair:
        words = [seed % 1000, seed % 7]
        return words, round(sum(w * f for w, f in zip(words, register.pair, strict=True)) * register.scale, 6)
    if register.type.startswith("u"):
        low = max(low, 0.0)
    value = low + (high - low) * (seed % 97) / 97
    raw = value / register.scale
    if register.type.startswith("float"):
        raw = round(raw, 1)
        packed = struct.pack(f">{FORMATS[register.type]}", raw)
        told: float = struct.unpack(f">{FORMATS[register.type]}", packed)[0]
    else:
        bits = 16 * register.words
        top = (1 << bits - 1) - 2
        raw = min(max(round(raw), -top if register.type.startswith("i") else 0), top)
        packed = struct.pack(f">{FORMATS[register.type]}", raw)
        told = raw * register.scale + register.offset
    words = [int.from_bytes(packed[at : at + 2], "big") for at in range(0, len(packed), 2)]
    return (words if register.word_order == "big" else words[::-1]), told


def device_of(register_map: RegisterMap, registers: list[Register]) -> tuple[Unit, dict[str, float | str]]:
    """A unit that keeps a sample of every register, and what it should be told as."""
    tables: dict[str, dict[int, int]] = {"input": {}, "holding": {}}
    expected: dict[str, float | str] = {}
    for seed, register in enumerate(registers, start=3):
        words, told = sample(register, seed)
        tables[register.table].update(zip(range(register.address, register.end), words, strict=True))
        expected[register.name] = told
    if register_map.controller is not None:
        number = next(iter(register_map.controller.models))
        tables["input"][register_map.controller.address] = number
        expected["controller"] = float(number)
    return Unit(lambda: tables), expected


@pytest.mark.parametrize("name", shipped_maps())
def test_every_register_of_a_map_is_read_back_by_reading_only(name: str) -> None:
    async def test() -> None:
        shipped = load_map(name)
        model = next(iter(shipped.controller.models.values())) if shipped.controller else None
        registers = shipped.registers_of(model)
        unit, expected = device_of(shipped, registers)
        async with SimulatedModbus({1: unit}) as server:
            source = reader_of(server, name)
            for _ in range(2):
                polled = await source.poll()
            source = reader_of(server, name)
            polled = await source.poll()
            told = {r.point: r.text if r.value is None else r.value for r in polled.readings}
            assert source.report.reasons == {} and source.report.refused == {}
            for register in registers:
                right = expected[register.name]
                near = right if isinstance(right, str) else pytest.approx(right, rel=1e-6, abs=1e-9)
                assert told[register.name] == near, register.name
            assert {request.function for request in server.requests} <= {3, 4}, "nothing but reading"
            await source.close()

    asyncio.run(test())


def test_the_second_heat_pump_of_a_lambda_and_its_other_word_order() -> None:
    async def test() -> None:
        words = {"holding": dict.fromkeys([*range(5), *range(1100, 1124)], 0)}
        words["holding"] |= {1104: 3512, 1105: 3001, 1120: 0x86A0, 1121: 0x0001, 1122: 0x0D40, 1123: 0x0003}
        async with SimulatedModbus({1: Unit(lambda: words)}) as server:
            source = reader_of(server, "lambda_eu_l", instance=2, word_order="little")
            told = {reading.point: reading.value for reading in (await source.poll()).readings}
            assert (told["flow_temperature"], told["return_temperature"]) == (35.12, 30.01)
            assert (told["electrical_energy"], told["thermal_energy"]) == (100_000.0, 200_000.0)
            await source.close()

    asyncio.run(test())


@pytest.mark.parametrize("name", shipped_maps())
def test_a_map_names_its_sources_and_says_whether_it_was_verified(name: str) -> None:
    shipped = load_map(name)
    assert shipped.sources and shipped.description
    assert "verified:" in files("hp_pipeline.vocabulary").joinpath("registers", f"{name}.yaml").read_text()
    assert not shipped.verified, "say on which device and when, and change this test"


@pytest.mark.parametrize("name", shipped_maps())
def test_the_profile_of_a_map_is_the_one_that_is_made_from_it(name: str) -> None:
    text = files("hp_pipeline.vocabulary").joinpath("profiles", f"{name}.yaml").read_text(encoding="utf-8")
    assert text == profile_text(load_map(name))
    profile = load_profile(name)
    assert {"flow_temperature", "return_temperature", "outdoor_temperature"} <= profile.mappings.keys()


@pytest.mark.parametrize("name", shipped_maps())
def test_no_two_registers_of_one_model_are_one_signal(name: str) -> None:
    shipped = load_map(name)
    for model in shipped.models or (None,):
        signals = [r.signal for r in shipped.registers_of(model) if r.signal]
        signals += [signal for r in shipped.registers_of(model) for signal in (*r.bit_signals.values(), *r.also)]
        signals += [item.signal for item in (*shipped.meters, *shipped.sums, *shipped.operations) if item.signal]
        assert len(signals) == len(set(signals))


@pytest.mark.parametrize("name", shipped_maps())
def test_no_map_adds_up_some_purposes_and_calls_it_the_whole(name: str) -> None:
    """A sum of heating and hot water had nothing of what it cools, and hid what tells of that."""
    totals = {total for total, purposes in COUNTERS.values() if purposes}
    assert totals.isdisjoint(item.signal for item in load_map(name).sums)


def test_facts_of_the_wpm_map_that_others_have_wrong() -> None:
    wpm = load_map("stiebel_eltron_wpm")
    by_name = {register.name: register for register in wpm.registers}
    assert (by_name["return_temperature"].address, by_name["flow_temperature"].address) == (541, 542)
    assert by_name["heat_heating_total"].pair == (1, 1000) and by_name["heat_heating_total"].words == 2
    assert all(0x8000 in register.invalid for register in wpm.registers if register.type != "text")
    assert by_name["circuit_1_setpoint"].address == 509
    assert by_name["wpm3i_high_pressure"].scale == 0.1 and by_name["high_pressure"].scale == 0.01
    assert wpm.controller is not None and wpm.controller.models == {390: "WPM3", 391: "WPM3i", 449: "WPMsystem"}


MAP = """\
title: A pump
description: For a test
sources: [the test]
verified: false
controller: {address: 9, models: {1: small, 2: large}}
groups:
  - name: all
    table: input
    defaults: {type: int16, scale: 0.1, unit: °C}
    registers:
      - {name: flow, address: 0, signal: flow_temperature}
      - {name: day, address: 2, type: uint16, scale: 1, unit: kWh}
      - {name: total, address: 3, type: uint16, scale: 1, unit: kWh}
meters:
  - {name: heat, total: total, day: day, unit: kWh, signal: thermal_energy_total}
"""


def test_the_map_that_the_mistakes_are_made_in_is_right() -> None:
    register_map = parse_map("pump", MAP)
    assert [register.name for register in register_map.registers] == ["flow", "day", "total"]
    assert register_map.registers[0].cadence == "slow"


@pytest.mark.parametrize(
    ("replace", "by", "says"),
    [
        ("title: A pump\n", "", "title: a text is needed here"),
        ("sources: [the test]", "sources: []", "sources: say where the facts come from"),
        ("title:", "titel:", "unknown key 'titel'.*Did you mean 'title'"),
        ("signal: flow_temperature", "signal: flow_temprature", r"registers\[0\].signal: .*mean 'flow_temperature'"),
        ("unit: °C", "unit: C", "unknown unit 'C'"),
        ("unit: °C", "unit: bar", "'bar' is a unit of pressure"),
        ("type: int16", "type: int17", "'int17' is not possible here.*Did you mean 'int16'"),
        ("address: 0", "address: 65536", "a whole number from 0 to 65535"),
        ("address: 0", "address: true", "a whole number"),
        ("scale: 0.1", "scale: 0", "a scale of 0 leaves nothing"),
        ("{name: flow,", "{name: flow, pair: [1, 1000],", "a pair is made of at least two uint16"),
        ("{name: flow,", "{name: flow, words: 2,", "only a text says how many registers"),
        ("{name: flow,", "{name: flow, invalid: [70000],", "70000 is no raw value of a int16"),
        ("{name: flow,", "{name: flow, valid: [5],", "the least and the most possible value"),
        ("{name: flow,", "{name: flow, models: [smal],", "'smal' is no model of this map.*Did you mean 'small'"),
        ("{name: flow,", "{name: flow, bits: {16: x},", "bits go from 0 to 15"),
        ("{name: flow,", "{name: flow, table: coil,", "a coil is a bit"),
        ("{name: flow,", "{name: flow, states: {a: b},", "'b' is no state of flow_temperature"),
        ("name: day", "name: flow", "two registers are called 'flow'"),
        ("name: heat", "name: flow", "two points are called 'flow'"),
        ("day: day", "day: dai", "'dai' is not possible here"),
        ("verified: false", "verified: maybe", "true or false is needed here"),
        ("groups:", "groups: [", "is not valid YAML"),
        ("models: {1: small, 2: large}", "models: {}", "say which number is which model"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_map_is_told_with_its_place(replace: str, by: str, says: str) -> None:
    assert replace in MAP
    with pytest.raises(RegisterMapError, match=says):
        parse_map("pump", MAP.replace(replace, by, 1))


def test_an_own_map_is_read_by_its_path(tmp_path: Any) -> None:
    (tmp_path / "pump.yaml").write_text(MAP, encoding="utf-8")
    assert load_map("pump.yaml", tmp_path).title == "A pump"
    with pytest.raises(RegisterMapError, match=r"cannot read register map .*missing\.yaml"):
        load_map("missing.yaml", tmp_path)
    (tmp_path / "latin.yaml").write_bytes("title: Wärme".encode("latin-1"))
    with pytest.raises(RegisterMapError, match="is not UTF-8 text"):
        load_map("latin.yaml", tmp_path)
    with pytest.raises(RegisterMapError, match="Did you mean 'lambda_eu_l'"):
        load_map("lambda_eu")

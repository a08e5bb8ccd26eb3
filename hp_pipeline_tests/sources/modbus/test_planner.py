"""Requests cover everything that is wanted, keep the limits, and never touch a hole."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_pipeline.sources.modbus.planner import MOST_DOCUMENTED, Block, Knowledge, plan
from hp_pipeline.vocabulary.registers import MOST_BITS, MOST_WORDS, Register, load_map, shipped_maps

HPMANAGER = [
    "outdoor_temperature",
    "circuit_1_temperature",
    "circuit_1_setpoint",
    "common_return_temperature",
    "buffer_temperature",
    "buffer_setpoint",
    "dhw_temperature",
    "dhw_setpoint",
    "return_temperature",
    "flow_temperature",
    "hot_gas_temperature",
    "low_pressure",
    "mean_pressure",
    "high_pressure",
    "flow_rate",
    "operating_mode",
    "comfort_temperature_circuit_1",
    "eco_temperature_circuit_1",
    "heating_curve_rise_circuit_1",
    "comfort_temperature_dhw",
    "eco_temperature_dhw",
    "operating_status",
    "power_off",
    "fault_status",
    "heat_heating_day",
    "heat_dhw_day",
    "electricity_heating_day",
    "electricity_dhw_day",
    "inverter_power",
]
"""The 29 registers that HPManager reads one by one, under the map's names."""


def one(name: str, address: int, **more: Any) -> Register:
    return Register(**{"name": name, "table": "input", "address": address, "type": "int16", **more})


@st.composite
def wanted(draw: st.DrawFn) -> list[Register]:
    """Registers of all tables, some of several words, some over one another, in groups."""
    found = []
    for index in range(draw(st.integers(1, 40))):
        table = draw(st.sampled_from(["input", "holding", "discrete", "coil"]))
        bit = table in ("discrete", "coil")
        kind, words = ("bit", 1) if bit else draw(st.sampled_from([("int16", 1), ("int32", 2), ("text", 10)]))
        address = draw(st.integers(0, 400))
        group = draw(st.sampled_from(["", "rooms"]))
        found.append(one(str(index), address, table=table, type=kind, words=words, group=group))
    return found


HOLES = st.dictionaries(st.sampled_from(["input", "holding"]), st.sets(st.integers(0, 400), max_size=60))


@given(wanted(), st.integers(1, 125), st.integers(0, 60), HOLES, st.booleans())
def test_a_plan_covers_what_is_wanted_within_the_limits_and_no_hole(
    registers: list[Register], most_words: int, most_gap: int, holes: dict[Any, set[int]], apart: bool
) -> None:
    blocks = plan(registers, most_words=most_words, most_gap=most_gap, holes=holes, apart={"rooms"} if apart else set())
    read = [register.name for block in blocks for register in block.registers]
    on_a_hole = {
        register.name
        for register in registers
        if holes.get(register.table, set()) & set(range(register.address, register.end))
    }
    assert sorted(read) == sorted(register.name for register in registers if register.name not in on_a_hole)
    for block in blocks:
        bits = block.table in ("coil", "discrete")
        assert 1 <= block.count <= (MOST_BITS if bits else MOST_WORDS)
        widest = max(register.words for register in block.registers)
        assert block.count <= max(most_words * (16 if bits else 1), widest)
        assert not holes.get(block.table, set()) & set(range(block.address, block.end))
        assert all(block.address <= r.address and r.end <= block.end for r in block.registers)
        assert {r.table for r in block.registers} == {block.table}
        if apart:
            assert len({r.group for r in block.registers}) == 1
        gaps, run = sorted(block.gaps()), 0
        for before, address in zip([-2, *gaps], gaps, strict=False):
            run = run + 1 if address == before + 1 else 1
            assert run <= most_gap
        assert {r.name for run_block in block.runs() for r in run_block.registers} == {r.name for r in block.registers}
        assert all(not run_block.gaps() for run_block in block.runs())
    assert plan(registers[::-1], most_words=most_words, most_gap=most_gap, holes=holes) == plan(
        registers, most_words=most_words, most_gap=most_gap, holes=holes
    )


def test_gaps_are_bridged_up_to_a_limit() -> None:
    registers = [one("a", 10), one("b", 16)]
    assert [(b.address, b.count) for b in plan(registers, most_gap=5)] == [(10, 7)]
    assert [(b.address, b.count) for b in plan(registers, most_gap=4)] == [(10, 1), (16, 1)]


def test_documented_registers_are_bridged_for_nothing() -> None:
    registers = [one("a", 10), one("b", 20)]
    between = {"input": set(range(11, 20))}
    assert len(plan(registers, most_gap=0, documented=between)) == 1
    assert len(plan(registers, most_gap=0, documented={"input": set(range(11, 19))})) == 2
    assert len(plan([one("a", 0), one("b", 60)], most_gap=0, documented={"input": set(range(60))})) == 2
    assert MOST_DOCUMENTED < 60


def test_values_over_one_another_are_read_together() -> None:
    blocks = plan([one("long", 10, type="int64", words=4), one("inside", 11)], most_gap=0)
    assert [(b.address, b.count) for b in blocks] == [(10, 4)]


@pytest.mark.parametrize("model", ["WPM3", "WPMsystem"])
def test_the_29_registers_of_hpmanager_take_at_most_six_requests(model: str) -> None:
    wpm = load_map("stiebel_eltron_wpm")
    registers = [r for r in wpm.registers_of("WPMsystem") if r.name in HPMANAGER]
    assert len(registers) == 29 == len(HPMANAGER)
    assert all(register.cadence == "fast" for register in registers)
    fast = [r for r in wpm.registers_of(model) if r.cadence == "fast"]
    apart = {group.name for group in wpm.groups if group.optional}
    for asked in (registers, fast):
        assert len(plan(asked, most_words=wpm.most_words, most_gap=wpm.most_gap, apart=apart)) <= 6


@pytest.mark.parametrize("name", shipped_maps())
def test_every_map_can_be_planned_within_its_limits(name: str) -> None:
    shipped = load_map(name)
    for model in shipped.models or (None,):
        for block in plan(shipped.registers_of(model), most_words=shipped.most_words, most_gap=shipped.most_gap):
            assert block.count <= shipped.most_words


@given(HOLES, HOLES)
def test_what_is_known_of_a_device_survives(holes: dict[Any, set[int]], answered: dict[Any, set[int]]) -> None:
    known = Knowledge()
    for table, addresses in answered.items():
        for address in addresses:
            known.answers(Block(table, address, 1, ()))
    for table, addresses in holes.items():
        known.refuses(table, addresses)
    again = Knowledge.from_state(known.state())
    for table in ("input", "holding"):
        assert again.holes.get(table, set()) == known.holes.get(table, set())
        assert again.answered.get(table, set()) == known.answered.get(table, set())
        assert not known.holes.get(table, set()) & known.answered.get(table, set())


@pytest.mark.parametrize("state", [{}, {"holes": 3}, {"holes": {"input": [[5]]}}, {"holes": {"input": [[9, 2]]}}])
def test_a_state_that_cannot_be_understood_is_not_believed(state: dict[str, Any]) -> None:
    assert Knowledge.from_state(state) == Knowledge()

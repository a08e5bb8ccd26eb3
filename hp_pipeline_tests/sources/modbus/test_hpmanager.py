"""HPManager's files become a map that reads the same points, a profile and settings."""

import asyncio
from pathlib import Path

import pytest

from hp_pipeline.settings import load_settings
from hp_pipeline.simulation.devices.modbus import SimulatedModbus, StiebelIsg
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.sources.modbus.hpmanager import import_hpmanager
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline.vocabulary.registers import RegisterMapError, load_map
from hp_pipeline_tests.sources.modbus.conftest import reader_of
from hp_pipeline_tests.sources.modbus.test_source import NOON

REGISTERS = """\
models:
  stiebel_eltron_wpm:
    description: WPM
    registers:
      - {name: outside_temperature, address: 506, register_type: input, scale: 0.1, unit: celsius}
      - {name: actual_temperature_hk1, address: 507, register_type: input, scale: 0.1, unit: celsius}
      - {name: compressor_inlet_temperature, address: 541, register_type: input, scale: 0.1, unit: celsius,
         description: "Return: maybe"}
      - {name: hp_flow_temperature, address: 542, register_type: input, scale: 0.1, unit: celsius}
      - {name: wp_water_flow_rate, address: 547, register_type: input, scale: 0.1, unit: l/min}
      - {name: operating_mode, address: 1500, data_type: uint16, unit: enum, enum_values: {0: emergency, 2: programmed}}
      - {name: heating_curve_rise_hk1, address: 1503, scale: 0.01, unit: dimensionless}
      - {name: operating_status, address: 2500, register_type: input, data_type: uint16, unit: bitmap,
         bitmap_fields: {6: compressor_running, 9: defrosting}}
      - {name: power_consumption_heating, address: 3510, register_type: input, data_type: uint16, scale: 1, unit: kwh}
      - {name: inverter_power, address: 3679, register_type: input, scale: 0.1, unit: kw}
  other:
    registers:
      - {name: energy, address: 40000, data_type: uint32, unit: furlongs}
"""
PUMPS = """\
heatpumps:
  - {id: hp-1, name: Keller, location: cellar, model: stiebel_eltron_wpm,
     modbus: {type: tcp, host: 10.0.0.9, port: 502, unit_id: 1, timeout: 5.0}}
  - {id: hp2, model: other, modbus: {type: rtu, port: /dev/ttyUSB0, baudrate: 19200, parity: E, unit_id: 2}}
  - {id: hp3, model: other, enabled: false}
  - {id: hp4, model: nothing}
"""
COLLECTOR = "collector: {poll_interval: 15}\ninfluxdb: {url: 'http://influx:8086', bucket: heat, token: secret}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "config"
    found.mkdir()
    for name, text in {
        "registers.yml": REGISTERS,
        "heatpumps.yml": PUMPS,
        "collector.yml": COLLECTOR,
        "display.yml": "refresh_interval: 10\n",
    }.items():
        (found / name).write_text(text, encoding="utf-8")
    return found


def test_what_is_imported_reads_the_same_points(folder: Path, tmp_path: Path, house: House) -> None:
    imported = import_hpmanager(folder)
    paths = imported.write(tmp_path / "maps")
    assert sorted(path.name for path in paths) == [
        "other_map.yaml", "other_profile.yaml", "stiebel_eltron_wpm_map.yaml", "stiebel_eltron_wpm_profile.yaml",
    ]  # fmt: skip
    assert imported.write(tmp_path / "maps") == paths
    kept = paths[0].read_text()
    paths[0].write_text("# mine\n")
    with pytest.raises(FileExistsError, match="with another content"):
        imported.write(tmp_path / "maps")
    assert paths[0].read_text() == "# mine\n"
    paths[0].write_text(kept)
    state = house.at(NOON)

    async def test() -> None:
        async with SimulatedModbus({1: StiebelIsg(house, Clock(NOON, 0)).unit()}) as server:
            source = reader_of(server, "maps/stiebel_eltron_wpm_map.yaml", directory=tmp_path)
            told = {r.point: r.text if r.value is None else r.value for r in (await source.poll()).readings}
            assert told["compressor_inlet_temperature"] == pytest.approx(state.number("return_temperature"), abs=0.05)
            assert told["operating_mode"] == "programmed"
            assert told["operating_status.compressor_running"] == state.number("compressor_on")
            assert told["inverter_power"] == pytest.approx(state.number("electrical_power") / 1000, abs=0.06)
            await source.close()

    asyncio.run(test())
    profile = load_profile("maps/stiebel_eltron_wpm_profile.yaml", base=tmp_path)
    points = {name: mapping.selectors[0].point for name, mapping in profile.mappings.items()}
    assert points["return_temperature"] == "compressor_inlet_temperature"
    assert points["defrost"] == "operating_status.defrosting"
    assert points["electrical_power"] == "inverter_power"
    assert load_map("maps/other_map.yaml", tmp_path).registers[0].invalid == (0x80008000,)


def test_what_is_said_about_it(folder: Path) -> None:
    notes = "\n".join(import_hpmanager(folder).notes)
    assert "compressor_inlet_temperature (input 541) is in truth the Return temperature of heat pump 1" in notes
    assert "keeps only the day's energies" in notes and "map: stiebel_eltron_wpm" in notes
    assert "the unit 'furlongs' is not known" in notes
    assert "'hp3' is switched off" in notes and "there is no model 'nothing'" in notes
    assert "bucket 'heat'" in notes and "secret" not in notes
    assert "display.yml" in notes


def test_its_settings_can_be_used(folder: Path, tmp_path: Path) -> None:
    imported = import_hpmanager(folder)
    imported.write(tmp_path / "maps")
    site = "site: {name: Our house, time_zone: Europe/Berlin, start: 2024-01-01}\n"
    (tmp_path / "hp.yaml").write_text(site + imported.settings, encoding="utf-8")
    settings = load_settings(tmp_path / "hp.yaml", {})
    assert [pump.id for pump in settings.heat_pumps] == ["hp_1", "hp2"]
    first, second = settings.sources
    assert (first.host, first.unit, first.every.total_seconds()) == ("10.0.0.9", 1, 15)  # type: ignore[union-attr]
    assert (second.serial_port, second.parity, second.baud_rate) == ("/dev/ttyUSB0", "even", 19200)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("models: {}", "has no `models`"),
        ("models: {a: {registers: []}}", "model 'a' has no registers"),
        ("models: {a: {registers: [{name: x}]}}", r"models.a.registers\[0\]: a register has a `name`"),
        ("models: {a: {registers: [{name: x, address: 1, data_type: int8}]}}", "'int8' is no data type"),
        ("models: {a: {registers: [{name: x, address: 1, register_type: inputs}]}}", "Did you mean 'input'"),
        ("models: [", "is not valid YAML"),
    ],
)
def test_files_that_cannot_be_imported(folder: Path, text: str, says: str) -> None:
    (folder / "registers.yml").write_text(text, encoding="utf-8")
    with pytest.raises(RegisterMapError, match=says):
        import_hpmanager(folder)


def test_a_folder_without_registers(tmp_path: Path) -> None:
    with pytest.raises(RegisterMapError, match="there is no such file"):
        import_hpmanager(tmp_path)

"""What was decided when the street was made, and the settings file that reads it."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from hp_pipeline.simulation.street.houses import ACCOUNT, BEFORE, HOUSES, NEIGHBOUR_BEFORE, PORTS, SHELLY, SOLAR

FOLDER: Final = "street"
"""Folder of the street in the data folder: what only the simulation knows."""
_PLAN: Final = "street.json"
_FIRST_PORT: Final = 18_800
"""From here on free ports are looked for, so that a street has the same ones on every quiet machine."""


@dataclass(frozen=True)
class Plan:
    """What was decided.

    Attributes:
        start: begin of the street's life, UTC.
        began: since when its devices answer; before it there is history, UTC.
        ports: by source where its server listens.
        mqtt: version of MQTT that the broker speaks; None: there is no broker, and the solar heating is left out.
    """

    start: datetime
    began: datetime
    ports: dict[str, int]
    mqtt: str | None

    def save(self, data: Path) -> None:
        """Keep it in a data folder."""
        path = data / FOLDER / _PLAN
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{_PLAN}.partial")
        beside.write_text(json.dumps(asdict(self), default=datetime.isoformat, indent=1), encoding="utf-8")
        beside.replace(path)

    @property
    def houses(self) -> list[str]:
        """Ids of the houses that take part."""
        return [house.id for house in HOUSES if SOLAR not in house.sources or self.mqtt]


def load_plan(data: Path) -> Plan | None:
    """The plan of a data folder; None where there is no street."""
    path = data / FOLDER / _PLAN
    if not path.exists():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    return Plan(
        datetime.fromisoformat(kept["start"]), datetime.fromisoformat(kept["began"]), kept["ports"], kept["mqtt"]
    )


def is_served(data: Path) -> bool:
    """Whether the devices of a street answer."""
    plan = load_plan(data)
    return plan is not None and not _is_free(plan.ports["luxtronik"])


def exported(data: Path) -> Path:
    """The file that says until when the house with files has written them; it is there when all history is."""
    return data / FOLDER / "exported_until"


def new_plan(now: datetime, days: int) -> Plan:
    """A plan for a street that lives since some days.

    Raises:
        ValueError: there is no day.
    """
    if days < 1:
        raise ValueError(f"the street needs a day at least (days={days})")
    began = now.astimezone(UTC).replace(second=0, microsecond=0)
    return Plan(began - timedelta(days=days), began, free_ports({}), broker_version())


def broker_version() -> str | None:
    """The version of MQTT that the broker of this machine speaks; None: there is no broker."""
    from importlib.util import find_spec

    from hp_pipeline.simulation.devices.broker import find_mosquitto

    if find_mosquitto():
        return "5"
    return "3.1.1" if find_spec("amqtt") else None


def free_ports(wanted: dict[str, int]) -> dict[str, int]:
    """A free port for every server: the one that it had, if nobody else took it."""
    found = {name: port for name, port in wanted.items() if name in PORTS and _is_free(port)}
    following = _FIRST_PORT
    for name in PORTS:
        while name not in found:
            if following not in found.values() and _is_free(following):
                found[name] = following
            following += 1
    return {name: found[name] for name in PORTS}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def settings_of(plan: Plan, speed: int = 1) -> str:
    """The settings file (YAML) of the street: an example of each kind of device.

    Args:
        plan: the street.
        speed: how fast it lives: the faster, the more often it is asked.
    """
    port = plan.ports
    slow, cloud = ("30s", "2min") if speed == 1 else ("10s", "75s")
    solar_heat = f"""
  # The solar heating publishes to a broker: every value in a topic of its own, and everything at once as JSON.
  - id: {SOLAR}
    kind: mqtt
    host: 127.0.0.1
    port: {port[SOLAR]}
    version: "{plan.mqtt}"
    topics:
      - topic: homeassistant/+/+/state
      - topic: solar_heating_v3/status
        time: timestamp
        values: ["temperatures.*", system_state.primary_pump, system_state.cartridge_heater]
"""
    solar_system = """
# A layered tank with what heats it: no heat pump, but books of the same kind.
solar_systems:
  - id: solar
    name: Solar heating (MQTT)
    inputs:
      - {source: solar_heating, profile: solar_heating_v3}
      - {source: before, profile: solar_heating_v3}
    tank: {litres: 320, layers: 8, height_m: 1.4, cold_water_c: 10, usable_c: 40, loss_w_per_k: 2.5, ambient_c: 19}
    collector: {area_m2: 8}
    immersion_heater: {rated_power_kw: 3}
    pellet_stove: {rated_power_kw: 7, water_share: 0.7, up_to_c: 88}
"""
    return f"""\
# The demo street: simulated houses with real protocols, all on this machine. Every source below is connected to as
# yours would be: put in your own addresses, and leave out what you do not have. What the devices told before anybody
# asked came as files (the sources `before` and `neighbour_before`); a house of your own does not need those.
site:
  name: Demo street
  time_zone: Europe/Berlin
  currency: EUR
  start: {plan.start:%Y-%m-%d}
  latitude: 49.5
  longitude: 8.5

heat_pumps:
  # A Luxtronik controller in the local network, which counts heat and electricity itself.
  - id: novelan
    name: Novelan Helox (Luxtronik)
    model: Novelan Helox 11
    rated_power_kw: 10
    frame_interval: 30s
    circuits: [{{id: floor, name: Floor heating}}]
    inputs:
      - {{source: luxtronik, profile: luxtronik}}
      - {{source: before, profile: luxtronik}}

  # Two Stiebel Eltron heat pumps behind an ISG each. The first one refuses registers that it does not have, the second
  # one says "not available".
  - id: stiebel
    name: Stiebel Eltron (ISG, Modbus)
    model: Stiebel Eltron HPA-O 7 CS Premium
    rated_power_kw: 7
    frame_interval: 30s
    consumers: [backup_heater]       # counted apart: it belongs to SPF H3 and H4
    circuits: [{{id: floor, name: Floor heating}}]
    inputs:
      - {{source: isg, profile: stiebel_eltron_wpm}}
      - {{source: before, profile: stiebel_eltron_wpm}}
  - id: stiebel_neighbour
    name: Stiebel Eltron next door (ISG, Modbus)
    model: Stiebel Eltron HPA-O 7 CS Premium
    rated_power_kw: 7
    frame_interval: 30s
    consumers: [backup_heater]       # counted apart: it belongs to SPF H3 and H4
    circuits: [{{id: floor, name: Floor heating}}]
    inputs:
      - {{source: isg_neighbour, profile: stiebel_eltron_wpm}}
      - {{source: neighbour_before, profile: stiebel_eltron_wpm}}

  # A Viessmann in the maker's cloud, with a Shelly Pro 3EM as its electricity meter.
  - id: viessmann
    name: Viessmann Vitocal (cloud, Shelly meter)
    model: Viessmann Vitocal 250-A 251.A10
    rated_power_kw: 9
    frame_interval: 30s
    circuits: [{{id: floor, name: Floor heating}}]
    inputs:
      - {{source: shelly, profile: shelly_3em}}
      - {{source: before, profile: shelly_3em}}
      - {{source: vicare, profile: viessmann}}
      - {{source: before, profile: viessmann}}
    rules: {{hold: 10min}}            # the cloud is asked every few minutes only

  # A Daikin whose readings come as files, as an export of Home Assistant would give them.
  - id: daikin
    name: Daikin Altherma (files)
    model: Daikin Altherma EPGA11 / ERLA11
    rated_power_kw: 11
    frame_interval: 30s
    circuits: [{{id: radiators, name: Radiators}}]
    inputs:
      - {{source: home_assistant, profile: espaltherma_home_assistant}}

sources:
  - id: luxtronik
    kind: luxtronik
    host: 127.0.0.1
    port: {port["luxtronik"]}
    every: {slow}

  - id: isg
    kind: modbus
    map: stiebel_eltron_wpm
    host: 127.0.0.1
    port: {port["isg"]}
    every: 10s
  - id: isg_neighbour
    kind: modbus
    map: stiebel_eltron_wpm
    host: 127.0.0.1
    port: {port["isg_neighbour"]}
    every: 10s

  # The maker's cloud: the street has one of its own, with the login, the tokens and the limits of the real one.
  - id: vicare
    kind: viessmann
    client_id: ${{STREET_VIESSMANN_CLIENT_ID}}
    username: {ACCOUNT}
    password: ${{STREET_VIESSMANN_PASSWORD}}
    base_url: http://127.0.0.1:{port["vicare"]}/iot/v2
    login_url: http://127.0.0.1:{port["vicare"]}/idp/v3
    every: {cloud}
  - id: shelly
    kind: shelly
    host: 127.0.0.1
    port: {port[SHELLY]}
    password: ${{STREET_SHELLY_PASSWORD}}
    every: 10s

  - id: home_assistant
    kind: files
    format: parquet
    columns: {{time: time, point: point, value: value, text: text}}
  - id: {BEFORE}
    kind: files
    format: parquet
    columns: {{time: time, point: point, value: value, text: text}}
  - id: {NEIGHBOUR_BEFORE}
    kind: files
    format: parquet
    columns: {{time: time, point: point, value: value, text: text}}
{solar_heat + solar_system if plan.mqtt else ""}
# What each energy includes: the boundary of every COP.
meters:
  - id: novelan_electricity
    heat_pump: novelan
    measures: electrical
    signal: electrical_power
    includes: [compressor, fan, controls, circulation_pump]
  - id: novelan_heat
    heat_pump: novelan
    measures: thermal
    signal: thermal_power
    includes: [compressor, backup_heater]
  - id: stiebel_electricity
    heat_pump: stiebel
    measures: electrical
    signal: electrical_power
    includes: [compressor, fan, controls, circulation_pump]
  - id: stiebel_heat
    heat_pump: stiebel
    measures: thermal
    signal: thermal_power
    includes: [compressor]
  - id: stiebel_neighbour_electricity
    heat_pump: stiebel_neighbour
    measures: electrical
    signal: electrical_power
    includes: [compressor, fan, controls, circulation_pump]
  - id: stiebel_neighbour_heat
    heat_pump: stiebel_neighbour
    measures: thermal
    signal: thermal_power
    includes: [compressor]
  - id: viessmann_electricity
    heat_pump: viessmann
    measures: electrical
    signal: electrical_power
    includes: [compressor, fan, controls, circulation_pump, backup_heater]
    accuracy: B
  - id: viessmann_heat
    heat_pump: viessmann
    measures: thermal
    signal: thermal_power
    includes: [compressor, backup_heater]
  - id: daikin_electricity
    heat_pump: daikin
    measures: electrical
    signal: electrical_power
    includes: [compressor, fan, controls, circulation_pump, backup_heater]
  - id: daikin_heat
    heat_pump: daikin
    measures: thermal
    signal: thermal_power
    includes: [compressor, backup_heater]

tariffs:
  - name: household
    from: {plan.start:%Y-%m-%d}
    price_per_kwh: 0.31
    standing_charge_per_day: 0.40
"""

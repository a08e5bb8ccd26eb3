"""HPManager's four YAML files → register maps, profiles and settings of ours.

`registers.yml` becomes a map for each model, with HPManager's names as points, so that what it has written to InfluxDB
and what is read from now on are the same series; `heatpumps.yml` and `collector.yml` become sources and heat pumps;
`display.yml` has nothing that is needed. Where a model's registers are those of a shipped map, its signals are taken
over by address and its wrong names are said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hp_pipeline.vocabulary.registers import (
    Register,
    RegisterMap,
    RegisterMapError,
    load_map,
    parse_map,
    profile_text,
    shipped_maps,
)

UNITS: Final = {
    "celsius": "°C",
    "bar": "bar",
    "l/min": "l/min",
    "kw": "kW",
    "w": "W",
    "kwh": "kWh",
    "mwh": "MWh",
    "hz": "Hz",
    "percent": "%",
    "kelvin": "K",
    "hours": "h",
}
"""HPManager's units and ours; `enum`, `bitmap` and `dimensionless` are none."""
TYPES: Final = ("int16", "uint16", "int32", "uint32", "float32", "float64")
_ALIKE: Final = 0.8
"""Share of registers that a shipped map must have alike before its signals are taken over."""


@dataclass
class Imported:
    """What became of HPManager's files.

    Attributes:
        maps, profiles: YAML texts by file name.
        settings: lines for hp.yaml.
        notes: what could not be taken over, and what was found to be wrong.
    """

    maps: dict[str, str] = field(default_factory=dict)
    profiles: dict[str, str] = field(default_factory=dict)
    settings: str = ""
    notes: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> list[Path]:
        """Write maps and profiles into a folder and return their paths. What is there already is left as it is.

        Raises:
            FileExistsError: a file is there with another content; nothing was written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        texts = {folder / name: text for name, text in {**self.maps, **self.profiles}.items()}
        there = [path for path in texts if path.exists()]
        changed = [path for path in there if path.read_bytes() != texts[path].encode()]
        if changed:
            raise FileExistsError(
                f"{', '.join(map(str, changed))}: there already, with another content. Move it away, or choose another "
                "folder"
            )
        for path, text in texts.items():
            if path not in there:
                with path.open("x", encoding="utf-8") as file:
                    file.write(text)
        return list(texts)


def import_hpmanager(folder: Path, place: str = "maps") -> Imported:
    """Read `registers.yml`, `heatpumps.yml`, `collector.yml` and `display.yml`.

    Args:
        folder: HPManager's folder `config`. Only `registers.yml` has to be there.
        place: folder (relative to hp.yaml) that maps and profiles will lie in.

    Raises:
        RegisterMapError: a file cannot be read, or a register in it cannot be.
    """
    result = Imported()
    models = _mapping(_load(folder / "registers.yml", needed=True).get("models"))
    if not models:
        raise RegisterMapError(f"{folder / 'registers.yml'} has no `models`")
    for model, content in models.items():
        name = _identifier(str(model))
        text = _map_text(str(model), _mapping(content), result.notes, str(folder / "registers.yml"))
        result.maps[f"{name}_map.yaml"] = text
        result.profiles[f"{name}_profile.yaml"] = profile_text(parse_map(f"{name}_map", text))
    collector = _load(folder / "collector.yml")
    pumps = _load(folder / "heatpumps.yml").get("heatpumps")
    if isinstance(pumps, list):
        result.settings = "\n".join(_settings(pumps, collector, models, place, result.notes))
    if (folder / "display.yml").exists():
        result.notes.append("display.yml is about HPManager's page only: nothing of it is needed")
    return result


def _load(path: Path, needed: bool = False) -> Mapping[str, Any]:
    try:
        raw = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if needed:
            raise RegisterMapError(f"cannot read {path}: there is no such file") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise RegisterMapError(f"cannot read {path}: {error}") from error
    except YAMLError as error:
        raise RegisterMapError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from error
    return _mapping(raw)


def _mapping(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _identifier(name: str) -> str:
    found = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return found if found[:1].isalpha() else f"hp_{found}"


# ---- registers.yml ---------------------------------------------------------------------------------------------


def _map_text(model: str, content: Mapping[str, Any], notes: list[str], where: str) -> str:
    listed = content.get("registers")
    registers = [
        _register(_mapping(raw), f"{where}: models.{model}.registers[{index}]", notes)
        for index, raw in enumerate(listed if isinstance(listed, list) else [])
    ]
    if not registers:
        raise RegisterMapError(f"{where}: model {model!r} has no registers")
    shipped = _like_shipped(registers)
    if shipped is not None:
        _take_over(shipped, registers, model, notes)
    title = f"{content.get('description') or model} (from HPManager)"
    lines = [
        f"# Register map of HPManager's model {model}. Points have HPManager's names.",
        f"title: {json.dumps(title, ensure_ascii=False)}",
        f"description: {json.dumps(f'Imported from registers.yml, model {model}', ensure_ascii=False)}",
        "sources: [HPManager registers.yml]",
        "verified: false",
        "groups:",
        "  - name: registers",
        "    registers:",
        *(f"      - {_flow(register)}" for register in registers),
        "",
    ]
    return "\n".join(lines)


def _flow(value: object) -> str:
    """YAML on one line; as JSON, but that whole numbers are keys too."""
    if isinstance(value, Mapping):
        keys = (str(key) if isinstance(key, int) else json.dumps(key, ensure_ascii=False) for key in value)
        inside = ", ".join(f"{key}: {_flow(item)}" for key, item in zip(keys, value.values(), strict=True))
        return f"{{{inside}}}"
    return json.dumps(value, ensure_ascii=False)


def _register(raw: Mapping[str, Any], where: str, notes: list[str]) -> dict[str, Any]:
    """One register, in the words of our maps."""
    name, address = raw.get("name"), raw.get("address")
    if not isinstance(name, str) or isinstance(address, bool) or not isinstance(address, int):
        raise RegisterMapError("a register has a `name` (text) and an `address` (whole number)", where)
    table = raw.get("register_type", "holding")
    if table not in ("holding", "input"):
        raise RegisterMapError(
            f"{table!r} is no register type", f"{where}.register_type", ("holding", "input"), str(table)
        )
    kind = raw.get("data_type", "int16")
    if kind not in TYPES:
        raise RegisterMapError(f"{kind!r} is no data type", f"{where}.data_type", TYPES, str(kind))
    found: dict[str, Any] = {"name": name, "table": table, "address": address, "type": kind, "cadence": "fast"}
    if kind in ("int16", "uint16"):
        found["invalid"] = [0x8000]
    elif kind in ("int32", "uint32"):
        found["invalid"] = [0x80008000]
    unit = str(raw.get("unit", "dimensionless")).lower()
    if unit == "enum":
        found["enum"] = {int(code): str(word) for code, word in _mapping(raw.get("enum_values")).items()}
    elif unit == "bitmap":
        found["bits"] = {int(bit): str(bit_name) for bit, bit_name in _mapping(raw.get("bitmap_fields")).items()}
    else:
        found["scale"] = raw.get("scale", 1.0)
        if unit in UNITS:
            found["unit"] = UNITS[unit]
        elif unit != "dimensionless":
            notes.append(f"{name}: the unit {raw.get('unit')!r} is not known and was left out")
    if isinstance(raw.get("description"), str) and raw["description"].strip():
        found["description"] = raw["description"]
    return found


def _like_shipped(registers: list[dict[str, Any]]) -> RegisterMap | None:
    """The shipped map that has most of these registers, at the same addresses with the same scale."""
    best, most = None, 0.0
    for name in shipped_maps():
        shipped = load_map(name)
        share = sum(_twin(shipped, one) is not None for one in registers) / len(registers)
        if share > most:
            best, most = shipped, share
    return best if most >= _ALIKE else None


def _twin(shipped: RegisterMap, one: Mapping[str, Any]) -> Register | None:
    for register in shipped.registers:
        at_same_place = (register.table, register.address) == (one["table"], one["address"])
        scaled_alike = register.scale == one.get("scale", 1.0) or register.enum or register.bits
        if at_same_place and scaled_alike and register.words == 1:
            return register
    return None


def _take_over(shipped: RegisterMap, registers: list[dict[str, Any]], model: str, notes: list[str]) -> None:
    taken: set[str] = set()
    for one in registers:
        twin = _twin(shipped, one)
        if twin is None:
            continue
        if twin.signal is not None and twin.signal not in taken and not twin.states:
            one["signal"] = twin.signal
            one.setdefault("unit", twin.unit)
            taken.add(twin.signal)
        for bit, bit_name in one.get("bits", {}).items():
            signal = twin.bit_signals.get(twin.bits.get(bit, ""))
            if signal is not None and signal not in taken:
                one.setdefault("bit_signals", {})[bit_name] = signal
                taken.add(signal)
        if twin.signal == "return_temperature" and "inlet" in one["name"]:
            notes.append(f"{model}: {one['name']} ({one['table']} {one['address']}) is in truth the {twin.description}")
    notes.append(
        f"{model}: HPManager keeps only the day's energies, which begin again at midnight. The shipped map "
        f"{shipped.name} has the totals and the backup heater too: use it (`map: {shipped.name}`) unless the "
        "old names are needed."
    )


# ---- heatpumps.yml and collector.yml ---------------------------------------------------------------------------


def _settings(
    pumps: list[Any], collector: Mapping[str, Any], models: Mapping[str, Any], place: str, notes: list[str]
) -> Iterator[str]:
    interval = _mapping(collector.get("collector")).get("poll_interval", 10)
    every = f"{interval}s" if isinstance(interval, int | float) and interval >= 2 else "10s"
    sources, heat_pumps = [], []
    for raw in pumps:
        pump = _mapping(raw)
        if pump.get("enabled", True) is not True:
            notes.append(f"heat pump {pump.get('id')!r} is switched off in heatpumps.yml and was left out")
            continue
        if pump.get("model") not in models:
            notes.append(f"heat pump {pump.get('id')!r}: there is no model {pump.get('model')!r} in registers.yml")
            continue
        name, model = _identifier(str(pump.get("id"))), _identifier(str(pump["model"]))
        sources += [
            f"  - id: {name}_modbus",
            "    kind: modbus",
            f"    map: {place}/{model}_map.yaml",
            *_connection(_mapping(pump.get("modbus"))),
            f"    every: {every}",
        ]
        heat_pumps += [
            f"  - id: {name}",
            f"    name: {json.dumps(str(pump.get('name') or name), ensure_ascii=False)}",
            f"    inputs: [{{source: {name}_modbus, profile: {place}/{model}_profile.yaml}}]",
        ]
    influx = _mapping(collector.get("influxdb"))
    if influx:
        notes.append(
            f"what HPManager wrote to InfluxDB (bucket {influx.get('bucket')!r}, measurement heatpump_metrics) can be "
            "read with a source of kind influxdb; its times are those of the server, in batches of seconds"
        )
    if sources:
        yield from ("heat_pumps:", *heat_pumps, "sources:", *sources, "")


def _connection(modbus: Mapping[str, Any]) -> Iterator[str]:
    seconds = modbus.get("timeout", 5.0)
    if modbus.get("type", "tcp") == "rtu":
        parity = {"N": "none", "E": "even", "O": "odd"}.get(str(modbus.get("parity", "N")).upper(), "none")
        yield "    connection: rtu"
        yield f"    serial_port: {modbus.get('port')}"
        yield f"    baud_rate: {modbus.get('baudrate', 9600)}"
        yield f"    parity: {parity}"
        yield f"    stop_bits: {modbus.get('stopbits', 1)}"
        yield f"    data_bits: {modbus.get('bytesize', 8)}"
    else:
        yield f"    host: {modbus.get('host')}"
        yield f"    port: {modbus.get('port', 502)}"
    yield f"    unit: {modbus.get('unit_id', 1)}"
    if isinstance(seconds, int | float) and 0.1 <= seconds <= 60:
        yield f"    answer_timeout: {round(seconds * 1000)}ms"

"""Synthetic documents with the shape and the traits of four real devices; every number in them is made by hand."""

from __future__ import annotations

from typing import Any, Final

_ADDRESS: Final = (
    "https://api.viessmann-climatesolutions.com/iot/v2/features/installations/1/gateways/70/devices/0/features"
)


def _feature(name: str, time: str, used: bool = True, /, **properties: Any) -> dict[str, Any]:
    return {
        "apiVersion": 1,
        "commands": {},
        "deviceId": "0",
        "feature": name,
        "gatewayId": "################",
        "isEnabled": used,
        "isReady": True,
        "properties": properties,
        "timestamp": time,
        "uri": f"{_ADDRESS}/{name}",
    }


def _number(value: float, unit: str = "") -> dict[str, Any]:
    return {"type": "number", "unit": unit, "value": value}


def _word(value: str) -> dict[str, Any]:
    return {"type": "string", "value": value}


def _flag(value: bool) -> dict[str, Any]:
    return {"type": "boolean", "value": value}


def _list(*values: object, unit: str | None = None) -> dict[str, Any]:
    return {"type": "array", "value": list(values)} | ({} if unit is None else {"unit": unit})


def _celsius(name: str, value: float, time: str) -> dict[str, Any]:
    return _feature(name, time, status=_word("connected"), value=_number(value, "celsius"))


def _away(name: str, time: str) -> dict[str, Any]:
    return _feature(name, time, status=_word("notConnected"))


def _schedule(name: str, time: str, mode: str) -> dict[str, Any]:
    days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    week = {day: [{"start": "05:30", "end": "21:30", "mode": mode, "position": 0}] for day in days}
    return _feature(name, time, active=_flag(True), entries={"type": "Schedule", "value": week})


def _circuit(circuit: str, time: str, programs: dict[str, float], supply: float) -> list[dict[str, Any]]:
    at = f"heating.circuits.{circuit}"
    normal = next(name for name in programs if name.startswith("normal"))
    return [
        _feature(at, time, active=_flag(True), name=_word(""), type=_word("heatingCircuit")),
        _feature(f"{at}.circulation.pump", time, status=_word("on")),
        _feature(f"{at}.heating.curve", time, shift=_number(1), slope=_number(0.4)),
        _feature(f"{at}.operating.programs.active", time, value=_word(normal)),
        _celsius(f"{at}.sensors.temperature.supply", supply, time),
        _feature(f"{at}.temperature", time, value=_number(31.0, "celsius")),
        _schedule(f"{at}.heating.schedule", time, "normal"),
        *(
            _feature(
                f"{at}.operating.programs.{name}",
                time,
                active=_flag(name == normal),
                temperature=_number(value, "celsius"),
            )
            for name, value in programs.items()
        ),
        _away(f"{at}.sensors.temperature.room", time),
    ]


def _unused(circuit: str, time: str) -> list[dict[str, Any]]:
    names = ("", ".circulation.pump", ".heating.curve", ".sensors.temperature.supply", ".temperature")
    return [_feature(f"heating.circuits.{circuit}{name}", time, False) for name in names]


def _energies(
    name: str, time: str, day: list[float], week: list[float], month: list[float], year: list[float]
) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for period, values in (("day", day), ("week", week), ("month", month), ("year", year)):
        properties[period] = _list(*values, unit="kilowattHour")
        properties[f"{period}ValueReadAt"] = _word(time)
    return _feature(name, time, **properties)


_CLASSIC: Final = {"comfort": 22.0, "eco": 20.0, "normal": 20.0, "reduced": 18.0}
_NEWER: Final = {"comfortHeating": 22.0, "normalHeating": 20.0, "reducedHeating": 18.0}


def _ground_source_with_circuit_1() -> dict[str, Any]:
    time = "2026-01-22T00:00:00.000Z"
    at = "heating.compressors.0"
    return {
        "device": {"id": "0", "modelId": "CU401B_G", "status": "Online", "type": "heating"}
        | {"roles": ["type:heatpump", "type:legacy", "type:product;CU401B"]},
        "data": [
            _feature("heating.circuits", time, enabled=_list("1"), internal=_list()),
            *_circuit("1", time, _CLASSIC, 36.1),
            *_unused("0", time),
            *_unused("2", time),
            _feature("heating.compressors", time, enabled=_list("0")),
            _feature(at, time, active=_flag(True), phase=_word("heating")),
            _feature(f"{at}.power", time, value=_number(12, "kilowatt")),
            _feature(f"{at}.sensors.power", time, status=_word("connected"), value=_number(100, "percent")),
            _feature(f"{at}.statistics", time, hours=_number(942.4, "hour"), starts=_number(363)),
            _feature(
                "heating.heatingRod.runtime", time, levelOne=_number(886_682, "seconds"), levelTwo=_number(0, "seconds")
            ),
            _feature("heating.cop.total", time, value=_number(4.7)),
            _feature("heating.dhw.charging", time, active=_flag(False)),
            _feature("heating.dhw.pumps.circulation", time, status=_word("off")),
            _feature("heating.dhw.temperature.main", time, value=_number(50, "celsius")),
            _celsius("heating.dhw.sensors.temperature.dhwCylinder", 52.0, time),
            _celsius("heating.dhw.sensors.temperature.hotWaterStorage", 52.0, time),
            _celsius("heating.bufferCylinder.sensors.temperature.main", 36.0, time),
            _celsius("heating.buffer.sensors.temperature.main", 36.0, time),
            _away("heating.boiler.sensors.temperature.commonSupply", time),
            _away("heating.condensors.0.sensors.temperature.subcooling", time),
            _celsius("heating.primaryCircuit.sensors.temperature.supply", 8.7, time),
            _celsius("heating.primaryCircuit.sensors.temperature.return", 4.9, time),
            _celsius("heating.secondaryCircuit.sensors.temperature.supply", 44, time),
            _celsius("heating.sensors.temperature.outside", 4.1, time),
            _celsius("heating.sensors.temperature.return", 35.8, time),
            _celsius("heating.sensors.temperature.hotGas", 78.0, time),
            _feature("device.messages.logbook", time, entries=_list({"event": "PRIMARY_IN", "timestamp": time})),
        ],
    }


def _older_ground_source() -> dict[str, Any]:
    time, later = "2023-12-21T16:11:38.847Z", "2023-12-21T19:28:31.721Z"
    return {
        "data": [
            _feature("device.messages.errors.raw", time, entries=_list()),
            _feature("heating.burners", time, enabled=_list()),
            _feature("heating.circuits", time, enabled=_list("0")),
            *_circuit("0", time, _CLASSIC, 52.0),
            _feature("heating.compressors", time, enabled=_list("0")),
            _feature("heating.compressors.0", time, active=_flag(True), phase=_word("heating")),
            _feature("heating.compressors.0.statistics", later, hours=_number(11692.3, "hour"), starts=_number(29545)),
            _feature("heating.dhw.charging", later, active=_flag(True)),
            _feature("heating.dhw.temperature.main", time, value=_number(50, "celsius")),
            _away("heating.buffer.sensors.temperature.main", time),
            _away("heating.bufferCylinder.sensors.temperature.main", time),
            _celsius("heating.primaryCircuit.sensors.temperature.supply", 5.1, later),
            _celsius("heating.primaryCircuit.sensors.temperature.return", 5.2, later),
            _celsius("heating.secondaryCircuit.sensors.temperature.supply", 53.3, later),
            _celsius("heating.sensors.temperature.outside", 4.4, later),
            _celsius("heating.sensors.temperature.return", 49.6, later),
        ],
    }


def _newer_air_source() -> dict[str, Any]:
    time, later = "2025-11-19T11:19:09.880Z", "2025-11-19T11:22:50.666Z"
    days, months = [13, 20.7, 11.8, 6.7, 4.5, 4.7, 7, 9.6], [176.1, 168.3, 74.8, 53.9, 5.5, *[0] * 8]
    at = "heating.compressors.0"
    return {
        "data": [
            _feature("heating.circuits", time, enabled=_list("0")),
            *_circuit("0", time, _NEWER, 43.5),
            *_unused("1", time),
            _feature("heating.compressors", time, enabled=_list("0")),
            _feature(at, time, active=_flag(True), phase=_word("ready")),
            _feature(f"{at}.speed.current", later, value=_number(38.5, "revolutionsPerSecond")),
            _feature(f"{at}.statistics", time, hours=_number(582, "hour"), starts=_number(836)),
            _feature(
                "heating.inverters.0.sensors.power.output",
                later,
                status=_word("connected"),
                value=_number(1508, "watt"),
            ),
            _feature("heating.outdoor.defrosting", time, active=_flag(False)),
            _feature(
                "heating.secondaryCircuit.operation.state",
                time,
                currentValue=_word("heating"),
                targetValue=_word("heating"),
            ),
            _feature("heating.valves.fourThreeWay.position", time, value=_word("domesticHotWater")),
            _feature("heating.heatingRod", time, active=_flag(True)),
            _feature(
                "heating.sensors.volumetricFlow.allengra",
                time,
                status=_word("connected"),
                value=_number(970, "liter/hour"),
            ),
            _feature("heating.spf.total", time, value=_number(6)),
            _feature("heating.dhw.temperature.main", time, value=_number(45, "celsius")),
            _celsius("heating.dhw.sensors.temperature.dhwCylinder", 35.6, later),
            _celsius("heating.dhw.sensors.temperature.hotWaterStorage", 35.6, later),
            _celsius("heating.primaryCircuit.sensors.temperature.supply", 3, time),
            _celsius("heating.secondaryCircuit.sensors.temperature.supply", 43.2, later),
            _celsius("heating.sensors.temperature.outside", 3.3, time),
            _celsius("heating.sensors.temperature.return", 39.3, later),
            _schedule("heating.dhw.schedule", time, "on"),
            _energies(
                "heating.power.consumption.total",
                time,
                days,
                [45.5, 50.1, 70.6, 43.4, 43.4, 37.3, 22.7],
                months,
                [478.6, 0],
            ),
            _feature(
                "heating.heat.production.summary.heating",
                time,
                currentDay=_number(44.8, "kilowattHour"),
                currentYear=_number(1708.9, "kilowattHour"),
            ),
        ],
    }


def _newer_split_with_storage_tank() -> dict[str, Any]:
    time, later = "2023-03-16T15:29:33.442Z", "2023-03-16T15:43:55.466Z"
    days, months = [8.5, 13.3, 10.1, 4.5, 11.1, 16, 10.6, 9.4], [190.4, 413.1, 414, 37.1, *[0] * 9]
    return {
        "data": [
            _feature("heating.circuits", time, enabled=_list("0")),
            *_circuit("0", time, _NEWER, 21.9),
            *_unused("3", time),
            _feature("heating.buffer.sensors.temperature.main", time, False),
            _feature("heating.compressors", time, enabled=_list("0")),
            _feature("heating.compressors.0", time, active=_flag(False), phase=_word("ready")),
            _feature("heating.compressors.0.statistics", time, hours=_number(356, "hour"), starts=_number(659)),
            _feature(
                "heating.sensors.volumetricFlow.allengra", time, status=_word("connected"), value=_number(1215, "liter")
            ),
            _feature("heating.dhw.temperature.main", time, value=_number(50, "celsius")),
            _celsius("heating.dhw.sensors.temperature.hotWaterStorage", 50.2, later),
            _celsius("heating.secondaryCircuit.sensors.temperature.supply", 22, later),
            _celsius("heating.sensors.temperature.outside", 12.2, time),
            _celsius("heating.sensors.temperature.return", 22, later),
            _energies(
                "heating.power.consumption.total",
                time,
                days,
                [36.4, 86.2, 103.2, 85.8, 83.7, 143.8],
                months,
                [1017.5, 37.1],
            ),
        ],
    }


TWINS: Final[dict[str, dict[str, Any]]] = {
    "Vitocal300G_CU401B": _ground_source_with_circuit_1(),
    "Vitocal333G": _older_ground_source(),
    "Vitocal252A": _newer_air_source(),
    "Vitocal200S_E8NEV": _newer_split_with_storage_tank(),
}
"""By the name of the recording whose twin it is."""

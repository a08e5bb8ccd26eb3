"""What a device can tell: PyViCare's device classes run over a stored document, without any request.

Which circuits, compressors and programs there are is taken from the document; the typed getters of PyViCare say what it
calls them. A getter that has no answer is not a capability.
"""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

COMPONENTS = ("circuits", "compressors", "condensors", "evaporators", "inverters", "burners")


@dataclass(frozen=True)
class Capabilities:
    """What one device can tell.

    Attributes:
        kind: PyViCare's class for it, such as `HeatPump`.
        model: the maker's designation; empty when it is not known.
        circuits: ids of the heating circuits that are enabled, such as `("1",)`.
        compressors: ids of the compressors that are enabled.
        programs: by circuit, the programs that have a temperature: `comfort`, `normal`, `reduced`, or on newer
            devices `comfortHeating`, `normalHeating`, `reducedHeating` and those for cooling.
        not_connected: features whose sensor is not there.
        values: by PyViCare's getter (`getOutsideTemperature`, `circuits.1.getSupplyTemperature`) what it gives.
    """

    kind: str
    model: str
    circuits: tuple[str, ...]
    compressors: tuple[str, ...]
    programs: Mapping[str, tuple[str, ...]]
    not_connected: tuple[str, ...]
    values: Mapping[str, Any]


def capabilities(entities: Iterable[Mapping[str, Any]], device: Mapping[str, Any] | None = None) -> Capabilities:
    """What the device of these features can tell.

    Args:
        entities: the list `data` of a document, only this device's.
        device: what the cloud says of it: `modelId`, `roles`, `type` or `deviceType`, `status`; None: not known.
    """
    from PyViCare.PyViCareDeviceConfig import PyViCareDeviceConfig
    from PyViCare.PyViCareService import ViCareDeviceAccessor, ViCareService, readFeature

    features = [dict(entity) for entity in entities if isinstance(entity.get("feature"), str)]
    by_name = {feature["feature"]: feature for feature in features}

    class Snapshot(ViCareService):  # type: ignore[misc]
        """Answers from the stored document; has no way to the network."""

        def getProperty(self, accessor: Any, property_name: str) -> Any:  # noqa: N802 - PyViCare's name
            return readFeature([by_name[property_name]] if property_name in by_name else [], property_name)

        def fetch_all_features(self, accessor: Any) -> Any:
            return {"data": features}

    known = device or {}
    roles = [str(role) for role in known.get("roles") or ()]
    model = str(known.get("modelId") or "")
    is_heat_pump = _enabled_ids(by_name, "heating.compressors")
    config = PyViCareDeviceConfig(
        ViCareDeviceAccessor(0, "", str(known.get("id", "0"))),
        Snapshot(None, roles),
        model or ("Vitocal" if is_heat_pump else ""),
        str(known.get("status", "")),
        known.get("deviceType") or known.get("type"),
        roles,
    )
    detected = config.asAutoDetectDevice()
    if type(detected).__name__ == "Hybrid" and not _enabled_ids(by_name, "heating.burners"):
        detected = config.asHeatPump()  # a document that says that there are no burners counts as one with burners
    values = dict(_getters(detected))
    for component in COMPONENTS:
        try:
            parts = getattr(detected, component, ())
            values |= {f"{component}.{part.id}.{name}": value for part in parts for name, value in _getters(part)}
        except Exception as error:  # a class of PyViCare that expects a feature which this device does not have
            _log.debug("%s has no %s (%s)", type(detected).__name__, component, type(error).__name__)
    circuits = _enabled_ids(by_name, "heating.circuits")
    return Capabilities(
        kind=type(detected).__name__,
        model=model,
        circuits=circuits,
        compressors=is_heat_pump,
        programs={circuit: _programs(by_name, circuit) for circuit in circuits},
        not_connected=tuple(sorted(name for name, feature in by_name.items() if _status(feature) == "notConnected")),
        values=values,
    )


_log = logging.getLogger(__name__)


def _getters(part: Any) -> Iterable[tuple[str, Any]]:
    for name, _ in inspect.getmembers(type(part), inspect.isfunction):
        if not name.startswith("get"):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", DeprecationWarning)  # what has a newer name is told by that
                value = getattr(part, name)()
        except Exception:  # it wants an argument, the device does not have it, or the document is not as it expects
            continue
        if value is not None:
            yield name, value


def _enabled_ids(by_name: Mapping[str, Mapping[str, Any]], name: str) -> tuple[str, ...]:
    enabled = _property(by_name.get(name, {}), "enabled")
    return tuple(str(part) for part in enabled) if isinstance(enabled, list) else ()


def _programs(by_name: Mapping[str, Mapping[str, Any]], circuit: str) -> tuple[str, ...]:
    pattern = re.compile(rf"heating\.circuits\.{re.escape(circuit)}\.operating\.programs\.(\w+)")
    found = []
    for name, feature in by_name.items():
        match = pattern.fullmatch(name)
        if match and feature.get("isEnabled", True) and _property(feature, "temperature") is not None:
            found.append(match[1])
    return tuple(sorted(found))


def _status(feature: Mapping[str, Any]) -> object:
    return _property(feature, "status")


def _property(feature: Mapping[str, Any], name: str) -> Any:
    properties = feature.get("properties")
    entry = properties.get(name) if isinstance(properties, Mapping) else None
    return entry.get("value") if isinstance(entry, Mapping) else None

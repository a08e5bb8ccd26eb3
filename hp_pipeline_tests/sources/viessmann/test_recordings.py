"""Recorded documents of real devices are read without an error, with the capabilities that they are known to have.

The recordings lie beside the repository and are not part of it; their synthetic twins (`twins.py`), which have the same
shape and the same traits, always are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hp_pipeline.simulation.devices.viessmann import ViessmannCloudServer
from hp_pipeline.simulation.devices.world import Clock
from hp_pipeline.sources.viessmann.capabilities import capabilities
from hp_pipeline.sources.viessmann.features import features_of, told_by
from hp_pipeline.sources.viessmann.history import remembered
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline_tests.sources.viessmann.conftest import Account, values_of
from hp_pipeline_tests.sources.viessmann.twins import TWINS

RECORDINGS = Path(__file__).parents[4] / "shared" / "data" / "viessmann_responses"
CLASSIC = ("comfort", "eco", "normal", "reduced")
NEWER = ("comfortHeating", "normalHeating", "reducedHeating")


@dataclass(frozen=True)
class Known:
    """What is known of a device: ids of circuits, programs, getters of PyViCare, points, and whether it has lists."""

    circuits: tuple[str, ...]
    programs: tuple[str, ...]
    profile: str
    getters: dict[str, Any]
    points: dict[str, Any]
    without: tuple[str, ...] = ()
    remembers_days: bool = False


KNOWN = {
    "Vitocal300G_CU401B": Known(
        ("1",),
        CLASSIC,
        "viessmann_classic",
        {
            "getOutsideTemperature": 4.1,
            "getReturnTemperature": 35.8,
            "getSupplyTemperatureSecondaryCircuit": 44,
            "getSupplyTemperaturePrimaryCircuit": 8.7,
            "getReturnTemperaturePrimaryCircuit": 4.9,
            "compressors.0.getModulation": 100,
            "compressors.0.getPower": 12.0,
            "compressors.0.getHours": 942.4,
            "compressors.0.getStarts": 363,
            "compressors.0.getPhase": "heating",
            "circuits.1.getSupplyTemperature": 36.1,
            "getCoefficientOfPerformanceTotal": 4.7,
            "getDomesticHotWaterConfiguredTemperature": 50,
        },
        {
            "heating.compressors.0.power.value": 12_000.0,
            "heating.heatingRod.runtime.levelOne": pytest.approx(886_682 / 3600),
            "heating.boiler.sensors.temperature.commonSupply.status": "notConnected",
        },
        without=("heating.boiler.sensors.temperature.commonSupply.value", "heating.circuits.0.circulation.pump.status"),
    ),
    "Vitocal252A": Known(
        ("0",),
        NEWER,
        "viessmann",
        {
            "getOutsideTemperature": 3.3,
            "getReturnTemperature": 39.3,
            "getSupplyTemperatureSecondaryCircuit": 43.2,
            "getVolumetricFlowReturn": 970,
            "compressors.0.getHours": 582,
            "compressors.0.getStarts": 836,
            "compressors.0.getSpeed": 38,
            "inverters.0.getPower": 1508,
            "getSeasonalPerformanceFactorTotal": 6.0,
            "getDomesticHotWaterConfiguredTemperature": 45,
        },
        {
            "heating.inverters.0.sensors.power.output.value": 1508.0,
            "heating.sensors.volumetricFlow.allengra.value": 970.0,
            "heating.outdoor.defrosting.active": "false",
            "heating.secondaryCircuit.operation.state.currentValue": "heating",
            "heating.power.consumption.total.day": 13.0,
        },
        without=("heating.compressors.0.sensors.power.value",),
        remembers_days=True,
    ),
    "Vitocal200S_E8NEV": Known(
        ("0",),
        NEWER,
        "viessmann",
        {
            "getOutsideTemperature": 12.2,
            "getReturnTemperature": 22,
            "getVolumetricFlowReturn": 1215,
            "compressors.0.getHours": 356,
            "compressors.0.getStarts": 659,
        },
        {
            "heating.sensors.volumetricFlow.allengra.value": 1215.0,
            "heating.dhw.sensors.temperature.hotWaterStorage.value": 50.2,
            "heating.power.consumption.total.year": pytest.approx(1017.5),
        },
        without=("heating.dhw.sensors.temperature.dhwCylinder.value",),
        remembers_days=True,
    ),
    "Vitocal333G": Known(
        ("0",),
        CLASSIC,
        "viessmann_classic",
        {
            "getOutsideTemperature": 4.4,
            "getReturnTemperature": 49.6,
            "getSupplyTemperatureSecondaryCircuit": 53.3,
            "getReturnTemperaturePrimaryCircuit": 5.2,
            "compressors.0.getHours": 11692.3,
            "compressors.0.getStarts": 29545,
            "getDomesticHotWaterChargingActive": True,
        },
        {"heating.dhw.charging.active": "true", "device.messages.errors.raw.entries": "none"},
        without=("heating.buffer.sensors.temperature.main.value",),
    ),
}


def check(document: dict[str, Any], known: Known) -> None:
    """A document has the traits of its device."""
    now = datetime.now(UTC)
    found = capabilities(document["data"], document.get("device"))
    assert found.kind == "HeatPump"
    assert found.circuits == known.circuits and found.compressors == ("0",)
    assert found.programs == dict.fromkeys(known.circuits, known.programs)
    assert {name: found.values.get(name) for name in known.getters} == known.getters
    features = features_of(document, now)
    told = [(point, value, time) for feature in features for point, value, time in told_by(feature)]
    values = {point: value for point, value, _ in told}
    assert {point: values.get(point) for point in known.points} == known.points
    assert not set(known.without) & set(values)
    assert not [point for point in values if "[" in point], "a unit that is not known"
    assert all(time is not None for _, _, time in told), "a feature without its own time"
    needed = {"operating_mode", "compressor_on", "flow_temperature", "return_temperature", "outdoor_temperature"}
    needed -= {"operating_mode"} if "heating.secondaryCircuit.operation.state" not in str(document) else set()
    needed |= {"operating_mode"} if known.profile == "viessmann_classic" else set()
    for name, mapping in load_profile(known.profile).mappings.items():
        points = [point for selector in mapping.selectors for point in values if selector.matches(point)]
        assert points or name not in needed, name
        if mapping.signal.kind == "state":
            assert all(mapping.state_of(str(values[point])) is not None for point in points), name
    prefixes = {(feature.gateway, feature.device): "" for feature in features}
    start = datetime(2000, 1, 1, tzinfo=UTC)
    history = remembered(features, prefixes, ZoneInfo("Europe/Berlin"), start, now)
    days = [reading for reading in history if reading.point.endswith("total.day") and reading.value == 0.0]
    assert len(days) >= 7 if known.remembers_days else not history


@pytest.mark.parametrize("name", KNOWN)
def test_a_recording_is_read_with_its_capabilities(name: str) -> None:
    path = RECORDINGS / f"{name}.json"
    if not path.exists():
        pytest.skip("the recordings are not here; their twins are tested")
    check(json.loads(path.read_text(encoding="utf-8")), KNOWN[name])


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_is_read_with_the_same_capabilities(name: str) -> None:
    check(TWINS[name], KNOWN[name])


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_is_read_over_the_wire(name: str, tmp_path: Path) -> None:
    newest = max(entry["timestamp"] for entry in TWINS[name]["data"])
    clock = Clock(datetime.fromisoformat(newest) + timedelta(minutes=1), 0)
    with ViessmannCloudServer(clock=clock, document=TWINS[name]) as cloud:
        account = Account(tmp_path, cloud)
        values = values_of(account.poll())
        account.landing.close()
    assert {point: values.get(point) for point in KNOWN[name].points} == KNOWN[name].points


def test_two_circuits_are_told_apart_by_their_ids() -> None:
    found = capabilities(_with_two_circuits()["data"])
    assert found.circuits == ("0", "1")
    assert found.values["circuits.0.getSupplyTemperature"] != found.values["circuits.1.getSupplyTemperature"]


def _with_two_circuits() -> dict[str, Any]:
    text = json.dumps(TWINS["Vitocal300G_CU401B"]).replace('"value": ["1"]', '"value": ["0", "1"]')
    document: dict[str, Any] = json.loads(text)
    supply = "heating.circuits.1.sensors.temperature.supply"
    (one,) = [entry for entry in document["data"] if entry["feature"] == supply]
    other = json.loads(json.dumps(one))
    other["feature"] = supply.replace("circuits.1", "circuits.0")
    other["properties"]["value"]["value"] = 28.4
    document["data"] = [entry for entry in document["data"] if entry["feature"] != other["feature"]] + [other]
    return document

"""Features → readings: units as told, sensors that are not there, times, and what cannot be understood."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_pipeline.sources.viessmann.features import UNITS, Affirmations, features_of, in_told_unit, parse_time, told_by

NOW = datetime(2025, 11, 19, 12, tzinfo=UTC)


def told(*entries: dict[str, Any]) -> dict[str, float | str]:
    features = features_of({"data": list(entries)}, NOW)
    return {point: value for feature in features for point, value, _ in told_by(feature)}


def entry(name: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"feature": name, "properties": properties, "timestamp": "2025-11-19T11:19:09.880Z", **more}


@pytest.mark.parametrize(
    ("unit", "value", "is_told"),
    [
        ("watt", 1508, 1508.0),
        ("kilowatt", 1.508, 1508.0),
        ("wattHour", 1500, 1.5),
        ("celsius", 21.5, 21.5),
        ("fahrenheit", 50, 10.0),
        ("liter", 1215, 1215.0),
        ("liter/hour", 970, 970.0),
        ("cubicMeter/hour", 1.2, 1200.0),
        ("seconds", 7200, 2.0),
        ("minute", 30, 0.5),
        ("revolutionsPerSecond", 38.5, 38.5),
        ("", 0.6, 0.6),
    ],
)
def test_a_number_is_told_in_one_unit_whatever_the_device_sends(unit: str, value: float, is_told: float) -> None:
    values = told(entry("a.b", {"value": {"type": "number", "value": value, "unit": unit}}))
    assert values == {"a.b.value": pytest.approx(is_told)}


def test_an_unknown_unit_is_a_part_of_the_name() -> None:
    assert told(entry("a", {"value": {"value": 3, "unit": "furlong"}})) == {"a.value [furlong]": 3.0}
    assert in_told_unit("a", 3.0, None) == ("a", 3.0)
    assert all(word == word.strip() for word in UNITS)


@pytest.mark.parametrize("status", ["notConnected", "error"])
def test_a_sensor_that_is_not_there_has_a_status_and_no_value(status: str) -> None:
    properties = {"status": {"value": status}, "value": {"value": 0, "unit": "celsius"}}
    assert told(entry("heating.sensors.temperature.x", properties)) == {"heating.sensors.temperature.x.status": status}


def test_what_is_switched_off_is_not_told() -> None:
    value = {"value": {"value": 1}}
    assert told(entry("a", value, isEnabled=False), entry("b", value, isReady=False)) == {}


def test_words_flags_schedules_and_faults() -> None:
    values = told(
        entry(
            "heating.dhw.schedule",
            {"active": {"value": True}, "entries": {"value": {"mon": [], "fri": [{"end": "24"}]}}},
        ),
        entry("heating.circuits", {"enabled": {"value": ["0", "1"]}}),
        entry("heating.circuits.0.name", {"name": {"value": ""}}),
        entry("device.messages.errors.raw", {"entries": {"value": [{"errorCode": "F.454"}, {"errorCode": "A.11"}]}}),
        entry("device.messages.logbook", {"entries": {"value": [{"event": "x"}]}}),
    )
    assert values == {
        "heating.dhw.schedule.active": "true",
        "heating.dhw.schedule.entries": '{"fri":[{"end":"24"}],"mon":[]}',
        "heating.circuits.enabled": '["0","1"]',
        "device.messages.errors.raw.entries": "A.11, F.454",
    }
    assert told(entry("device.messages.errors.raw", {"entries": {"value": []}})) == {
        "device.messages.errors.raw.entries": "none"
    }


def test_times() -> None:
    assert parse_time("2025-11-19T11:19:09.880Z") == datetime(2025, 11, 19, 11, 19, 9, 880_000, UTC)
    assert parse_time("2025-11-19T12:19:09+01:00") == datetime(2025, 11, 19, 11, 19, 9, 0, UTC)
    assert parse_time("yesterday") is None and parse_time(3) is None
    (future,) = features_of({"data": [entry("a", {}, timestamp="2025-11-19T13:00:00Z")]}, NOW)
    assert future.time is None


def test_a_sensor_that_hangs_is_not_taken_to_hold_its_value_while_a_setting_is() -> None:
    """The device is heard of all the time, one of its sensors for seven hours is not."""
    affirmations = Affirmations(timedelta(hours=1))
    old, new = "2025-11-19T04:30:00Z", ["2025-11-19T11:55:00Z", "2025-11-19T12:00:00Z"]
    readings = []
    for stamp in new:
        document = {
            "data": [
                entry("heating.sensors.temperature.outside", {"value": {"value": 1.5}}, timestamp=old),
                entry("heating.dhw.temperature.main", {"value": {"value": 50}}, timestamp=old),
                entry("heating.sensors.temperature.return", {"value": {"value": 30}}, timestamp=stamp),
            ]
        }
        readings = affirmations.readings(features_of(document, NOW), {("", ""): ""}, NOW)
    times = {reading.point.removesuffix(".value"): reading.time for reading in readings}
    assert times["heating.sensors.temperature.outside"] == parse_time(old)
    assert times["heating.dhw.temperature.main"] is None
    assert times["heating.sensors.temperature.return"] == parse_time(new[-1])


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=8),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=6), part, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["heating.circuits.0", "heating.power.consumption.total", "device.messages.errors.raw", "a", ""]
)
PROPERTIES = st.dictionaries(
    st.sampled_from(["value", "status", "day", "dayValueReadAt", "entries", "month", "x"]),
    st.fixed_dictionaries({}, optional={"value": JSON, "unit": JSON, "type": JSON}) | JSON,
    max_size=4,
)
FEATURES = st.fixed_dictionaries(
    {},
    optional={
        "feature": NAMES | JSON,
        "properties": PROPERTIES | JSON,
        "timestamp": st.sampled_from(["2025-11-19T11:19:09.880Z", "x"]) | JSON,
        "deviceId": JSON,
        "uri": JSON,
        "isEnabled": JSON,
    },
)


@given(st.lists(FEATURES | JSON, max_size=5))
def test_whatever_a_document_holds_is_read_or_passed_over(data: list[Any]) -> None:
    features = features_of({"data": data}, NOW)
    prefixes = {(feature.gateway, feature.device): "" for feature in features}
    readings = Affirmations(timedelta(hours=1)).readings(features, prefixes, NOW)
    assert len({reading.point for reading in readings}) == len(readings)
    for reading in readings:
        assert (reading.value is None) != (reading.text is None)
        assert reading.value is None or abs(reading.value) < float("inf")
        assert reading.time is None or reading.time <= NOW + timedelta(minutes=5)

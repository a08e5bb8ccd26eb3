"""Messages to readings without a broker: every kind of payload, times, garbage, the order, and what is never said."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_pipeline.sources.live import Reading
from hp_pipeline.sources.mqtt import Message, MessageReader
from hp_pipeline.sources.mqtt.messages import FUTURE_TOLERANCE
from hp_pipeline_tests.sources.mqtt.listening import source

NOW = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def reader(*topics: str | dict[str, Any], **settings: Any) -> MessageReader:
    return MessageReader(source(1883, *topics, **settings))


def message(topic: str, payload: str | bytes, *, ago: float = 0.0, **marks: Any) -> Message:
    raw = payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else payload
    return Message(topic, raw, NOW - timedelta(seconds=ago), **marks)


def told(rule: dict[str, Any], payload: str | bytes) -> dict[str, float | str | None]:
    readings = reader({"topic": "t", **rule}).read([message("t", payload)], NOW).readings
    return {reading.point: reading.value if reading.text is None else reading.text for reading in readings}


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ("21.5", 21.5),
        (" -3 \n", -3.0),
        ("+005.80", 5.8),
        (".5", 0.5),
        ("1e3", 1000.0),
        ('"21.5"', 21.5),
        ("\ufeff7", 7.0),
        ("ON", "ON"),
        ("true", "true"),
        ('"open"', "open"),
        ("22.5 °C", "22.5 °C"),
        ("1,5", "1,5"),
        ("2025-09-04T08:51:47+00:00", "2025-09-04T08:51:47+00:00"),
    ],
)
def test_numbers_and_words(payload: str, value: float | str) -> None:
    assert told({}, payload) == {"t": value}


@pytest.mark.parametrize("payload", ["", "  ", "unavailable", "unknown", "None", "null", "-", '"unknown"', "{}", "[]"])
def test_what_is_no_reading(payload: str) -> None:
    read = reader("t")
    assert read.read([message("t", payload)], NOW).readings == []
    assert not read.rejected


def test_values_of_an_object() -> None:
    document = {
        "Time": "2026-10-25T01:29:00Z",
        "ENERGY": {"Power": 1200, "Total": "17.5", "Period": None},
        "on": True,
        "off": False,
        "layers": [61.5, 48, "unavailable"],
        "Operation Mode": "Heating",
        "a.b": 1,
    }
    everything = {
        "t#ENERGY.Power": 1200.0,
        "t#ENERGY.Total": 17.5,
        "t#on": "true",
        "t#off": "false",
        "t#layers[0]": 61.5,
        "t#layers[1]": 48.0,
        "t#Operation Mode": "Heating",
        't#["a.b"]': 1.0,
    }
    assert told({"time": "Time"}, json.dumps(document)) == everything
    assert told({}, json.dumps(document))["t#Time"] == "2026-10-25T01:29:00Z"
    some = told({"values": ["ENERGY.*", "layers[0]", "nothing"]}, json.dumps(document))
    assert some == {"t#ENERGY.Power": 1200.0, "t#ENERGY.Total": 17.5, "t#layers[0]": 61.5}
    assert told({"values": ["on"], "point": "pump"}, json.dumps(document)) == {"pump#on": "true"}
    assert told({"values": ["on"], "point": "pump_{path}"}, json.dumps(document)) == {"pump_on": "true"}
    assert told({"payload": "text"}, "12") == {"t": "12"}


@pytest.mark.parametrize(
    ("rule", "payload", "reason"),
    [
        ({}, b"\xff\x00", "no UTF-8 text"),
        ({}, '{"a": 1', "broken JSON"),
        ({}, "[" * 100_000, "broken JSON"),
        ({}, '{"a": ' + "9" * 5000 + "}", "broken JSON"),
        ({}, '{"a": 1e999}', "not a finite number"),
        ({}, '{"a": ' + "9" * 400 + "}", "not a finite number"),
        ({}, '{"a": NaN}', "not a finite number"),
        ({}, '{"a": "\\ud800"}', "signs that cannot be shown"),
        ({}, '{"\\ud800": 1}', "a key with signs that cannot be shown"),
        ({}, "nan", "not a finite number"),
        ({}, "-Infinity", "not a finite number"),
        ({}, "a\x1bb", "signs that cannot be shown"),
        ({}, "x" * 1001, "a text of more than 1000 signs"),
        ({}, b"1" * (2 << 20), "more than 1 MiB"),
        ({}, json.dumps(list(range(1001))), "more than 1000 values"),
        ({"payload": "number"}, "ON", "not a number"),
        ({"payload": "json"}, "12", "no JSON object"),
        ({"values": ["a"]}, '{"a": {"b": 1}}', "a is no single value"),
        ({"missing": []}, "", "an empty message"),
        ({"time": "t"}, '{"t": "yesterday", "x": 1}', "a time that is not auto"),
        ({"time": "t"}, '{"t": true, "x": 1}', "a time that is not auto"),
        ({"time": "t"}, '{"t": 1e300, "x": 1}', "a time that is not auto"),
        ({"time": "t"}, '{"t": 17, "x": 1}', "the time of a clock that was never set"),
        ({"time": "t"}, '{"t": "2026-10-25T01:36:00Z", "x": 1}', "a time that lies ahead"),
        ({"time": "t", "time_format": "unix_ms"}, '{"t": "x", "x": 1}', "a time that is not unix_ms"),
        ({"pattern": "(t)|(x)", "point": "{2}"}, "1", "`point` makes no name of this topic"),
    ],
)
def test_garbage_is_rejected_and_counted(rule: dict[str, Any], payload: str | bytes, reason: str) -> None:
    read = reader({"topic": "t", **rule})
    assert read.read([message("t", payload)], NOW).readings == []
    ((counted, count),) = read.rejected.items()
    assert counted.startswith(reason) and count == 1


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ({}, 1792891800, NOW),
        ({}, "1792891800.25", NOW + timedelta(milliseconds=250)),
        ({}, 1792891800250, NOW + timedelta(milliseconds=250)),
        ({}, 1792891800250000, NOW + timedelta(milliseconds=250)),
        ({"time_format": "unix_s"}, 1792891800, NOW),
        ({}, "2026-10-25T03:30:00+02:00", NOW),
        ({}, "2026-10-25 01:30:00", NOW),
        ({"time_zone": "Europe/Berlin"}, "2026-10-24T12:00:00", datetime(2026, 10, 24, 10, tzinfo=UTC)),
        # 02:30 comes twice on this day: the second one is now.
        ({"time_zone": "Europe/Berlin"}, "2026-10-25T02:30:00", NOW),
        ({"time_format": "%d.%m.%Y %H:%M"}, "25.10.2026 01:30", NOW),
    ],
)
def test_the_message_says_when(rule: dict[str, Any], value: Any, expected: datetime) -> None:
    read = reader({"topic": "t", "time": "at", **rule})
    (reading,) = read.read([message("t", json.dumps({"at": value, "x": 1}))], NOW).readings
    assert reading == Reading("t#x", 1.0, time=expected)


def test_without_a_time_it_is_the_arrival_in_order_and_none_shares_a_time() -> None:
    read = reader("#")
    messages = [message("a", str(number), ago=0.5) for number in range(4)] + [message("b", "9", ago=0.4)]
    readings = read.read(messages, NOW).readings
    arrived = NOW - timedelta(seconds=0.5)
    assert [(reading.value, reading.time) for reading in readings if reading.point == "a"] == [
        (0.0, arrived),
        (1.0, arrived + timedelta(microseconds=1)),
        (2.0, arrived + timedelta(microseconds=2)),
        (3.0, None),
    ]
    assert [reading.time for reading in readings if reading.point == "b"] == [None]
    late = read.read([message("a", "1", ago=60)], NOW).readings
    assert [reading.time for reading in late] == [NOW - timedelta(seconds=60)]


def test_faults_of_devices_store_nothing_false() -> None:
    """Duplicates, out of order, garbage between, a clock ahead and one that was never set."""
    read = reader({"topic": "t", "time": "at"})
    seconds = [0, 10, 10, 30, 20, 40]
    messages = [message("t", json.dumps({"at": NOW.timestamp() - 60 + second, "x": second})) for second in seconds]
    messages.insert(3, message("t", b"\x80garbage"))
    messages.append(message("t", json.dumps({"at": NOW.timestamp() + 3600, "x": 99})))
    messages.append(message("t", json.dumps({"at": 3.5, "x": 99})))
    stored = {reading.time: reading.value for reading in read.read(messages, NOW).readings}
    assert stored == {NOW + timedelta(seconds=second - 60): float(second) for second in seconds}
    assert read.rejected.total() == 3


def test_the_clock_of_the_device() -> None:
    read = reader({"topic": "t", "time": "at"}, "u")
    live = message("t", json.dumps({"at": NOW.timestamp() - 7, "x": 1}), ago=2)
    assert read.read([live, message("u", "1")], NOW).device_time == NOW - timedelta(seconds=5)
    assert read.read([live], NOW, clocks=False).device_time is None
    assert read.read([message("t", live.payload, retained=True)], NOW).device_time is None
    assert read.read([message("t", live.payload, repeated=True)], NOW).device_time is None
    two_clocks = reader({"topic": "t", "time": "at"}, {"topic": "u", "time": "at"})
    assert two_clocks.read([live], NOW).device_time is None


def test_a_message_waits_for_its_time_beside_but_not_for_long() -> None:
    read = reader({"topic": "h/+/state", "time_topic": "last_updated"}, "other")
    state = message("h/a/state", "1")
    time = message("h/a/last_updated", '"2026-10-25T01:00:00+00:00"')
    other = message("other", "2")
    assert read.ready([other, state, other], NOW) == 1
    assert read.ready([state, time, other], NOW) == 3
    assert read.ready([time, state], NOW) == 1
    assert read.ready([state, other], NOW + timedelta(seconds=2)) == 2
    assert read.ready([state], NOW - timedelta(hours=1)) == 1  # the clock was set back: nothing waits for it
    (reading,) = read.read([state, time], NOW).readings
    assert reading.time == datetime(2026, 10, 25, 1, tzinfo=UTC)
    both = read.read([state, message("h/a/state", "3"), time], NOW).readings
    assert [(reading.value, reading.time) for reading in both] == [(1.0, None), (3.0, reading.time)]
    assert read.read([state, message("h/a/last_updated", "never")], NOW).readings == []


def test_availability_speaks_one_language_and_covers_what_it_says() -> None:
    read = reader(
        "#",
        availability=[
            {"topic": "a/LWT", "online": "Online", "offline": "Offline"},
            {"topic": "status", "covers": ["b/+"]},
        ],
    )
    kept = [message(topic, "1", retained=True) for topic in ("a/x", "b/x", "b/x/y", "c")]
    assert len(read.read(kept, NOW).readings) == 4
    marks = read.read([message("a/LWT", "Offline"), message("status", "offline"), message("a/LWT", "what")], NOW)
    assert [(reading.point, reading.text) for reading in marks.readings] == [
        ("a/LWT", "offline"),
        ("status", "offline"),
    ]
    assert read.available == {"a/LWT": False, "status": False}
    assert [reading.point for reading in read.read(kept, NOW).readings] == ["b/x/y", "c"]
    assert len(read.read([message("a/x", "1")], NOW).readings) == 1  # it speaks, so it is there
    assert read.rejected["neither the word for online nor that for offline"] == 1


RULES: list[dict[str, Any]] = [
    {"topic": "#"},
    {"topic": "#", "time": "t"},
    {"topic": "+/+", "time_topic": "when", "point": "{1}"},
    {"topic": "#", "payload": "json", "values": ["a.*", "t", "**"]},
    {"topic": "#", "payload": "number"},
]
PAYLOAD = (
    st.binary(max_size=20)
    | st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "t", "x.y", "\x00"]), inner),
        max_leaves=8,
    ).map(lambda document: json.dumps(document).encode())
    | st.datetimes().map(lambda time: json.dumps({"t": time.isoformat(), "a": 1}).encode())
)
MESSAGES = st.lists(
    st.builds(
        lambda topic, payload, ago, retained, repeated: Message(
            topic, payload, NOW - timedelta(seconds=ago), 1, retained, repeated, 1
        ),
        st.sampled_from(["a/b", "a/when", "c", "dev/LWT", "a/\x07"]),
        PAYLOAD,
        st.floats(-5, 100),
        st.booleans(),
        st.booleans(),
    ),
    max_size=6,
)


@given(st.lists(st.sampled_from(RULES), min_size=1, max_size=3), MESSAGES)
def test_whatever_comes_readings_are_whole_or_not_there(rules: list[dict[str, Any]], messages: list[Message]) -> None:
    read = reader(*rules, availability=[{"topic": "dev/LWT"}])
    assert 0 <= read.ready(messages, NOW) <= len(messages)
    for reading in read.read(messages, NOW).readings:
        assert (reading.value is None) != (reading.text is None)
        assert reading.value is None or math.isfinite(reading.value)
        assert reading.point.strip() and "\x07" not in reading.point
        for text in (reading.point, reading.text or ""):
            text.encode()
        if reading.time is not None:
            assert datetime(2000, 1, 1, tzinfo=UTC) <= reading.time <= NOW + timedelta(seconds=5) + FUTURE_TOLERANCE


def test_the_collector_loads_nothing_heavy_with_it() -> None:
    heavy = "{'polars', 'duckdb', 'dagster', 'numpy', 'pyarrow'}"
    code = f"import sys, hp_pipeline.sources.mqtt; print({heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"

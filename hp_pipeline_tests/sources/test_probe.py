"""The probe names what is found, what is not and what it might be, and what is not clear."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from pydantic import SecretStr

from hp_pipeline.settings.sources import InfluxdbSource
from hp_pipeline.sources.probe import ProbeReport, compare, format_probe, probe_influxdb
from hp_pipeline.sources.readings import READINGS_SCHEMA
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline_tests.sources.influx_server import PASSWORD, USER, InfluxServer

START = datetime(2024, 10, 13, tzinfo=UTC)
STOP = START + timedelta(days=1)
ALTHERMA = "sensor.althermasensors,domain=sensor,entity_id=althermasensors"
LINES = [
    f'{ALTHERMA} Operation\\ Mode_str="Heating",Defrost\\ Operation_str="OFF",Thermostat\\ ON-OFF_str="ON"',
    "W,entity_id=power,friendly_name=Heat\\ Pump\\ 7\\ 1MIN value=1207.5",
    "°C,entity_id=out_1,friendly_name=Outdoor value=7.1",
    "°C,entity_id=out_2,friendly_name=Outdoor value=7.4",
    "kWh,entity_id=meter value=12345",
]
OVERRIDES = {
    "outdoor_temperature": {"select": {"measurement": "°C", "tags": {"friendly_name": "Outdoor"}}, "unit": "°C"},
    "room_temperature": None,
}


def report_on(server: InfluxServer) -> ProbeReport:
    server.create_database("probe")
    stamp = int(START.timestamp())
    assert server.write("probe", "\n".join(f"{line} {stamp}" for line in LINES), "s").status_code == 204
    source = InfluxdbSource.model_validate(
        {
            "id": "home_assistant",
            "version": 1,
            "url": server.url,
            "database": "probe",
            "username": USER,
            "password": SecretStr(PASSWORD),
            "extra": [{"measurement": "kWh"}],
        }
    )
    profile = load_profile("espaltherma_home_assistant", OVERRIDES)
    return probe_influxdb(source, profile.mappings.values(), start=START, stop=STOP)


def test_a_real_influxdb_is_probed(influx_server: InfluxServer) -> None:
    report = report_on(influx_server)
    assert len(report.series) == 7
    found = {signal.signal: signal for signal in report.signals}
    assert [one.last for one in found["operating_mode"].found] == ["Heating"]
    assert [one.last for one in found["electrical_power"].found] == ["1207.5"]
    assert found["electrical_power"].found[0].time == START
    assert [signal.signal for signal in report.ambiguous] == ["outdoor_temperature"]
    assert "thermostat" in [signal.signal for signal in report.missing]
    assert found["thermostat"].nearest[0] == f"{ALTHERMA} Thermostat\\ ON-OFF_str"
    assert report.kept == {"kWh,entity_id=meter value"}
    text = format_probe(report)
    assert "7 series from 2024-10-13 00:00 to 2024-10-14 00:00 (UTC)" in text
    assert "! outdoor_temperature" in text
    assert "thermostat: looked for field Thermostat ON/OFF_str" in text
    assert "perhaps sensor.althermasensors,domain=sensor,entity_id=althermasensors Thermostat\\ ON-OFF_str" in text
    assert " +        12345  2024-10-13 00:00  kWh,entity_id=meter value" in text
    assert PASSWORD not in text


def test_an_empty_database_says_where_to_look() -> None:
    source = InfluxdbSource(id="x", version=1, url="http://127.0.0.1:1", database="d")
    profile = load_profile("espaltherma_home_assistant")
    empty = pl.DataFrame(schema=READINGS_SCHEMA)
    report = compare(source, empty, profile.mappings.values(), start=START, stop=STOP)
    assert len(report.missing) == len(profile.mappings)
    assert "Nothing was found" in format_probe(report)

"""Mistakes in the settings of devices in the local network, and what is meant by leaving out."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from hp_pipeline.settings import LuxtronikSource, ShellySource
from hp_pipeline.settings.model import EnvironmentText


@pytest.mark.parametrize("host", ["192.168.1.20", "pump.fritz.box", "pump", "fe80::1", "::1", "WP-1"])
def test_names_and_addresses_are_hosts(host: str) -> None:
    assert LuxtronikSource(id="a", host=host).host == host


@pytest.mark.parametrize(
    ("host", "nearest"),
    [
        ("http://192.168.1.20", "192.168.1.20"),
        ("192.168.1.20:8889", "192.168.1.20"),
        ("http://pump:80/status", "pump"),
        ("admin:secret@pump", ""),
        ("", ""),
        ("a b", ""),
        ("-pump", ""),
    ],
)
def test_anything_else_is_refused_with_what_was_meant(host: str, nearest: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ShellySource(id="a", host=host)
    (error,) = caught.value.errors()
    assert error["type"] == "host"
    assert error["ctx"]["nearest"] == nearest
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("port", [0, 65536, "8889", True, 1.5])
def test_ports_are_numbers_of_ports(port: object) -> None:
    with pytest.raises(ValidationError):
        LuxtronikSource(id="a", host="pump", port=port)  # type: ignore[arg-type]


def test_defaults_are_those_of_the_devices() -> None:
    pump, meter = LuxtronikSource(id="a", host="pump"), ShellySource(id="b", host="meter")
    assert (pump.port, pump.every, pump.timeout) == (8889, timedelta(seconds=30), timedelta(seconds=10))
    assert (meter.port, meter.every, meter.password) == (80, timedelta(seconds=10), None)


def test_old_firmware_is_not_polled_too_fast() -> None:
    with pytest.raises(ValidationError, match="10s to 1h"):
        LuxtronikSource.model_validate({"id": "a", "host": "pump", "every": "5s"})


def test_the_password_of_a_meter_is_no_plain_text_and_never_shown() -> None:
    with pytest.raises(ValidationError, match="environment variable"):
        ShellySource.model_validate({"id": "b", "host": "meter", "password": "plain"})
    meter = ShellySource.model_validate({"id": "b", "host": "meter", "password": EnvironmentText("s3cret")})
    assert "s3cret" not in f"{meter!r} {meter} {meter.model_dump()} {meter.model_dump_json()}"

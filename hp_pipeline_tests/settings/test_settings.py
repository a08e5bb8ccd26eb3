"""The settings as values: helpers, round trips, fingerprints, and what a model refuses by itself."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from datetime import date, time, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from ruamel.yaml import YAML

from hp_pipeline.settings import (
    FilesSource,
    InfluxdbSource,
    Rules,
    Settings,
    Tariff,
    data_dir,
    load_settings,
    settings_json_schema,
    settings_path,
)
from hp_pipeline.settings.sources import SOURCE_KINDS
from hp_pipeline.vocabulary.rules import Rules as OperationRules
from hp_pipeline_tests.settings.house import ENVIRONMENT, HOUSE

Write = Callable[..., Path]


@pytest.fixture
def settings(write: Write) -> Settings:
    return load_settings(write(), ENVIRONMENT)


def test_parts_are_found_by_id(settings: Settings) -> None:
    assert settings.heat_pump("daikin").id == "daikin"
    assert settings.source("old_files").kind == "files"
    assert [(pump.id, item.source) for pump, item in settings.inputs_of("influx")] == [("daikin", "influx")]
    assert settings.inputs_of("old_files") == ()
    assert [meter.id for meter in settings.meters_of("daikin")] == ["m"]


def test_an_unknown_id_names_the_known_ones(settings: Settings) -> None:
    with pytest.raises(
        LookupError, match=r"no source has the id 'influxx'; there are: influx, old_files. Did you mean"
    ):
        settings.inputs_of("influxx")
    with pytest.raises(LookupError, match=r"no heat pump has the id 'x'; there are: daikin$"):
        settings.heat_pump("x")


def test_a_heat_pumps_own_rules_stand_in_the_place_of_the_general_ones(settings: Settings) -> None:
    rules = settings.rules_for("daikin")
    assert rules == settings.rules_for(settings.heat_pump("daikin"))
    assert rules.hold == timedelta(minutes=10)
    assert rules.session_gap == timedelta(minutes=20)
    assert rules.quarantine == timedelta(seconds=90)
    operation = settings.operation_rules_for("daikin")
    assert operation.frame_interval == timedelta(seconds=30)
    assert operation.hold == rules.hold
    assert operation.session_gap == rules.session_gap


def test_the_defaults_are_those_of_the_transforms() -> None:
    names = [field.name for field in fields(OperationRules) if field.name not in ("frame_interval", "metering")]
    assert {name: getattr(Rules(), name) for name in names} == {name: getattr(OperationRules(), name) for name in names}


def test_the_profile_of_an_input(write: Write) -> None:
    override = "{outdoor_temperature: {select: {measurement: °F}, unit: °F}, room_temperature: null}"
    path = write(("assistant\n    rules", f"assistant\n        signals: {override}\n    rules"))
    settings = load_settings(path, ENVIRONMENT)
    profile = settings.profile_of(settings.heat_pump("daikin").inputs[0])
    assert profile.mappings["outdoor_temperature"].selectors[0].measurement == "°F"
    assert "room_temperature" not in profile.mappings


def test_a_profile_of_the_owner_lies_beside_the_settings(write: Write) -> None:
    path = write(("profile: espaltherma_home_assistant", "profile: mine.yaml"))
    (path.parent / "mine.yaml").write_text("signals: {flow_temperature: {select: vorlauf, unit: °C}}")
    settings = load_settings(path, ENVIRONMENT)
    assert settings.directory == path.parent
    assert list(settings.profile_of(settings.heat_pump("daikin").inputs[0]).mappings) == ["flow_temperature"]


def test_tariffs_by_day_and_hour(write: Write) -> None:
    windows = "[{from: '22:00', to: '06:00', price_per_kwh: 0.2}, {from: '12:00', to: '13:00', price_per_kwh: 0.5}]"
    path = write(("0.31}", f"0.31}}\n  - {{name: night, from: 2025-01-01, price_per_kwh: 0.4, windows: {windows}}}"))
    settings = load_settings(path, ENVIRONMENT)
    assert settings.tariff_on(date(2023, 12, 31)) is None
    day, night = settings.tariff_on(date(2024, 12, 31)), settings.tariff_on(date(2025, 1, 1))
    assert day is not None
    assert night is not None
    assert day.price_at(time(23)) == 0.31
    hours = {0: 0.2, 5: 0.2, 6: 0.4, 12: 0.5, 13: 0.4, 21: 0.4, 22: 0.2}
    assert {hour: night.price_at(time(hour)) for hour in hours} == hours


def test_settings_cannot_be_changed(settings: Settings) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        settings.rules.hold = timedelta(0)  # type: ignore[misc]


def test_a_dump_is_a_settings_file_without_its_secrets(settings: Settings, tmp_path: Path) -> None:
    dumped = settings.model_dump(mode="json", exclude_none=True)
    assert "token" not in dumped["sources"][0]
    dumped["sources"][0]["token"] = "${INFLUXDB_TOKEN}"
    stream = StringIO()
    YAML(typ="safe").dump(dumped, stream)
    (tmp_path / "again").mkdir()
    again = tmp_path / "again" / "hp.yaml"
    again.write_text(stream.getvalue(), encoding="utf-8")
    loaded = load_settings(again, ENVIRONMENT)
    assert loaded.model_dump() == settings.model_dump()
    assert loaded.sources == settings.sources
    assert loaded.rules_for("daikin") == settings.rules_for("daikin")
    assert loaded.fingerprint() == settings.fingerprint()


def test_the_fingerprint_is_of_the_content(write: Write, settings: Settings) -> None:
    def fingerprint(*replacements: tuple[str, str]) -> str:
        return load_settings(write(*replacements), ENVIRONMENT).fingerprint()

    assert len(settings.fingerprint()) == 16
    assert fingerprint() == settings.fingerprint()
    assert fingerprint(("20min}", "1200s}  # the same")) == settings.fingerprint()
    assert fingerprint(("    org: home\n    bucket: homeassistant", "    bucket: homeassistant\n    org: home")) == (
        settings.fingerprint()
    )
    assert fingerprint(("20min}", "21min}")) != settings.fingerprint()
    # A default that is written out for all is the same content; for one heat pump it overrides.
    assert fingerprint(("20min}", "20min, quarantine: 90s}")) == settings.fingerprint()
    assert fingerprint(("hold: 10min}", "hold: 10min, quarantine: 90s}")) != settings.fingerprint()


def test_the_fingerprint_of_parts(write: Write, settings: Settings) -> None:
    other = load_settings(write(("Our house", "Their house")), ENVIRONMENT)
    pump = settings.heat_pump("daikin")
    parts = (pump, settings.rules_for(pump), settings.meters_of("daikin"))
    assert settings.fingerprint(*parts) == other.fingerprint(
        other.heat_pump("daikin"), other.rules_for("daikin"), other.meters_of("daikin")
    )
    assert settings.fingerprint(settings.site) != other.fingerprint(other.site)
    assert settings.fingerprint(pump) != settings.fingerprint(settings.rules)
    # This very value must never change by itself: everything stored would be taken for out of date.
    assert settings.fingerprint(Rules()) == "3e56fc087c13f5bf"


def test_models_are_made_in_code_too() -> None:
    source = InfluxdbSource(
        id="a", version=2, url="http://127.0.0.1:8086/", org="o", bucket="b", token=SecretStr("secret-token")
    )
    assert source.url == "http://127.0.0.1:8086"
    assert FilesSource(id="b").folder == "drop/b"
    assert Tariff(name="a", valid_from=date(2024, 1, 1), price_per_kwh=1).price_at(time(0)) == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"version": 1}, "database: found nothing"),
        ({"version": 1, "database": "d", "bucket": "b"}, "bucket: found the key 'bucket'"),
        ({"version": 1, "database": "d", "username": "u"}, "password: found nothing"),
        ({"version": 2, "org": "o", "bucket": "b"}, "token: found nothing"),
        ({"version": 3, "database": "d", "username": "u"}, "username: found the key 'username'"),
    ],
)
def test_a_model_refuses_what_does_not_go_together(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        InfluxdbSource(id="a", url="http://127.0.0.1", **values)


def test_settings_made_in_code_are_checked_as_a_whole() -> None:
    raw = YAML(typ="safe").load(HOUSE)
    raw["sources"][0]["token"] = SecretStr("secret-token")
    raw["site"]["start"] = "2024-01-01"
    raw["tariffs"][0]["from"] = "2024-01-01"
    assert Settings.model_validate(raw).heat_pump("daikin").id == "daikin"
    raw["heat_pumps"][0]["inputs"][0]["source"] = "other"
    with pytest.raises(ValidationError, match=r"heat_pumps\[0\].inputs\[0\].source: allowed: the id of a source"):
        Settings.model_validate(raw)


def test_the_settings_file_is_the_option_then_the_environment_then_hp_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HP_SETTINGS", raising=False)
    assert settings_path() is None
    (tmp_path / "hp.yaml").touch()
    assert settings_path() == Path("hp.yaml")
    monkeypatch.setenv("HP_SETTINGS", "other.yaml")
    assert settings_path() == Path("other.yaml")
    assert settings_path("mine.yaml") == Path("mine.yaml")


def test_the_data_folder_is_the_option_then_the_environment_then_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HP_DATA", raising=False)
    assert data_dir() == Path("data")
    monkeypatch.setenv("HP_DATA", "elsewhere")
    assert data_dir() == Path("elsewhere")
    assert data_dir("mine") == Path("mine")


def test_the_json_schema_names_kinds_and_keys() -> None:
    schema = settings_json_schema()
    assert set(schema["required"]) == {"site", "heat_pumps", "sources"}
    assert set(schema["properties"]["sources"]["items"]["discriminator"]["mapping"]) == set(SOURCE_KINDS)
    assert "from" in schema["$defs"]["Tariff"]["properties"]


def test_settings_know_no_frames_and_no_orchestrator() -> None:
    code = "import sys, hp_pipeline.settings; print({'polars', 'dagster', 'numpy', 'duckdb'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "set()"

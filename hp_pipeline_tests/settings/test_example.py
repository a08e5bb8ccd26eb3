"""The annotated example: valid as it is, valid with everything switched on, and complete."""

import re
from datetime import time, timedelta
from pathlib import Path
from typing import Any

import pytest

from hp_pipeline.settings import (
    FilesSource,
    InfluxdbSource,
    Rules,
    Settings,
    check_settings,
    load_settings,
    settings_json_schema,
)
from hp_pipeline.settings.sources import SOURCE_KINDS

EXAMPLE = Path(__file__).parents[2] / "hp.example.yaml"
ENVIRONMENT = {
    "INFLUXDB_TOKEN": "token-2",
    "INFLUXDB_PASSWORD": "password-1",
    "INFLUXDB3_TOKEN": "token-3",
    "MQTT_PASSWORD": "password-6",
    "SHELLY_PASSWORD": "password-5",
    "VIESSMANN_CLIENT_ID": "client-4",
    "VIESSMANN_USERNAME": "me@example.org",
    "VIESSMANN_PASSWORD": "password-4",
}


@pytest.fixture
def all_on(tmp_path: Path) -> Path:
    path = tmp_path / "hp.yaml"
    path.write_text(EXAMPLE.read_text(encoding="utf-8").replace("#: ", ""), encoding="utf-8")
    return path


def test_the_example_is_valid_and_needs_one_variable() -> None:
    settings = load_settings(EXAMPLE, {"INFLUXDB_TOKEN": "token-2"})
    source = settings.source("home_assistant")
    assert isinstance(source, InfluxdbSource)
    assert source.token is not None
    assert source.token.get_secret_value() == "token-2"
    assert [mistake.key for mistake in check_settings(EXAMPLE, {})] == ["sources[0].token"]


def test_the_example_states_the_defaults_of_the_rules() -> None:
    settings = load_settings(EXAMPLE, ENVIRONMENT)
    assert settings.rules == Rules()
    assert settings.rules.model_fields_set == set(Rules.model_fields)
    assert settings.rules_for("daikin").hold == timedelta(minutes=10)
    assert settings.outputs == Settings.model_fields["outputs"].get_default(call_default_factory=True)


def test_the_example_with_everything_switched_on(all_on: Path) -> None:
    settings = load_settings(all_on, ENVIRONMENT)
    assert {source.kind for source in settings.sources} == set(SOURCE_KINDS)
    assert [source.version for source in settings.sources if isinstance(source, InfluxdbSource)] == [2, 1, 3]
    old_files, spreadsheets = settings.source("old_files"), settings.source("spreadsheets")
    assert isinstance(old_files, FilesSource)
    assert isinstance(spreadsheets, FilesSource)
    assert old_files.time_shift == -timedelta(hours=1)
    assert spreadsheets.folder == "drop/spreadsheets"
    assert spreadsheets.columns.points == ("Vorlauf", "Rücklauf")
    assert settings.tariffs[0].price_at(time(23)) == 0.24


def test_the_example_explains_every_key() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    keys = {key for part in _objects(settings_json_schema()) for key in part["properties"]}
    assert {key for key in keys if not re.search(rf"\b{key}:", text)} == set()


def test_every_key_of_the_schema_says_what_it_means() -> None:
    for part in _objects(settings_json_schema()):
        for key, value in part["properties"].items():
            assert key == "kind" or value.get("description"), key


def _objects(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in [schema, *schema["$defs"].values()] if "properties" in part]

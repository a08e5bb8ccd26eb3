"""A secret is in no message, text, dump, schema or fingerprint, however it got into the file."""

import json
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from hp_pipeline.settings import InfluxdbSource, SettingsError, format_mistakes, load_settings
from hp_pipeline_tests.settings.house import HOUSE

MARK = "Zq7"
"""No word of any message has it, so that a piece of a secret cannot be there by chance."""

# Also characters that mean something in YAML, in regular expressions and in repr.
ODD = st.text(st.sampled_from("abc019 -_.:,;#'\"{}[]()|>&*!%@`\\/$?=~^+<ä€\t"), max_size=12)
SECRETS = st.builds(lambda before, after: f"{MARK}{before}{MARK}{after}", ODD, ODD)
RAW = st.builds(
    lambda before, secret: before + secret, st.sampled_from([*"*&!%@`\"'[{|>$ -", "", "${", "${x "]), SECRETS
)

PLACES = [
    "token: {}",
    "token: [{}]",
    "token: {{{0}: 1, {0}: 2}}",
    "token: a{}",
    "token:{}",
    "token {}",
    "tokn: {}",
    "{{token:{}}}",
    "password: {}",
    "url: http://joe:{}@127.0.0.1",
    "url: http://127.0.0.1/?token={}",
    "token: x\n    token: {}",
    "token: !secret {}",
]


def loaded(text: str, environment: Mapping[str, str]) -> str:
    """Everything that loading says or gives, as one text."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        return loaded_unwarned(text, environment) + "".join(str(warning.message) for warning in warned)


def loaded_unwarned(text: str, environment: Mapping[str, str]) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "hp.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            result = load_settings(path, environment)
        except SettingsError as error:
            shown = [str(error), repr(error), repr(error.mistakes), format_mistakes(error.mistakes)]
            return "\n".join([*shown, *traceback.format_exception(error)])
        dumps = [result.model_dump(), result.model_dump(mode="json"), result.model_dump(exclude_unset=True)]
        return "\n".join([repr(result), str(result), result.model_dump_json(), *map(repr, dumps)])


def yaml_text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


@settings(max_examples=25, deadline=None)
@given(SECRETS)
@example(f"{MARK}")
def test_a_secret_of_the_environment_is_not_shown(secret: str) -> None:
    assert MARK not in loaded(HOUSE, {"INFLUXDB_TOKEN": secret})
    assert MARK not in loaded(HOUSE.replace("version: 2", "version: 1"), {"INFLUXDB_TOKEN": secret})


@settings(max_examples=25, deadline=None)
@given(SECRETS, st.sampled_from(["id: influx", "kind: influxdb", "version: 2", "url: http://127.0.0.1:8086"]))
def test_a_value_of_the_environment_is_not_shown_in_a_mistake(secret: str, place: str) -> None:
    key = place.partition(":")[0]
    said = loaded(HOUSE.replace(place, f"{key}: ${{SECRET}}", 1), {"INFLUXDB_TOKEN": "t", "SECRET": secret})
    assert MARK not in said
    assert f"sources[0].{key}: found " in said


@settings(max_examples=15, deadline=None)
@given(SECRETS)
def test_a_value_of_the_environment_is_not_shown_by_the_vocabulary(secret: str) -> None:
    signals = "{flow_temperature: {unit: '${SECRET}'}, defrost: {values: {x: '${SECRET}'}}, outdoor_temperature: "
    signals += "{select: {measurement: '/(${SECRET}/'}}, room_temperature: {max_age: '${SECRET}'}}"
    text = HOUSE.replace("assistant\n    rules", f"assistant\n        signals: {signals}\n    rules")
    assert MARK not in loaded(text, {"INFLUXDB_TOKEN": "t", "SECRET": secret})


@settings(max_examples=100, deadline=None)
@given(RAW, st.sampled_from(PLACES))
@example(f"&{MARK}", "token: {{{0}: 1, {0}: 2}}")
@example(f"*{MARK}", "token: {}")
@example(f"{MARK}: {MARK}", "token: {}")
def test_a_secret_in_plain_text_is_refused_and_not_shown(secret: str, place: str) -> None:
    said = loaded(HOUSE.replace("token: ${INFLUXDB_TOKEN}", place.format(secret)), {})
    assert "hp.yaml" in said
    # Only what is written as the name of a variable is told, as a name has to be.
    assert MARK not in said or f"${{{MARK}" in said


@settings(max_examples=25, deadline=None)
@given(SECRETS, st.sampled_from(["token", "password"]))
def test_a_secret_in_quotes_is_refused_with_the_remedy(secret: str, key: str) -> None:
    said = loaded(HOUSE.replace("token: ${INFLUXDB_TOKEN}", f"{key}: {yaml_text(secret)}"), {})
    assert MARK not in said
    assert f"sources[0].{key}: found " in said


def test_the_remedy_is_the_environment(tmp_path: Path) -> None:
    said = loaded(HOUSE.replace("${INFLUXDB_TOKEN}", "plain-token"), {})
    assert (
        "hp.yaml:16:12 sources[0].token: found a secret in plain text, "
        "allowed: ${NAME} alone, with the secret in the environment variable NAME" in said
    )


@settings(max_examples=10, deadline=None)
@given(SECRETS, SECRETS)
def test_a_secret_changes_no_fingerprint(one: str, other: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "hp.yaml"
        path.write_text(HOUSE, encoding="utf-8")
        first, second = (load_settings(path, {"INFLUXDB_TOKEN": secret}) for secret in (one, other))
    assert first.fingerprint() == second.fingerprint()
    assert first.fingerprint(first.source("influx")) == second.fingerprint(second.source("influx"))
    source = first.source("influx")
    assert isinstance(source, InfluxdbSource)
    assert source.token is not None
    assert source.token.get_secret_value() == one


def test_a_model_made_in_code_takes_no_plain_text_and_shows_none() -> None:
    values = {"id": "a", "version": 2, "url": "http://127.0.0.1", "org": "o", "bucket": "b"}
    with pytest.raises(ValidationError) as refused:
        InfluxdbSource(**values, token=MARK)
    assert MARK not in str(refused.value)
    source = InfluxdbSource(**values, token=SecretStr(MARK))
    assert MARK not in repr(source) + str(source) + str(source.model_dump()) + source.model_dump_json()

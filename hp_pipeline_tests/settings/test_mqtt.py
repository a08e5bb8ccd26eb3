"""Settings of an MQTT source: what is a mistake, at which key, and with which remedy."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from hp_pipeline.settings import MqttSource
from hp_pipeline.settings.model import EnvironmentText

PLAIN: dict[str, Any] = {"id": "broker", "host": "127.0.0.1", "topics": [{"topic": "house/#"}]}


def test_what_holds_without_being_said() -> None:
    source = MqttSource.model_validate(PLAIN)
    assert source.client == "hp_pipeline_broker"
    assert source.topics[0].point == "{topic}"
    assert source.topics[0].qos == 1
    assert MqttSource.model_validate({**PLAIN, "client_id": "mine"}).client == "mine"


def test_a_password_is_a_secret() -> None:
    source = MqttSource.model_validate({**PLAIN, "username": "me", "password": EnvironmentText("hush")})
    assert isinstance(source.password, SecretStr)
    assert "hush" not in repr(source) and "hush" not in str(source.model_dump())


@pytest.mark.parametrize(
    ("changes", "key", "says"),
    [
        ({"password": EnvironmentText("x")}, "username", "username with password"),
        ({"tls": True, "key_file": "k.pem"}, "certificate_file", "certificate_file with key_file"),
        ({"ca_file": "ca.pem"}, "ca_file", "only with tls: true"),
        ({"topics": []}, "topics", "at least 1"),
        ({"topics": [{"topic": "house/#/power"}]}, "topic", "# stands alone in the last level"),
        ({"topics": [{"topic": "house/a+"}]}, "topic", "+ stands alone in a level"),
        ({"topics": [{"topic": "a", "pattern": "("}]}, "pattern", "a regular expression that can be read"),
        ({"topics": [{"topic": "a/+", "point": "{2}"}]}, "point", "{2} is none of {1}, {path}, {topic}"),
        ({"topics": [{"topic": "a/+", "point": "{1"}]}, "point", "{ and } enclose a name"),
        ({"topics": [{"topic": "a", "values": ["x..y"]}]}, "values", "is no step of a path"),
        ({"topics": [{"topic": "a", "time": "t", "time_topic": "u"}]}, "time_topic", "either time or time_topic"),
        ({"topics": [{"topic": "a/#", "time_topic": "u"}]}, "topic", "a last level of its own"),
        ({"topics": [{"topic": "a/b", "time_topic": "+"}]}, "time_topic", "one level of a topic"),
        ({"topics": [{"topic": "a", "payload": "number", "values": ["x"]}]}, "values", "with payload auto or json"),
        ({"topics": [{"topic": "a", "time_format": "isoo"}]}, "time_format", "iso"),
        ({"availability": [{"topic": "a/+"}]}, "topic", "one topic, without the wildcards"),
    ],
)
def test_a_mistake_is_told_with_its_key_and_remedy(changes: dict[str, Any], key: str, says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        MqttSource.model_validate({**PLAIN, **changes})
    assert key in str(refused.value) and says in str(refused.value)

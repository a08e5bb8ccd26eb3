"""What a Viessmann source needs: one way to log in, and a pace that the account's budget bears."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from hp_pipeline.settings import ViessmannSource
from hp_pipeline.settings.model import EnvironmentText

WITH_PASSWORD: Mapping[str, Any] = {
    "id": "viessmann",
    "client_id": EnvironmentText("client"),
    "username": "me@example.org",
    "password": EnvironmentText("word"),
}


def refused(**changes: Any) -> str:
    with pytest.raises(ValidationError) as error:
        ViessmannSource(**{**WITH_PASSWORD, **changes})
    return str(error.value)


def test_the_defaults_are_those_of_the_cloud() -> None:
    source = ViessmannSource(**WITH_PASSWORD)
    assert (source.calls_per_day, source.calls_per_10min, source.every) == (1450, 120, timedelta(minutes=5))
    assert source.base_url.startswith("https://") and source.login_url.startswith("https://")
    dumped = source.model_dump()
    assert not {"client_id", "password", "refresh_token"} & set(dumped)


def test_there_is_one_way_to_log_in() -> None:
    assert "refresh_token" in refused(username=None, password=None)
    assert "both username and password" in refused(password=None)
    assert ViessmannSource(
        id="v", client_id=EnvironmentText("client"), refresh_token=EnvironmentText("token")
    ).refresh_token


def test_the_pace_fits_the_budget() -> None:
    assert "every: found 1min, allowed: 67s or longer" in refused(every="1min")
    assert ViessmannSource(**WITH_PASSWORD, every="67s").every == timedelta(seconds=67)
    assert ViessmannSource(**WITH_PASSWORD, every="1min", calls_per_day=3000).every == timedelta(minutes=1)
    assert "reserve: found 1400, allowed: more than 50 below calls_per_day (1450)" in refused(reserve=1400)
    assert "plain text" in refused(password="word")

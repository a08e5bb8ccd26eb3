"""What a gauge was before a silence is not carried over it; what states were may be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from hp_pipeline.transforms.decode import decode
from hp_pipeline.transforms.frames import build_frames
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline.vocabulary.rules import Rules

DAY = datetime(2026, 1, 10, tzinfo=UTC)
POWER, MODE, FLOW = "Heat Pump 7 1MIN", "Operation Mode_str", "ESPAltherma - Leaving Water Temperature After BUH"


def frames(silence: timedelta) -> pl.DataFrame:
    """An hour of readings, a silence, an hour of readings in which the power meter is not heard of again."""
    profile = load_profile("espaltherma_home_assistant")
    rows = []
    for minute in range(120):
        time = DAY + timedelta(minutes=minute) + (silence if minute >= 60 else timedelta())
        rows.append((MODE, time, None, "Heating"))
        rows.append((FLOW, time, 30.0 + minute / 10, None))
        if minute < 60:
            rows.append((POWER, time, 1000.0, None))
    schema = {"point": pl.String(), "time": pl.Datetime("us", "UTC"), "value": pl.Float64(), "text": pl.String()}
    readings = pl.DataFrame(rows, schema=schema, orient="row").sort("point", "time")
    end = DAY + timedelta(days=1)
    return build_frames(decode([(readings, profile)]), dict(profile.mappings), "hp", DAY, end, Rules(), False)


def behind(rows: pl.DataFrame, silence: timedelta) -> pl.DataFrame:
    return rows.filter(pl.col("start") >= DAY + timedelta(hours=1) + silence)


def test_power_is_unknown_behind_a_silence_until_it_is_told_again() -> None:
    silence = timedelta(minutes=31)
    found = behind(frames(silence), silence)
    assert found.height > 50
    assert found["electrical_power"].null_count() == found.height
    assert found["flow_temperature"].null_count() == 0
    assert found["operating_mode"].unique().to_list() == ["heating"]


def test_power_is_held_over_a_pause_that_is_no_silence() -> None:
    pause = timedelta(minutes=20)
    assert behind(frames(pause), pause)["electrical_power"].unique().to_list() == [1000.0]

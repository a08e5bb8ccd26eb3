"""How long a state held, since when, and on which days: against a plain reckoning frame by frame."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms import states
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.rules import Rules

START = datetime(2024, 3, 30, tzinfo=UTC)
DAYS = 3
ZONE = "Europe/Berlin"
RULES = Rules()
MINUTE = timedelta(minutes=1)
SEEDS = st.integers(0, 1_000_000)


def _days(random: Random) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Frames and operation of three days: silences short and long, over midnight too, and states that are unknown."""
    rows: list[dict[str, Any]] = []
    time = START + random.randint(0, 300) * MINUTE
    end = START + timedelta(days=DAYS)
    thermostat, valve, running = False, "space", True
    while time < end:
        stays = random.choice([1, 5, 15, 60, 200, 600])
        thermostat = random.choice([True, False, None])
        if random.random() < 0.5:
            valve = random.choice(["space", "dhw"])
        running = random.choice([True, False])
        until = min(time + stays * MINUTE, end)
        while time < until:
            stop = min(time + 15 * MINUTE, until, time.replace(minute=time.minute // 15 * 15) + 15 * MINUTE)
            rows.append({"start": time, "end": stop, "thermostat": thermostat, "three_way_valve": valve, "on": running})
            time = stop
        time += random.choice([0, 0, 0, 20, 31, 29, 300, 1500]) * MINUTE
    frame = pl.DataFrame(rows, schema_overrides={"thermostat": pl.Boolean}).with_columns(
        heat_pump=pl.lit("house"), last_read="start", states_read=pl.col("start").shift(1)
    )
    on = pl.col("on")
    operation = frame.select(
        "start", mode=pl.when(on).then(pl.lit("heating")).otherwise(pl.lit("standby")),
        state=pl.when(on).then(pl.lit("on")).otherwise(pl.lit("off")), compressor_running=on, defrost=pl.lit(False),
        provisional=pl.lit(False),
    )  # fmt: skip
    return conform(frame, "frames").select(states.frame_columns(["thermostat", "three_way_valve"])), operation


def _made(frames: pl.DataFrame, operation: pl.DataFrame, days_at_once: int) -> pl.DataFrame:
    """The rows, so many days at once, each handed what the one before ends with."""
    parts = []
    before = states.carried(conform(None, "state_intervals"))
    for first in range(0, DAYS, days_at_once):
        low = START + timedelta(days=first)
        high = low + timedelta(days=days_at_once)
        within = (pl.col("start") >= low) & (pl.col("start") < high)
        newest = frames.filter(pl.col("start") >= high).is_empty()
        rows = states.state_intervals(frames.filter(within), operation.filter(within), before, ZONE, RULES, newest)
        parts.append(rows)
        last = high - timedelta(days=1)
        before = states.carried(rows.filter(pl.col("start") >= last))
    return pl.concat(parts)


def _reckoned(frames: pl.DataFrame, name: str) -> list[tuple[datetime, datetime, str, bool]]:
    """Begin, end, word, whether its begin was seen: of every stretch, frame by frame."""
    found: list[tuple[datetime, datetime, str, bool]] = []
    read: datetime | None = None
    for start, end, last_read, value in frames.select("start", "end", "last_read", name).iter_rows():
        if value is None:
            continue
        word = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
        silent = read is None or start - read > RULES.session_gap
        if silent or found[-1][2] != word:
            found.append((start, end, word, not silent))
        else:
            found[-1] = (found[-1][0], end, word, found[-1][3])
        read = last_read
    return found


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_stretches_are_those_of_a_reckoning_frame_by_frame(seed: int) -> None:
    days = _days(Random(seed))
    frames, operation = days
    rows = _made(frames, operation, DAYS)
    for name in ("thermostat", "three_way_valve"):
        own = rows.filter(pl.col("signal") == name)
        merged = (
            own.group_by("since", maintain_order=True)
            .agg(pl.col("end").last(), pl.col("state").first(), pl.col("begin_seen").first())
            .rows()
        )
        expected = _reckoned(frames, name)
        assert merged == expected
        known = frames.filter(pl.col(name).is_not_null())
        assert own["known_s"].sum() == (known["end"] - known["start"]).sum().total_seconds()
        befores = own.filter(pl.col("start") == pl.col("since"))["state_before"].to_list()
        assert befores == [expected[number - 1][2] if seen else None for number, (_, _, _, seen) in enumerate(expected)]


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_days_made_one_by_one_are_those_made_at_once(seed: int) -> None:
    days = _days(Random(seed))
    at_once = _made(*days, DAYS)
    assert _made(*days, 1).equals(at_once)
    assert _made(*days, 2).equals(at_once)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_local_days_share_out_what_is_known(seed: int) -> None:
    days = _days(Random(seed))
    rows = _made(*days, DAYS)
    days_touched = [date(2024, 3, 29) + timedelta(days=number) for number in range(DAYS + 3)]
    daily = states.state_daily(rows, days_touched, ZONE)
    assert daily.equals(pl.concat(states.state_daily(rows, [day], ZONE) for day in days_touched))
    for name in rows["signal"].unique():
        own, of_days = rows.filter(pl.col("signal") == name), daily.filter(pl.col("signal") == name)
        assert of_days["known_s"].sum() == own["known_s"].sum()
        begun = own.filter(pl.col("start") == pl.col("since"), "begin_seen")
        assert of_days["begins"].sum() == begun.height
        assert (of_days.group_by("start").agg(pl.col("share").sum())["share"] - 1).abs().max() < 1e-12
    assert (daily["longest_s"] <= (daily["end"] - daily["start"]).dt.total_seconds()).all()
    assert (daily["known_s"] <= (daily["end"] - daily["start"]).dt.total_seconds()).all()

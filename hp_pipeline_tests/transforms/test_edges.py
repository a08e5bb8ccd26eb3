"""Edges: how long before a frame's start a state may have changed, where its source tells when it did."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

import polars as pl
import pytest

from hp_pipeline.transforms import events, figures, operation, states
from hp_pipeline.transforms.decode import decode
from hp_pipeline.transforms.energy import Energies
from hp_pipeline.transforms.frames import build_frames
from hp_pipeline.transforms.schema import UTC, conform
from hp_pipeline.vocabulary.profiles import Profile
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline_tests.transforms.test_frames import DAY, profile, said

END = DAY + timedelta(days=1)
CHANGES = ("operating_mode", "defrost")
METER = profile(**dict.fromkeys(("operating_mode", "defrost", "flow_rate")))


def telling(changes: dict[str, str] | None, **overrides: Any) -> Profile:
    """The test's profile, whose states tell their changes so."""
    return profile(
        operating_mode={
            "select": "mode",
            "values": {"H": "heating", "S": "standby"},
            "max_age": "1h",
            "changes": changes,
        },
        defrost={"select": "defrost", "max_age": "1h", "changes": changes},
        **overrides,
    )


DATED, PUBLISHED, POLLED = telling({"dated_to": "1s"}), telling({"published_within": "5s"}), telling(None)


def together(*series: pl.DataFrame) -> pl.DataFrame:
    """The readings of one source."""
    return pl.concat(series).sort("point", "time")


def framed(*inputs: tuple[pl.DataFrame, Profile], polls: Sequence[Sequence[float]] = ()) -> pl.DataFrame:
    """The day's frames."""
    asked = [pl.Series([DAY + timedelta(seconds=at) for at in times], dtype=UTC) for times in polls]
    mappings = {name: mapping for _, by in inputs[::-1] for name, mapping in by.mappings.items()}
    return build_frames(decode(inputs, asked), mappings, "hp", DAY, END, Rules(), False)


def edges(frames: pl.DataFrame, *names: str) -> list[tuple[float, float | None]]:
    """Where a state changes, and since when it may have: seconds of the day."""
    changes = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in names)
    return [
        ((start - DAY).total_seconds(), None if after is None else (after - DAY).total_seconds())
        for start, after in frames.slice(1).filter(frames.select(changes).to_series().slice(1))
        .select("start", "changed_after").rows()
    ]  # fmt: skip


MODE = said("mode", (0, "S"), (300, "S"), (433, "H"), (600, "H"), (900, "S"))


def test_a_dated_change_is_known_as_exactly_as_its_time() -> None:
    frames = framed((MODE, DATED), polls=[[0, 300, 600, 900]])
    # At 900 it has no time of its own: the source was asked then.
    assert edges(frames, "operating_mode") == [(433, 432), (900, None)]
    assert edges(framed((MODE, DATED)), "operating_mode") == [(433, 432), (900, 899)]
    assert frames.equals(framed((MODE, POLLED)).with_columns(changed_after=frames["changed_after"]))


def test_a_dated_change_is_true_behind_an_outage_of_ours_as_long_as_the_state_is_held() -> None:
    meter = said("power", *((at, 500.0) for at in range(0, 5400, 60)))
    polls = [[0, 2400], []]
    told = said("mode", (0, "S"), (1300, "H"), (2400, "H"))
    assert edges(framed((told, DATED), (meter, METER), polls=polls), "operating_mode") == [(1300, 1299)]
    late = said("mode", (0, "S"), (5000, "H"))  # held for an hour, and unknown until the change
    frames = framed((late, DATED), (meter, METER))
    assert edges(frames, "operating_mode") == [(3660, None), (5000, None)]
    # Without a meter there is a hole before it: what was before ended somewhere in it.
    assert edges(framed((told, DATED), polls=[[0, 2400]]), "operating_mode") == [(1300, None)]


def test_a_publisher_says_of_all_states_that_they_are_as_before() -> None:
    flow = said("flow", *((at, 10.0) for at in range(0, 300, 10)))
    told = together(flow, said("mode", (0, "S"), (200.1, "H")), said("defrost", (0, "off")))
    frames = framed((told, PUBLISHED))
    assert edges(frames, "operating_mode") == [(200.1, 190)]  # at 200 it spoke in the same breath
    edge = frames.filter(pl.col("changed_after").is_not_null())
    assert edge["states_read"].equals(edge["changed_after"].alias("states_read"))
    assert framed((told, POLLED)).filter(operating_mode="heating")["states_read"][0] == DAY


def test_an_edge_behind_a_silence_of_a_publisher_may_lie_anywhere_in_it() -> None:
    meter = said("power", *((at, 500.0) for at in range(0, 3000, 60)))
    heard = [*range(0, 100, 10), *range(1500, 3000, 10)]
    flow, begin = said("flow", *((at, 10.0) for at in heard)), (0, "S")
    online = said("online", (1490, "on"))
    by = telling({"published_within": "5s"}, device_online={"select": "online"})
    for at in (1500, 1500.2, 1700.0):  # retained, in the same breath, or with what is said anew later
        told = together(flow, said("mode", begin, (at, "H")), online)
        assert edges(framed((told, by), (meter, METER)), "operating_mode") == [(at, 90)]
    # Of what was told again since then, it tells changes as before.
    told = together(flow, said("mode", begin, (1500, "S"), (1700.0, "H")), online)
    assert edges(framed((told, by), (meter, METER)), "operating_mode") == [(1700, 1690)]


def test_an_edge_is_as_uncertain_as_what_is_told_least_exactly_of_it() -> None:
    told = together(said("mode", (0, "S"), (100, "H"), (200, "S")), said("defrost", (0, "off"), (100, "on")))
    both = telling({"dated_to": "1s"})
    coarse = {"select": "defrost", "max_age": "1h", "changes": {"dated_to": "20s"}}
    polled = {"select": "defrost", "max_age": "1h"}
    assert edges(framed((told, both)), *CHANGES) == [(100, 99), (200, 199)]
    less = profile(operating_mode=_mapping(both), defrost=coarse)
    assert edges(framed((told, less)), *CHANGES) == [(100, 80), (200, 199)]
    least = profile(operating_mode=_mapping(both), defrost=polled)
    assert edges(framed((told, least)), *CHANGES) == [(100, None), (200, 199)]


def _mapping(_: Profile) -> dict[str, Any]:
    return {"select": "mode", "values": {"H": "heating", "S": "standby"}, "changes": {"dated_to": "1s"}}


def test_a_state_that_was_unknown_has_no_edge_that_is_told() -> None:
    told = together(said("mode", (0, "?"), (100, "H"), (200, "?"), (300, "S")))
    assert edges(framed((told, DATED)), "operating_mode") == [(100, None), (200, None), (300, None)]


@pytest.mark.parametrize("seed", range(6))
def test_days_made_one_by_one_are_those_made_at_once(seed: int) -> None:
    random = Random(seed)
    at = 0.0
    told: dict[str, list[tuple[float, float | str]]] = {"mode": [], "defrost": [], "flow": []}
    while at < 3 * 86400:
        point = random.choice(list(told))
        word = {"mode": random.choice("HS"), "defrost": random.choice(["on", "off"]), "flow": 10.0}[point]
        told[point].append((at, word))
        at += random.choice([0.5, 30, 300, 1000, 4000])
    readings = together(*(said(point, *series) for point, series in told.items()))
    by = profile(
        operating_mode=_mapping(DATED) | {"changes": {"published_within": "5s"}, "max_age": "1h"},
        defrost={"select": "defrost", "max_age": "1h", "changes": {"dated_to": "1s"}},
    )

    def made(first: int, last: int) -> pl.DataFrame:
        start, end = DAY + timedelta(days=first), DAY + timedelta(days=last)
        near = readings.filter(pl.col("time") >= start - timedelta(days=1), pl.col("time") < end + Rules().hold)
        return build_frames(decode([(near, by)]), dict(by.mappings), "hp", start, end, Rules(), True)

    at_once = made(0, 3)
    assert at_once["changed_after"].drop_nulls().len() > 20
    assert pl.concat([made(day, day + 1) for day in range(3)]).equals(at_once)


def test_the_tables_say_edges_as_told_and_powers_as_read() -> None:
    """A session from 433 s to 1033 s, asked for every five minutes."""
    polls = list(range(0, 1801, 300))
    modes = [(at, "H" if 433 <= at < 1033 else "S") for at in sorted([*polls, 433, 1033])]
    power = said("power", *((at, 900.0 if 433 <= at < 1033 else 0.0) for at in polls))
    found = {}
    for by in (DATED, POLLED):
        frames = framed((together(said("mode", *modes), power), by), polls=[polls])
        judged = operation.operation(frames, DAY, END, Rules(), more_follows=True)
        counted = conform(None, "counters"), conform(None, "counter_states").with_columns(day=pl.lit(None, pl.Date))
        energies = Energies(frames, judged, *counted).of_frames()
        pieces = figures.pieces(frames, judged, energies, pl.col("start").dt.truncate("1h"), Rules())
        sessions = events.sessions(events.segments(pieces), DAY, END, Rules())
        rows = states.state_intervals(
            frames.select(states.frame_columns(["operating_mode"])), judged.select(states.OPERATION_COLUMNS),
            states.carried(conform(None, "state_intervals")), "UTC", Rules(), newest=True,
        )  # fmt: skip
        found[by is DATED] = (judged, rows, sessions)
    (told, rows, sessions), (polled, polled_rows, polled_sessions) = found[True], found[False]
    begins = told.filter("session_start")
    assert begins["unseen_s"].to_list() == [None, 1, 1]
    assert polled.filter("session_start")["unseen_s"].to_list() == [None, 133, 133]
    assert polled.drop("unseen_s").equals(told.drop("unseen_s"))
    assert sessions["start_uncertainty_s"].to_list() == [None, 1, 1]
    assert sessions["end_uncertainty_s"].to_list() == [1, 1, None]
    # The power is read every five minutes, however exactly the edges are told: the band of the energy stays.
    edges_only = ("start_uncertainty_s", "end_uncertainty_s")
    assert sessions.drop(edges_only).equals(polled_sessions.drop(edges_only))
    heating = sessions.row(by_predicate=pl.col("mode") == "heating", named=True)
    assert heating["edge_uncertainty_s2"] == 133.0**2 + 167.0**2  # with that of the power, which shows the compressor
    assert heating["electrical_energy_low_kwh"] < 0.15 < heating["electrical_energy_high_kwh"]
    uncertain = pl.col("since_uncertainty_s")
    for signal in ("operating_mode", "mode"):
        assert rows.filter(pl.col("signal") == signal).select(uncertain).to_series().to_list() == [None, 1, 1]
        assert polled_rows.filter(pl.col("signal") == signal)["since_uncertainty_s"].to_list() == [None, 133, 133]

"""What a meter counts while one mode follows another: each has its part, and no quarter of an hour has more or less."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from hp_pipeline.transforms.frames import QUARTER
from hp_pipeline.transforms.mode_changes import divided_at_changes

NOON = datetime(2025, 1, 14, 12, tzinfo=UTC)
MODES = ("heating", "dhw", "cooling", "standby", None)
MINUTE = 60
BY_COUNTER = pl.col("way") == 1
Frame = tuple[int, str | None, int | None, float | None, int]
"""Where it begins (seconds after noon), its mode, its energy, how long before it the mode was read, its way."""


def rows_of(frames: Sequence[Frame], end: int) -> pl.DataFrame:
    begins = [*(frame[0] for frame in frames), end]
    rows = [
        (NOON + timedelta(seconds=start), NOON + timedelta(seconds=until), *frame[1:])
        for frame, (start, until) in zip(frames, pairwise(begins), strict=True)
    ]
    moment = pl.Datetime("us", "UTC")
    types = {
        "start": moment, "end": moment, "mode": pl.String(), "energy": pl.Int64(), "unseen_s": pl.Float64(),
        "way": pl.Int64(),
    }  # fmt: skip
    return pl.DataFrame(rows, schema=types, orient="row")


def divided(rows: pl.DataFrame) -> pl.DataFrame:
    return divided_at_changes(rows, ["energy"], BY_COUNTER)


def energies(frames: Sequence[Frame], end: int) -> list[int | None]:
    return divided(rows_of(frames, end))["energy"].to_list()


def of_minutes(*modes: tuple[str | None, int | None], way: int = 1, unseen_s: float = MINUTE) -> list[Frame]:
    return [(place * MINUTE, mode, energy, unseen_s, way) for place, (mode, energy) in enumerate(modes)]


def test_the_later_half_of_the_time_of_a_change_is_the_new_modes() -> None:
    assert energies(of_minutes(("dhw", 100), ("dhw", 80), ("heating", 40)), 180) == [100, 40, 80]


def test_a_change_may_lie_further_back_than_a_frame() -> None:
    frames = of_minutes(("dhw", 100), ("dhw", 80), ("heating", 40), unseen_s=180)
    assert energies(frames, 180) == [50, 0, 170]


def test_a_change_that_a_source_dates_itself_divides_no_more_than_that() -> None:
    assert energies(of_minutes(("dhw", 120), ("heating", 60), unseen_s=1), 120) == [119, 61]


def test_what_begins_from_rest_or_after_a_gap_is_left() -> None:
    for modes in (("standby", "heating"), ("heating", "standby"), (None, "heating"), ("heating", "heating")):
        assert energies(of_minutes((modes[0], 100), (modes[1], 40)), 120) == [100, 40]
    apart = rows_of([(0, "dhw", 100, 60.0, 1), (90, "heating", 40, 90.0, 1)], 150).with_columns(
        end=pl.Series([NOON + timedelta(seconds=60), NOON + timedelta(seconds=150)])
    )
    assert divided(apart).equals(apart)


def test_what_is_not_a_counters_is_as_late_as_the_mode_and_stays() -> None:
    for ways in ((2, 2), (2, 1), (1, 2)):
        frames: list[Frame] = [(0, "dhw", 100, 60.0, ways[0]), (60, "heating", 40, 60.0, ways[1])]
        assert energies(frames, 120) == [100, 40]
    between: list[Frame] = [(0, "dhw", 100, 60.0, 1), (60, "dhw", 80, 60.0, 2), (120, "dhw", 60, 60.0, 1)]
    assert energies([*between, (180, "heating", 40, 300.0, 1)], 240) == [50, 80, 0, 150]


def test_nothing_leaves_its_quarter_of_an_hour() -> None:
    quarter = QUARTER // timedelta(seconds=1)
    frames: list[Frame] = [(quarter - 60, "dhw", 100, 60.0, 1), (quarter, "dhw", 50, 60.0, 1)]
    assert energies([*frames, (quarter + 30, "heating", 40, 90.0, 1)], quarter + 60) == [100, 0, 90]
    assert energies([frames[0], (quarter, "heating", 40, 60.0, 1)], quarter + 60) == [100, 40]


@st.composite
def histories(draw: st.DrawFn) -> pl.DataFrame:
    """Frames without a break over some quarters, cut where quarters begin."""
    quarter = QUARTER // timedelta(seconds=1)
    end = 4 * quarter
    begins = draw(st.sets(st.integers(1, end - 1), max_size=40)) | set(range(0, end, quarter))
    return rows_of(
        [
            (
                begin,
                draw(st.sampled_from(MODES)),
                draw(st.none() | st.integers(-(10**9), 10**12)) if (way := draw(st.sampled_from((1, 1, 1, 2)))) == 2
                else draw(st.integers(0, 10**12)),
                draw(st.none() | st.floats(0, 2000)),
                way,
            )
            for begin in sorted(begins)
        ],
        end,
    )  # fmt: skip


@given(histories())
def test_every_quarter_keeps_its_energy_and_no_part_is_negative(rows: pl.DataFrame) -> None:
    found = divided(rows)
    assert found.drop("energy").equals(rows.drop("energy"))
    by_quarter = (
        pl.concat([rows.with_columns(of=pl.lit("before")), found.with_columns(of=pl.lit("after"))])
        .group_by(pl.col("start").dt.truncate(QUARTER), "of")
        .agg(pl.col("energy").sum())
        .pivot("of", index="start")
    )
    assert by_quarter["before"].equals(by_quarter["after"])
    assert (found.filter(BY_COUNTER)["energy"] >= 0).all()
    others = pl.col("way") != 1
    assert found.filter(others).equals(rows.filter(others))


@given(histories(), st.integers(0, 3))
def test_a_quarter_is_divided_alike_whatever_is_beside_it(rows: pl.DataFrame, place: int) -> None:
    begin = NOON + place * QUARTER
    its = pl.col("start").is_between(begin, begin + QUARTER, closed="left")
    assert divided(rows).filter(its).equals(divided(rows.filter(its)))


@given(st.lists(st.integers(1, MINUTE - 1), min_size=1, max_size=30), st.integers(500, 4000), st.integers(500, 4000))
def test_no_mode_is_off_by_more_than_half_of_what_was_counted_meanwhile(
    delays: list[int], before_w: int, after_w: int
) -> None:
    """Hot water, then heating, polled every minute, which begins some seconds before the poll that sees it."""
    for delay in delays:
        counted = before_w * (MINUTE - delay) + after_w * delay
        modes = (("dhw", before_w * MINUTE), ("dhw", counted), ("heating", after_w * MINUTE))
        found = divided(rows_of(of_minutes(*modes), 3 * MINUTE))
        of_heating = found.filter(mode="heating")["energy"].sum()
        true = after_w * (MINUTE + delay)
        assert abs(of_heating - true) <= max(before_w, after_w) * MINUTE / 2 + 1

"""The session rule: the hand cases that it was written for, a fuzz against the oracle, and that it is local."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms import inference, operation
from hp_pipeline.transforms.schema import UTC as UTC_TYPE
from hp_pipeline.transforms.schema import schema as table_schema
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline_tests.transforms.oracle import Frame, judge

DAY = datetime(2024, 10, 12, tzinfo=UTC)
RULES = Rules(infer_modes=False)  # the rule itself: what is inferred has tests of its own
OPERATING_MODE = {"heating": "heating", "dhw": "heating", "standby": "standby", "cooling": "cooling", None: None}
VALVE = {"dhw": "dhw", "heating": "space"}


def as_table(frames: list[Frame], day: datetime = DAY) -> pl.DataFrame:
    """Frames of the oracle as the table that `operation` reads, seconds counted from `day`."""
    rows = {
        "heat_pump": ["hp"] * len(frames),
        "start": [day + timedelta(seconds=frame.start) for frame in frames],
        "end": [day + timedelta(seconds=frame.end) for frame in frames],
        "last_read": [day + timedelta(seconds=frame.read) for frame in frames],
        "operating_mode": [OPERATING_MODE[frame.raw] for frame in frames],
        "three_way_valve": [None if frame.raw is None else VALVE.get(frame.raw) for frame in frames],
        "defrost": [frame.defrost for frame in frames],
        "compressor_on": [frame.compressor for frame in frames],
    }
    schema = {
        "heat_pump": pl.String(),
        **dict.fromkeys(("start", "end", "last_read"), UTC_TYPE),
        **dict.fromkeys(("operating_mode", "three_way_valve"), pl.String()),
        **dict.fromkeys(("defrost", "compressor_on"), pl.Boolean()),
    }
    missing = {name: kind for name, kind in table_schema("frames").items() if name not in schema}
    return pl.DataFrame(rows, schema=schema).with_columns(
        pl.lit(None, kind).alias(name) for name, kind in missing.items()
    )


def run(frames: list[Frame], rules: Rules = RULES) -> pl.DataFrame:
    """The table `operation` of a day's frames."""
    return operation.operation(as_table(frames), DAY, DAY + timedelta(days=1), rules, more_follows=False)


def scene(*parts: tuple[int, str, bool], pace: float = 30) -> list[Frame]:
    """Frames of 30 s from noon on, or of another pace: (number of frames, raw mode, defrost flag)."""
    frames = []
    start = 12 * 3600.0
    for count, raw, defrost in parts:
        for _ in range(count):
            frames.append(Frame(start, start + pace, start, raw, defrost))
            start += pace
    return frames


H, W, S = "heating", "dhw", "standby"
CASES = {
    "A valve returns one frame after the defrost flag clears": (
        [(10, H, False), (6, W, True), (1, W, False), (10, H, False)],
        [(H, 27)],
    ),
    "B valve one frame before the defrost": (
        [(10, H, False), (1, W, False), (6, W, True), (3, H, True), (10, H, False)],
        [(H, 30)],
    ),
    "B2 valve two frames before the defrost": (
        [(10, H, False), (2, W, False), (5, W, True), (4, H, True), (10, H, False)],
        [(H, 31)],
    ),
    "B4 valve 120 s before the defrost is outside the quarantine": (
        [(10, H, False), (4, W, False), (5, W, True), (4, H, True), (10, H, False)],
        [(H, 10), (W, 9), (H, 14)],
    ),
    "C hot water begins during a defrost of heating": (
        [(10, H, False), (2, H, True), (2, W, True), (50, W, False), (5, S, False)],
        [(H, 12), (W, 52), (S, 5)],
    ),
    "D defrost within hot water, valve stays": (
        [(5, H, False), (40, W, False), (8, W, True), (40, W, False), (5, H, False)],
        [(H, 5), (W, 88), (H, 5)],
    ),
    "E defrost within hot water, valve swings to the house": (
        [(40, W, False), (8, H, True), (40, W, False)],
        [(W, 88)],
    ),
    "F readings begin within an excursion": ([(4, W, True), (3, H, True), (20, H, False)], [(H, 27)]),
    "G readings end within an excursion": ([(20, H, False), (1, W, False), (3, W, True)], [(H, 24)]),
    "H the demand ends during the excursion": ([(20, H, False), (5, W, True), (5, S, False)], [(H, 25), (S, 5)]),
    "I all of the block is an excursion": (
        [(5, S, False), (5, W, True), (5, S, False)],
        [(S, 5), (W, 5), (S, 5)],
    ),
    "J phantom frame of heating at the end of hot water": (
        [(30, W, False), (1, H, False), (10, S, False)],
        [(W, 31), (S, 10)],
    ),
    "K a defrost flag that is stuck for more than 20 min": (
        [(10, H, True), (40, W, True), (10, H, True)],
        [(H, 10), (W, 40), (H, 10)],
    ),
    "L two excursions in one defrost": (
        [(20, H, False), (3, W, True), (1, H, True), (3, W, True), (20, H, False)],
        [(H, 47)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_hand_case(name: str) -> None:
    parts, expected = CASES[name]
    result = run(scene(*parts)).with_columns(number=pl.col("session_start").cum_sum())
    sessions = result.group_by("number", maintain_order=True).agg(pl.col("mode").first(), frames=pl.len())
    assert sessions.select("mode", "frames").rows() == expected


@pytest.mark.parametrize(
    ("pace", "parts", "expected"),
    [
        (300, [(5, H, False), (1, W, False), (1, W, True), (5, H, False)], [(H, 12)]),
        (300, [(5, H, False), (1, W, True), (1, W, False), (5, H, False)], [(H, 12)]),
        # Two readings before the defrost it is hot water; and at a pace slower than `hold` nothing is said of between.
        (300, [(5, H, False), (2, W, False), (1, W, True), (5, H, False)], [(H, 5), (W, 3), (H, 5)]),
        (420, [(5, H, False), (1, W, False), (1, W, True), (5, H, False)], [(H, 5), (W, 2), (H, 5)]),
        (120, [(9, H, False), (1, W, False), (2, W, True), (9, H, False)], [(H, 21)]),
        (120, [(9, H, False), (2, W, False), (2, W, True), (9, H, False)], [(H, 9), (W, 4), (H, 9)]),
    ],
)
def test_where_states_are_read_seldom_a_defrost_may_have_begun_since_the_reading_before(
    pace: float, parts: list[tuple[int, str, bool]], expected: list[tuple[str, int]]
) -> None:
    result = run(scene(*parts, pace=pace)).with_columns(number=pl.col("session_start").cum_sum())
    sessions = result.group_by("number", maintain_order=True).agg(pl.col("mode").first(), frames=pl.len())
    assert sessions.select("mode", "frames").rows() == expected


def test_at_a_slow_pace_what_a_stuck_defrost_changes_was_provisional() -> None:
    believed = run(scene((20, H, False), (1, W, False), (4, W, True), pace=300))
    stuck = run(scene((20, H, False), (1, W, False), (6, W, True), pace=300)).head(believed.height)
    assert set(believed["mode"]) == {H} and stuck["mode"].to_list() == [H] * 20 + [W] * 5
    changed = believed["mode"] != stuck["mode"]
    assert believed.filter(changed)["provisional"].all()


def test_an_unfinished_excursion_is_provisional_and_what_lies_long_before_is_not() -> None:
    result = run(scene((100, H, False), (1, W, False), (3, W, True)))
    settled = timedelta(minutes=20) + 2 * timedelta(seconds=90)
    newest = result["start"].max()
    assert result.filter("provisional")["start"].min() > newest - settled
    assert result.filter(~pl.col("provisional"))["start"].max() <= newest - settled
    assert not operation.operation(
        as_table(scene((100, H, False))), DAY, DAY + timedelta(days=1), RULES, more_follows=True
    )["provisional"].any()


DURATIONS = [30.0] * 30 + [60.0] * 4 + [9.0, 21.0, 90.0, 120.0, 299.0, 300.0, 301.0, 900.0, 1800.0, 1801.0, 4000.0]


@st.composite
def histories(draw: st.DrawFn, most: int = 70) -> list[Frame]:
    """Frames as a machine with a mind of its own gives them: irregular, with gaps, stuck flags and unknown modes."""
    random = draw(st.randoms(use_true_random=False))
    frames: list[Frame] = []
    start = random.choice([0.0, 3600.0 * 3])
    raw: str | None = "standby"
    defrost: bool | None = False
    compressor: bool | None = None
    restless = random.choice([0.05, 0.15, 0.4])
    for _ in range(draw(st.integers(1, most))):
        step = random.choice(DURATIONS)
        end = start + min(step, 300.0)
        frames.append(Frame(start, end, max(start, end - random.choice([5.0, 30.0, 300.0])), raw, defrost, compressor))
        start += step
        if random.random() < restless:
            raw = random.choice(["heating", "heating", "dhw", "dhw", "standby", "cooling", None])
        if random.random() < 0.15:
            defrost = random.choice([True, True, False, False, None])
        if random.random() < 0.2:
            compressor = random.choice([True, False, None])
    return frames


@settings(max_examples=150, deadline=None)
@given(histories())
def test_equals_the_oracle(frames: list[Frame]) -> None:
    judge(frames, RULES)
    result = run(frames)
    shown = result.select(
        "mode",
        "gap",
        "state",
        "defrost",
        "session_start",
        "cycle_start",
        "defrost_start",
        "compressor_start",
        "unseen_s",
    ).rows()
    expected = [
        (
            *(frame.mode, frame.gap and frame.raw is not None, frame.state, frame.believed),
            *(frame.session_start, frame.cycle_start, frame.defrost_start, frame.compressor_start, frame.unseen),
        )
        for frame in frames
    ]
    assert shown == expected


def test_the_fuzz_reaches_every_part_of_the_rule() -> None:
    """The fuzz would be worth little if excursions and absorbed islands hardly occurred in it."""
    seen = {"excursion": 0, "absorbed": 0, "stuck": 0, "gap": 0, "frames": 0}

    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(histories())
    def count(frames: list[Frame]) -> None:
        judge(frames, RULES)
        known = [frame for frame in frames if frame.raw is not None]
        seen["frames"] += len(frames)
        seen["excursion"] += sum(frame.excursion for frame in known)
        seen["absorbed"] += sum(frame.effective != frame.mode for frame in known)
        seen["stuck"] += sum(bool(frame.defrost) and not frame.believed for frame in known)
        seen["gap"] += sum(frame.gap for frame in known)

    count()
    assert all(number > 20 for number in seen.values()), seen


@st.composite
def long_histories(draw: st.DrawFn) -> list[Frame]:
    """Two days of a machine: a few lively minutes, then a long time of one mode, again and again."""
    random = draw(st.randoms(use_true_random=False))
    frames: list[Frame] = []
    start = -86400.0
    while start < 2 * 86400:
        for _ in range(random.randint(0, 5)):
            raw, defrost = random.choice(["heating", "dhw", "standby"]), random.random() < 0.5
            for _ in range(random.choice([1, 1, 2, 3, 10])):
                frames.append(Frame(start, start + 30, start, raw, defrost, random.random() < 0.5))
                start += 30
        raw, running = random.choice(["heating", "dhw", "standby"]), random.random() < 0.5
        stuck = random.random() < 0.05
        for _ in range(random.choice([10, 20, 40])):
            frames.append(Frame(start, start + 300, start, raw, stuck, running))
            start += 300
        if random.random() < 0.1:
            start += random.choice([900.0, 3600.0, 5 * 3600.0])
    return frames


def _in_us(frames: pl.DataFrame) -> pl.DataFrame:
    return frames.with_columns(
        raw_mode=inference.raw_mode(),
        from_us=pl.col("start").dt.epoch("us"),
        till_us=pl.col("end").dt.epoch("us"),
        read_us=pl.col("last_read").dt.epoch("us"),
        states_us=pl.col("states_read").dt.epoch("us"),
        changed_us=pl.col("changed_after").dt.epoch("us"),
    )


@settings(max_examples=25, deadline=None)
@given(long_histories(), st.integers(-20 * 60, 40 * 60), st.integers(1, 24 * 60))
def test_a_window_with_two_hours_around_it_gives_the_modes_of_the_whole_history(
    frames: list[Frame], first_minute: int, minutes: int
) -> None:
    table = _in_us(as_table(frames))
    whole = operation.modes(table, RULES)
    first = DAY + timedelta(minutes=first_minute)
    last = first + timedelta(minutes=minutes)
    margin = timedelta(hours=2)
    seen = table.filter(pl.col("start") >= first - margin, pl.col("start") < last + margin)
    cut = operation.modes(seen, RULES) if seen.height else seen.with_columns(mode=pl.lit(None, pl.String))
    inside = (pl.col("start") >= first) & (pl.col("start") < last)
    assert cut.filter(inside)["mode"].to_list() == whole.filter(inside)["mode"].to_list()


@settings(max_examples=25, deadline=None)
@given(st.one_of(long_histories(), st.just([])), st.randoms(use_true_random=False))
@example([], None)
def test_days_alone_give_the_bytes_of_days_at_once_even_when_a_valve_flutters_for_hours(
    frames: list[Frame], random
) -> None:  # type: ignore[no-untyped-def]
    if not frames:  # nothing but short islands, all through two midnights
        frames = [
            Frame(t, t + 30.0, t, ("heating", "dhw", "standby")[t // 30 % 3], t % 600 < 120, None)
            for t in range(-6 * 3600, 30 * 3600, 30)
        ]
    table = as_table(frames)
    days = [DAY + timedelta(days=count) for count in (-1, 0, 1)]
    at_once = operation.operation(table, days[0], days[-1] + timedelta(days=1), RULES, more_follows=True)
    alone = [
        operation.operation(
            table.filter(
                pl.col("start") >= day - operation.MARGIN, pl.col("start") < day + timedelta(days=1) + operation.MARGIN
            ),
            day,
            day + timedelta(days=1),
            RULES,
            more_follows=True,
        )
        for day in days
    ]
    assert pl.concat(alone).equals(at_once)


@settings(max_examples=50, deadline=None)
@given(histories())
def test_the_rule_moves_time_between_modes_but_loses_none(frames: list[Frame]) -> None:
    result = run(frames).with_columns(span=pl.col("end") - pl.col("start"))
    known = result.filter(pl.col("raw_mode").is_not_null())
    assert known["mode"].null_count() == 0
    assert result.filter(pl.col("mode").is_not_null()).height == known.height
    assert result["start"].to_list() == as_table(frames)["start"].to_list()
    assert set(known["mode"]) <= set(known["raw_mode"])


def test_the_compressor_is_told_by_what_knows_it_best() -> None:
    frames = as_table(scene((2, H, False))).with_columns(
        thermostat=pl.lit(True), electrical_power=pl.lit(20.0), compressor_current=pl.Series([None, 4.0])
    )
    result = operation.operation(frames, DAY, DAY + timedelta(days=1), RULES, more_follows=True)
    assert result["compressor_running"].to_list() == [False, True]


def test_a_start_of_the_compressor_in_an_unseen_time_is_not_counted() -> None:
    def starts(silence: float) -> list[bool]:
        frames = [Frame(0, 30, 0, S, False, False), Frame(silence, silence + 30, silence, H, False, True)]
        return run(frames)["compressor_start"].to_list()

    assert starts(1800) == [False, True]
    assert starts(1801) == [False, False]

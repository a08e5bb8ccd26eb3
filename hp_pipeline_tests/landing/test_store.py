"""The landing store: lossless, change-only, bounded, and explicit about what is wrong."""

from __future__ import annotations

import math
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.landing.schema import NEWEST, migrate, version_of
from hp_pipeline.landing.store import DRIFT_POINT, FILE, Attempt, Landing, LandingError, micros
from hp_pipeline.sources.live import Document, Outcome, Polled, Reading
from hp_pipeline_tests.landing.house import NOON, attempt

START = datetime(2026, 1, 10, 23, 58, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def landing(tmp_path: Path) -> Iterator[Landing]:
    with Landing(tmp_path) as opened:
        yield opened


def good(time: datetime, *readings: Reading, source: str = "pump", **polled: object) -> Attempt:
    return Attempt(source, time, SECOND / 10, Outcome.ok, Polled(readings, **polled), due=time, time=time)  # type: ignore[arg-type]


def failed(time: datetime, outcome: Outcome = Outcome.timeout) -> Attempt:
    return Attempt("pump", time, SECOND, outcome, due=time, what="no answer")


def told(landing: Landing, source: str = "pump") -> list[list[tuple[str, int, float | str]]]:
    far = timedelta(days=4000)
    return [sorted(readings) for _, readings in landing.series(source, START - far, START + far)]


def many(value: float, count: int = 20) -> list[Reading]:
    return [Reading(f"p{number}", value if number == 0 else float(number)) for number in range(count)]


def test_only_changes_are_stored_and_everything_is_given_back(landing: Landing) -> None:
    times = [START + number * 10 * SECOND for number in range(6)]
    landing.record([good(time, *many(index // 2)) for index, time in enumerate(times)])
    assert [poll.changed for poll in landing.polls("pump")] == [20, 0, 1, 0, 1, 0]
    assert [len(readings) for readings in told(landing)] == [20] * 6
    assert [{point: value for point, _, value in readings}["p0"] for readings in told(landing)] == [
        0.0, 0.0, 1.0, 1.0, 2.0, 2.0,
    ]  # fmt: skip


def test_a_whole_picture_at_midnight_after_a_failure_a_start_and_another_identity(landing: Landing) -> None:
    step = 30 * SECOND
    landing.record([good(START + index * step, *many(1.0)) for index in range(6)])
    landing.record([failed(START + 6 * step), good(START + 7 * step, *many(1.0))])
    landing.record([good(START + 8 * step, *many(1.0), identity="V3.90")])
    landing.record([good(START + 9 * step, *many(1.0), identity="V3.90")])
    assert [(poll.changed, poll.whole) for poll in landing.polls("pump", good=True)] == [
        (20, 2), (0, 0), (0, 0), (0, 0), (20, 2), (0, 0), (20, 1), (20, 1), (0, 0),
    ]  # fmt: skip
    with Landing(landing.path.parent) as again:
        again.record([good(START + 10 * step, *many(1.0), identity="V3.90")])
        assert [poll.whole for poll in again.polls("pump")][-1] == 1


def test_not_asked_and_unchanged_are_different(landing: Landing) -> None:
    fast, slow = Reading("fast", 1.0), Reading("slow", 2.0)
    landing.record([good(START, fast, slow), good(START + SECOND, fast), good(START + 2 * SECOND, fast, slow)])
    assert [[point for point, _, _ in readings] for readings in told(landing)] == [
        ["fast", "slow"], ["fast"], ["fast", "slow"],
    ]  # fmt: skip
    assert [poll.changed for poll in landing.polls("pump")] == [2, 0, 0]


def test_a_reading_with_its_own_time_is_told_for_that_time_only(landing: Landing) -> None:
    own = START - timedelta(days=3)
    landing.record([good(START, Reading("a", 1.0, time=own)), good(START + SECOND, Reading("a", 1.0, time=own))])
    assert told(landing) == [[("a", micros(own), 1.0)], []]
    assert landing.days_since("pump", 0, 9) == {own.date() + timedelta(days=n) for n in range(1)} | {START.date()}


def test_what_is_no_number_is_no_reading(landing: Landing) -> None:
    landing.record([good(START, Reading("a", math.nan), Reading("b", math.inf), Reading("c"), Reading("d", -0.0))])
    assert [poll.points for poll in landing.polls("pump")] == [1]
    ((_, _, value),) = told(landing)[0]
    assert isinstance(value, float) and math.copysign(1.0, value) == 1.0  # there is no -0
    landing.record(
        [good(START + SECOND, Reading("a", math.nan), Reading("b", math.inf), Reading("c"), Reading("d", 0.0))]
    )
    assert [(poll.points, poll.changed) for poll in landing.polls("pump")] == [(1, 1), (1, 0)]


def test_a_point_that_is_no_number_for_once_was_not_told(landing: Landing) -> None:
    readings = many(1.0)
    landing.record([good(START, *readings)])
    landing.record([good(START + SECOND, *readings[:-1], Reading("p19", math.nan))])
    landing.record([good(START + 2 * SECOND, *readings)])
    landing.record([good(START + 3 * SECOND, *readings[:-1], Reading("p19", None, "19.0"))])
    assert [len(readings) for readings in told(landing)] == [20, 19, 20, 20]
    assert [poll.changed for poll in landing.polls("pump")] == [20, 0, 0, 1]


def test_the_drift_of_a_device_clock_is_kept(landing: Landing) -> None:
    for index, ahead in enumerate((90.0, 90.4, 89.1, 95.0)):
        time = START + index * SECOND
        landing.record([good(time, Reading("a", 1.0), device_time=time + ahead * SECOND)])
    drifts = [value for readings in told(landing) for point, _, value in readings if point == DRIFT_POINT]
    assert drifts == [90.0, 90.0, 90.0, 95.0]
    assert landing.rows("SELECT drift FROM polls ORDER BY sequence")[2] == (89_100,)


_VALUES = st.one_of(
    st.sampled_from([0.0, 1.0, 21.5, 1e300, 123456789.0]),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0),
    st.sampled_from(["", "on", "1.0", "Wärme", "\x00"]),
)
_READINGS = st.lists(
    st.tuples(st.integers(0, 12), _VALUES, st.sampled_from([None, None, None, -3600, 7])),
    max_size=14,
    unique_by=lambda item: (item[0], item[2]),
)
_Step = tuple[int, list[tuple[int, object, int | None]] | None, bool, bool]
_STEPS = st.lists(
    st.tuples(
        st.sampled_from([1, 30, 30, 30, 20_000, -40, -90_000]),
        st.one_of(st.none(), _READINGS),
        st.booleans(),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(_STEPS)
def test_the_full_series_is_rebuilt_whatever_came(steps: list[_Step]) -> None:
    """Whatever changes, fails, restarts, jumps in time: what each good poll told is given back, bit by bit."""
    folder = Path(tempfile.mkdtemp())
    landing = Landing(folder)
    expected = []
    time = START
    try:
        for seconds, readings, listening, restart in steps:
            time += seconds * SECOND
            if restart:
                landing.close()
                landing = Landing(folder)
            if readings is None:
                landing.record([failed(time)])
                continue
            polled = [
                Reading(
                    f"p{number}",
                    value if isinstance(value, float) else None,
                    value if isinstance(value, str) else None,
                    None if own is None else time + own * SECOND,
                )
                for number, value, own in readings
            ]
            attempt = Attempt(
                "pump", time, SECOND, Outcome.ok, Polled(polled), due=None if listening else time, time=time
            )
            landing.record([attempt])
            expected.append({(r.point, micros(r.time or time)): repr(r.text if r.value is None else r.value)
                             for r in polled})  # fmt: skip
        seen: dict[tuple[str, int], str] = {}
        rebuilt = told(landing)
        assert len(rebuilt) == len(expected)
        for readings_told, wanted in zip(rebuilt, expected, strict=True):
            now = {(point, at): repr(value) for point, at, value in readings_told}
            # A reading with its own time that was told before in the same words need not be told again.
            assert now.items() <= wanted.items()
            seen |= now
            assert all(now.get(key, seen.get(key)) == value for key, value in wanted.items())
    finally:
        landing.close()
        shutil.rmtree(folder)


def test_documents_are_kept_compressed_and_thinned_to_the_newest(landing: Landing) -> None:
    for index in range(4):
        content = f'{{"turn": {index}}}'.encode() * 50
        landing.record([good(START + index * SECOND, Reading("a", 1.0), documents=(Document("features", content),))])
    assert [content[:11] for _, _, content in landing.documents("pump")][-1] == b'{"turn": 3}'
    assert landing.thin_documents(START + timedelta(days=1)) == 3
    assert [kind for _, kind, _ in landing.documents("pump")] == ["features"]


def test_only_what_the_lake_has_is_pruned_and_what_follows_can_be_rebuilt(landing: Landing) -> None:
    day = timedelta(days=1)
    for index in range(3 * 24):
        landing.record([good(START + index * timedelta(hours=1), *many(float(index)))])
    before = told(landing)
    assert landing.prune(START + 90 * day) == 0
    landing.set_drained("pump", 60)
    assert landing.prune(START + 2 * day) > 10
    left = told(landing)
    assert left == before[-len(left) :]
    landing.prune(START + 90 * day)
    assert told(landing)[-12:] == before[-12:]
    first = next(landing.polls("pump"))
    assert first.whole == 2 and first.sequence <= 60


def test_failures_are_thinned_only_behind_the_watermark(landing: Landing) -> None:
    landing.record([good(START, Reading("a", 1.0)), failed(START + SECOND), failed(START + 2 * SECOND)])
    landing.set_drained("pump", 2)
    assert landing.thin_failures(START + timedelta(days=1)) == 1
    assert [poll.outcome for poll in landing.polls("pump")] == ["ok", "timeout"]


def test_gaps_are_stretches_without_a_good_poll(landing: Landing) -> None:
    minute = timedelta(minutes=1)
    landing.record([good(START + index * minute, Reading("a", 1.0)) for index in (0, 1, 2, 30, 31)])
    landing.record([failed(START + 15 * minute)])
    until = START + 60 * minute
    assert landing.gaps("pump", 5 * minute, START - minute, until) == [
        (START + 2 * minute, START + 30 * minute),
        (START + 31 * minute, until),
    ]


def test_a_number_is_never_used_again(tmp_path: Path) -> None:
    """Also after a migration from a store that SQLite numbered, and when all polls have gone."""
    old = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    migrate(old, 3)
    old.execute("INSERT INTO sources (name) VALUES ('tiny')")
    for _ in range(7):
        old.execute("INSERT INTO polls (source, started, took, time, outcome) VALUES (1, 0, 0, 0, 'timeout')")
    old.execute("DELETE FROM polls")
    old.close()
    with Landing(tmp_path) as landing:
        assert landing.record([attempt(1, NOON), attempt(2, NOON)]) == [8, 9]
        failed = Attempt("tiny", NOON, timedelta(), Outcome.timeout, time=NOON)
        assert landing.record([failed, failed]) == [10, 11]
        landing.set_drained("tiny", 11)
        assert landing.thin_failures(NOON + timedelta(days=1)) == 1
        assert landing.record([attempt(3, NOON)]) == [12]


def test_what_a_source_keeps_with_its_readings_is_kept_just_when_they_are(landing: Landing) -> None:
    landing.record([good(START, Reading("a", 1.0), state={"stored": "one", "gone": 1})])
    unstorable = good(START + SECOND, Reading("a", 2.0), state={"stored": object()})
    with pytest.raises(TypeError):
        landing.record([good(START + SECOND, Reading("a", 2.0), state={"stored": "two"}), unstorable])
    assert landing.state("pump") == {"stored": "one", "gone": 1}
    assert told(landing) == [[("a", micros(START), 1.0)]]
    landing.record([good(START + 2 * SECOND, Reading("a", 3.0), state={"gone": None})])
    assert landing.state("pump") == {"stored": "one"}


def test_small_things_survive(landing: Landing) -> None:
    landing.keep("pump", "holes", [1, 2])
    landing.keep("pump", "map", {"unit": 1})
    landing.keep("pump", "map", None)
    number = landing.post("mqtt", b"hello")
    landing.note("filter cleaned", source="pump", time=START)
    with Landing(landing.path.parent) as again:
        assert again.state("pump") == {"holes": [1, 2]}
        assert again.notes()[0][1:] == (START, "pump", "note", "filter cleaned")
        now = datetime.now(UTC)
        assert again.waiting("mqtt", now + SECOND) == [(number, b"hello", 0)]
        again.not_sent(number, "refused", now + 60 * SECOND)
        assert again.waiting("mqtt", now + SECOND) == []
        again.sent(number)
        assert again.waiting("mqtt", now + 99 * SECOND) == []


def test_every_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    for version in range(NEWEST):
        folder = tmp_path / str(version)
        folder.mkdir()
        with sqlite3.connect(folder / FILE, isolation_level=None) as old:
            old.execute("PRAGMA journal_mode = WAL")
            migrate(old, version)
            if version:
                old.execute("INSERT INTO sources (name) VALUES ('kept')")
        old.close()
        with Landing(folder) as landing:
            assert version_of(landing._connection) == NEWEST
            landing.record([good(START, Reading("a", 1.0), source="kept")])
            assert landing.newest() == {"kept": 1}
            assert landing.problems() == []


def test_a_newer_version_is_refused_with_the_remedy(tmp_path: Path) -> None:
    Landing(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as store:
        store.execute(f"PRAGMA user_version = {NEWEST + 1}")
    store.close()
    with pytest.raises(LandingError, match="Update hp_pipeline"):
        Landing(tmp_path)


def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(LandingError, match="Move the file away"):
        Landing(tmp_path)


def test_a_poll_that_cannot_be_stored_leaves_nothing_half(landing: Landing) -> None:
    landing.record([good(START, *many(1.0))])
    with pytest.raises(LandingError), landing.writing() as connection:
        connection.execute("INSERT INTO no_such_table VALUES (1)")
    landing.record([good(START + SECOND, *many(1.0))])
    assert [len(readings) for readings in told(landing)] == [20, 20]
    assert landing.problems() == []


def test_days_since(landing: Landing) -> None:
    landing.record([good(START + index * timedelta(minutes=1), Reading("a", 1.0)) for index in range(4)])
    assert landing.days_since("pump", 0, 2) == {date(2026, 1, 10)}
    assert landing.days_since("pump", 1, 99) == {date(2026, 1, 10), date(2026, 1, 11)}
    assert landing.days_since("nobody", 0, 99) == set()

"""The grid: no poll doubled, none lost, whatever is done to the wall clock."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.landing.pace import Due, Grid, phase_of


class FakeClock:
    """Time passes only while somebody sleeps; the wall clock can be set meanwhile."""

    def __init__(self, wall: float) -> None:
        self.offset = wall
        self.now = 0.0
        self.jumps: list[tuple[float, float]] = []

    def wall(self) -> float:
        return self.offset + self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        end = self.now + seconds
        while self.jumps and self.jumps[0][0] <= end:
            _at, by = self.jumps.pop(0)
            self.offset += by
        self.now = end


START = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()  # half an hour before Berlin's clocks go back


def polls(clock: FakeClock, seconds: float, every: float = 30.0, took: float = 0.1) -> list[tuple[float, Due]]:
    """Poll for so long (of real time); gives real times with what was due."""

    async def run() -> list[tuple[float, Due]]:
        grid = Grid(timedelta(seconds=every), timedelta(seconds=2.5), clock)
        found = []
        while clock.now < seconds:
            due = await grid.next()
            found.append((clock.now, due))
            await clock.sleep(took)
        return found

    return asyncio.run(run())


def test_over_the_change_to_winter_time_every_poll_happens_once() -> None:
    found = polls(FakeClock(START), 3 * 3600)
    assert len(found) == 361 and len({due.time for _, due in found}) == 361
    assert all(due.missed == 0 and not due.again for _, due in found)
    local = [datetime.fromtimestamp(due.time, ZoneInfo("Europe/Berlin")).replace(fold=0) for _, due in found]
    assert len(set(local)) < 310  # in the house's time an hour came twice; in the grid it did not


def test_polls_are_on_the_grid_and_on_time() -> None:
    found = polls(FakeClock(START + 7.77), 600)
    assert all((due.time - 2.5) % 30 == 0 for _, due in found)
    assert all(abs(START + 7.77 + real - due.time) < 1e-3 for real, due in found)


def test_the_clock_jumps_forward() -> None:
    clock = FakeClock(START)
    clock.jumps = [(100.0, 3600.0)]
    found = polls(clock, 300)
    assert sum(due.missed for _, due in found) in {119, 120}  # the hour that did not happen
    assert max(after - before for (before, _), (after, _) in itertools.pairwise(found)) < 36


def test_the_clock_jumps_back_a_little_and_far() -> None:
    for by in (-2.0, -29.0, -59.0, -3600.0, -1e6):
        clock = FakeClock(START)
        clock.jumps = [(100.0, by)]
        found = polls(clock, 600)
        waits = [after - before for (before, _), (after, _) in itertools.pairwise(found)]
        assert max(waits) <= 30 + 60 + 6, by
        # After a long way back a time may come again, but it is said; a little way back doubles nothing.
        assert len({due.number for _, due in found}) == len(found) or any(due.again for _, due in found)
        if by > -30:
            assert len(found) >= 19 and not any(due.again for _, due in found)


def test_a_source_that_is_slower_than_its_interval_is_asked_as_often_as_it_can() -> None:
    found = polls(FakeClock(START), 600, took=44.0)
    waits = [after - before for (before, _), (after, _) in itertools.pairwise(found)]
    assert min(waits) >= 44 and sum(waits) / len(waits) < 60
    assert len({due.number for _, due in found}) == len(found)
    numbers = [due.number for _, due in found]
    assert sum(due.missed for _, due in found) == numbers[-1] - numbers[0] + 1 - len(numbers)


_JUMPS = st.lists(st.tuples(st.floats(1, 300), st.floats(-100, 400)), max_size=4)


@settings(max_examples=60, deadline=None)
@given(_JUMPS, st.floats(1, 60), st.floats(0, 50))
def test_however_the_clock_is_set_polls_go_on(jumps: list[tuple[float, float]], every: float, took: float) -> None:
    clock = FakeClock(START)
    clock.jumps = sorted(jumps)
    found = polls(clock, 400, every, took)
    times = [real for real, _ in found]
    assert max(after - before for before, after in zip([0.0, *times], times, strict=False)) <= 3.5 * every + took + 6
    for (_, before), (_, after) in itertools.pairwise(found):
        assert after.number > before.number or after.again


def test_the_phase_is_always_the_same_and_below_the_interval() -> None:
    phases = {phase_of(f"source{number}", timedelta(seconds=30)) for number in range(40)}
    assert len(phases) > 15 and max(phases) < timedelta(seconds=5)
    assert phase_of("a", timedelta(seconds=30)) == phase_of("a", timedelta(seconds=30))
    assert phase_of("a", timedelta(milliseconds=50)) == timedelta()

"""Counters: what was counted is known to the last step, whatever befell the counter."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hp_pipeline.transforms.counters import LATE, PER_UNIT, Bounds, Day, Mark, classify
from hp_pipeline.vocabulary.counters import CounterRule
from hp_pipeline_tests.transforms.counter_histories import (
    DAILY,
    DAY,
    EPOCH,
    LASTING,
    MIDNIGHTS,
    PASSING,
    SECOND,
    Counting,
    History,
    day_counter,
    histories,
    history_of,
    kinds,
    told,
    total,
)


def _exactly(made: Counting) -> None:
    found = told(made.history, made.rule, days=12)
    assert total(found) == round(made.history.counted * made.step * PER_UNIT)
    quantum = round(made.step * PER_UNIT)
    assert all(int(number) % quantum == 0 for part in found.increments for number in part["increment"])


@settings(max_examples=60, deadline=None)
@given(histories(PASSING))
def test_readings_that_lie_for_a_while_cost_nothing(made: Counting) -> None:
    _exactly(made)
    assert not {"reset", "rollback", "jump", "factor"} & set(kinds(told(made.history, made.rule)))


@settings(max_examples=60, deadline=None)
@given(histories(PASSING, apart=(8, 11)))
def test_lies_that_follow_each_other_soon_cost_nothing(made: Counting) -> None:
    _exactly(made)


@settings(max_examples=100, deadline=None)
@given(histories(LASTING))
@example(history_of(Random(74543), LASTING, (12, 16), "around what lasts"))  # a reset to what is 1 % by chance
def test_what_stays_is_believed_and_taken_for_nothing_else(made: Counting) -> None:
    _exactly(made)
    ledger = [kind for kind in kinds(told(made.history, made.rule, days=12)) if kind not in {"dip", "torn_read"}]
    assert ledger == [event for event in made.history.befell if event not in {"outage", "pair_lag"}]


@settings(max_examples=100, deadline=None)
@given(histories((*PASSING, *LASTING)))
def test_whatever_comes_together_is_told_apart(made: Counting) -> None:
    _exactly(made)


def test_what_lasts_is_mostly_told_apart_from_what_comes_close_behind_it() -> None:
    """Without six hours between them: lies behind what lasts, and two things that last."""
    shares = []
    for rests, seeds in (("between what lasts", range(400)), ("never", range(400))):
        exact = 0
        for seed in seeds:
            made = history_of(Random(seed), (*PASSING, *LASTING), (12, 16), rests)
            found = total(told(made.history, made.rule, days=12))
            exact += found == round(made.history.counted * made.step * PER_UNIT)
        shares.append(exact / len(seeds))
    assert shares[0] >= 0.98 and shares[1] >= 0.92


@settings(max_examples=30, deadline=None)
@given(histories((*PASSING, *LASTING)), st.booleans())
def test_days_one_by_one_are_days_at_once(made: Counting, more: bool) -> None:
    history, rule = made.history, made.rule
    stretched = replace(history, time=[moment * 4 for moment in history.time])  # over several midnights
    _one_by_one_as_at_once(stretched, rule, (), more)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(["dip", "zero", "spike", "silence", "freeze"]), st.booleans())
def test_days_of_a_day_counter_one_by_one_are_days_at_once(seed: int, event: str, more: bool) -> None:
    """Where the house's midnight is that of UTC, and on its border a counter begins again early."""
    history = day_counter(Random(seed), event)
    early = replace(history, time=[max(moment - 400, number) for number, moment in enumerate(history.time)])
    for some in (history, early):
        _one_by_one_as_at_once(some, DAILY, MIDNIGHTS, more)


def _one_by_one_as_at_once(history: History, rule: CounterRule, schedule: tuple[int, ...], more: bool) -> None:
    time = np.array(history.time, np.int64) * SECOND + EPOCH
    shown = np.rint(np.array(history.shown) * history.step * PER_UNIT).astype(np.int64)
    device = np.array(history.device or [0] * time.size, np.int64)
    bounds = Bounds(rule, np.array(schedule, np.int64) * SECOND + EPOCH, LATE)
    count = int((time[-1] - EPOCH) // DAY) + 1
    days = [
        Day(EPOCH + number * DAY, EPOCH + (number + 1) * DAY, EPOCH + (number + 2) * DAY, more or number < count - 2)
        for number in range(count)
    ]
    at_once = classify(time, shown, device, bounds, days, None)
    mark: Mark | None = None
    alone = []
    for day in days:
        near = (time >= day.start) & (time < day.until)
        found = classify(time[near], shown[near], device[near], bounds, [day], mark)
        mark = found.marks[-1]
        alone.append(found)
    assert [found.marks[0] for found in alone] == at_once.marks
    assert [entry for found in alone for entry in found.ledger] == at_once.ledger
    for name in ("start", "last_unchanged", "end", "increment", "total", "kind", "provisional"):
        one = np.concatenate([part[name] for found in alone for part in found.increments])
        assert np.array_equal(one, np.concatenate([part[name] for part in at_once.increments]))


def test_intervals_follow_each_other_and_hold_the_tick() -> None:
    history = History(0.1)
    for number in range(200):
        history.read(30, 1000 + number // 7)
    [part, *_] = told(history, CounterRule(40, 0.1)).increments
    assert (part["start"] <= part["last_unchanged"]).all() and (part["last_unchanged"] < part["end"]).all()
    assert (part["start"][1:] == part["end"][:-1]).all()
    assert (part["end"] - part["last_unchanged"] == 30 * SECOND).all()


def _readings(step: float, *stretches: tuple[int, list[float]]) -> History:
    """A history of stretches of readings: seconds from one to the next, and what they show."""
    history = History(step)
    for apart, shown in stretches:
        for number in shown:
            history.read(apart, round(number / step))
    return history


def _up(first: float, steps: int, by: float = 0.01) -> list[float]:
    return [first + by * number for number in range(steps)]


HEAT = CounterRule(80, 0.001)


def test_a_day_that_goes_from_30_199_to_30_134_to_34_134_within_an_hour() -> None:
    history = _readings(0.001, (30, [30.199] * 10), (30, [30.134] * 60), (30, _up(34.134, 20)))
    found = told(history, HEAT)
    assert total(found) == round((34.134 + 0.19 - 30.199) * PER_UNIT)
    assert kinds(found) == ["dip"]


def test_10628_that_reads_4074_for_a_minute_and_10628_that_stays_4074() -> None:
    back = told(_readings(0.01, (30, _up(10628, 10)), (30, [4074.0] * 2), (30, _up(10628.09, 10))), HEAT)
    assert total(back) == round(0.18 * PER_UNIT) and kinds(back) == ["dip"]
    stays = told(_readings(0.01, (30, _up(10628, 10)), (30, _up(4074, 30))), HEAT)
    assert total(stays) == round((0.09 + 0.29) * PER_UNIT) and kinds(stays) == ["rollback"]


@pytest.mark.parametrize("sentinel", [32768.0, 3276.8, 32767.0, 65535.0])
def test_a_sentinel_of_hours_is_no_number(sentinel: float) -> None:
    rule = CounterRule(40, 0.1)
    found = told(_readings(0.1, (30, _up(1200, 10, 0.1)), (60, [sentinel] * 200), (60, _up(1201.4, 20, 0.1))), rule)
    assert total(found) == round((1201.4 + 1.9 - 1200) * PER_UNIT) and kinds(found) == ["sentinel"]


def test_a_counter_that_reaches_a_sentinel_by_counting_is_believed() -> None:
    found = told(_readings(0.1, (30, _up(3276.0, 30, 0.1))), CounterRule(40, 0.1))
    assert total(found) == round(2.9 * PER_UNIT) and kinds(found) == []


def test_what_was_counted_over_an_outage_is_one_increment() -> None:
    found = told(_readings(0.01, (30, _up(500, 10)), (20 * 3600, [620.0]), (30, _up(620.01, 9))), HEAT)
    [part] = [part for part in found.increments if (part["increment"] > PER_UNIT).any()]
    row = int(part["increment"].argmax())
    assert part["increment"][row] == round((620 - 500.09) * PER_UNIT)
    assert part["end"][row] - part["last_unchanged"][row] == 20 * 3600 * SECOND


def test_a_meter_that_stood_still_and_caught_up() -> None:
    found = told(_readings(0.01, (60, [500.0] * 60), (60, [503.0] * 60), (60, [505.5] * 10)), HEAT)
    assert found.increments[0]["increment"].tolist() == [3 * PER_UNIT, round(2.5 * PER_UNIT)]
    assert found.increments[0]["kind"].tolist() == [1, 1] and kinds(found) == []


def test_a_meter_that_flutters_is_counted_once() -> None:
    shown = [500.0, 500.1] * 30 + [500.1, 500.2] * 30
    found = told(_readings(0.1, (30, shown)), CounterRule(40, 0.1))
    assert total(found) == round(0.2 * PER_UNIT) and set(kinds(found)) == {"dip"}


def test_a_controller_that_restores_an_old_number_after_a_power_cut() -> None:
    found = told(_readings(0.01, (30, _up(100, 10)), (3600, [95.0]), (30, _up(95.01, 699))), HEAT)
    assert total(found) == round((0.09 + 6.99) * PER_UNIT) and kinds(found) == ["rollback"]


def test_a_16_bit_counter_rolls_over() -> None:
    rule = replace(HEAT, resolution=0.1, rolls_over_at=6553.6)
    found = told(_readings(0.1, (30, _up(6552.6, 10, 0.1)), (30, _up(0.0, 10, 0.1))), rule)
    assert total(found) == round((6553.6 - 6552.6 + 0.9) * PER_UNIT) and kinds(found) == ["roll_over"]


@pytest.mark.parametrize("limit", [10_000.0, 6553.6, 100_000.0])
@pytest.mark.parametrize(("silence", "left"), [(30, 0.2), (1200, 3.0), (3600, 3.0)])
def test_a_roll_over_is_guessed_near_where_counters_have_it(limit: float, silence: int, left: float) -> None:
    before = _up(limit - left - 0.9, 10, 0.1)
    found = told(_readings(0.1, (30, before), (silence, [0.1]), (30, _up(0.1, 20, 0.1))), CounterRule(40, 0.1))
    assert total(found) == round((left + 0.9 + 0.1 + 1.9) * PER_UNIT) and kinds(found) == ["roll_over"]


@pytest.mark.parametrize("silence", [60, 300, 1200, 3600])
@pytest.mark.parametrize("factor", [10, 100, 1000, 1 / 10, 1 / 100, 1 / 1000])
def test_new_firmware_that_counts_in_another_unit_comes_with_a_silence(factor: float, silence: int) -> None:
    before, after = _up(1234.5, 20, 0.01), [number * factor for number in _up(1235.2, 60, 0.01)]
    rule = CounterRule(40, 0.00001)
    found = told(_readings(0.00001, (30, before), (silence, after[:1]), (30, after[1:])), rule)
    assert abs(total(found) - round((1235.2 + 0.59 - 1234.5) * PER_UNIT)) <= 1 and kinds(found) == ["factor"]


@settings(max_examples=150, deadline=None)
@given(st.floats(50, 20_000), st.floats(0, 0.999), st.integers(150, 4 * 3600), st.sampled_from([0.001, 0.01, 0.1, 1.0]))
@example(before=51.25, share=0.01, silence=150, step=0.001)
@example(before=3300.0, share=0.104, silence=4 * 3600, step=0.01)
def test_a_rollback_behind_a_power_cut_is_no_other_unit(before: float, share: float, silence: int, step: float) -> None:
    """Unless it falls to a tenth, hundredth or thousandth of what it showed: less by no more than the last digit, which
    51.25 loses where it goes on as 0.512, and more by no more than that and what can have been counted."""
    rule = CounterRule(40, step)
    last = round(before / step)
    old = round(last * share)
    can = 40 * silence / 3600 / step + 1
    after = _up(old * step, 60, step)
    found = told(_readings(step, (30, [last * step] * 20), (silence, after[:1]), (30, after[1:])), rule)
    units = (tens for tens in (10, 100, 1000) if last >= 50 * tens and last >= 20 * can)
    near = any(-tens <= old * tens - last <= can + tens for tens in units)
    assert near or "factor" not in kinds(found)
    if old > 0.107 * last:
        assert "factor" not in kinds(found)


@pytest.mark.parametrize("factor", [1000, 10, 3, 1 / 10, 1 / 1000])
def test_a_counter_that_goes_on_in_another_unit(factor: float) -> None:
    before, after = _up(1234.5, 20, 0.01), [number * factor for number in _up(1234.7, 30, 0.01)]
    rule = CounterRule(40, 0.01 if factor > 1 else 0.00001)
    found = told(_readings(0.00001, (30, before), (30, after)), rule)
    assert abs(total(found) - round(0.49 * PER_UNIT)) <= 1 and kinds(found) == ["factor"]
    passing = told(_readings(0.00001, (30, before), (30, after[:3]), (30, _up(1234.73, 30, 0.01))), rule)
    assert abs(total(passing) - round(0.52 * PER_UNIT)) <= 1 and set(kinds(passing)) <= {"spike", "dip"}


def test_another_device_is_counted_on_from_what_it_shows() -> None:
    shown = np.rint(np.array(_up(500, 20) + _up(3.0, 20)) * PER_UNIT).astype(np.int64)
    time = EPOCH + np.arange(40, dtype=np.int64) * 30 * SECOND
    device = np.repeat(np.array([1, 2], np.int64), 20)
    day = Day(EPOCH, EPOCH + DAY, EPOCH + DAY, True)
    found = classify(time, shown, device, Bounds(HEAT, np.zeros(0, np.int64), 0), [day], None)
    assert total(found) == round(0.38 * PER_UNIT) and kinds(found) == ["handover"]


def test_a_day_counter_begins_again_a_minute_late_and_at_0_3() -> None:
    late = _readings(0.1, (86_000, [20.0]), (60, [20.1] * 7), (30, [20.1, 20.2]), (30, [0.3]), (60, _up(0.3, 20, 0.1)))
    found = told(late, DAILY, MIDNIGHTS)
    assert total(found) == round((0.2 + 0.3 + 1.9) * PER_UNIT) and kinds(found) == ["scheduled"]


def test_a_day_counter_that_is_read_again_the_day_after_has_begun_again() -> None:
    """It shows more than the evening before, and has counted all of that since midnight."""
    away = _readings(0.1, (70_000, [5.0]), (60, _up(5.0, 10, 0.1)), (50_000, [6.2]), (60, _up(6.2, 10, 0.1)))
    found = told(away, DAILY, MIDNIGHTS)
    assert total(found) == round((0.9 + 6.2 + 0.9) * PER_UNIT) and kinds(found) == ["scheduled"]


def test_a_day_counter_that_falls_to_0_and_back_at_midnight_has_begun_again_once() -> None:
    torn = _readings(0.1, (86_000, [12.0]), (60, [12.3] * 6), (30, [0.0, 12.3, 0.0]), (60, _up(0.0, 20, 0.1)))
    assert total(told(torn, DAILY, MIDNIGHTS)) == round((0.3 + 1.9) * PER_UNIT)


def test_a_day_counter_that_shows_0_again_soon_after_midnight_has_begun_again_once() -> None:
    shown = [10.0] * 21 + [0.0, 0.1, 0.2, 0.3, 0.4, 0.4]
    dips = _readings(
        0.1, (85_200, shown[:1]), (60, shown[1:]), (60, [0.0] * 2), (60, [0.4] * 3), (60, _up(0.5, 35, 0.1))
    )
    found = told(dips, DAILY, MIDNIGHTS)
    assert total(found) == round(3.9 * PER_UNIT) and kinds(found) == ["scheduled", "dip"]


def test_a_day_counter_that_begins_again_early_does_so_once_over_the_border_of_a_day() -> None:
    early = _readings(
        0.1, (85_000, [9.0]), (60, [9.0] * 20), (60, [0.0] * 5), (60, [0.3]), (60, [0.0] * 2), (60, _up(0.3, 20, 0.1))
    )
    found = told(early, DAILY, MIDNIGHTS)
    assert total(found) == round(2.2 * PER_UNIT) and kinds(found) == ["scheduled", "dip"]
    _one_by_one_as_at_once(early, DAILY, MIDNIGHTS, True)


def test_a_day_counter_last_seen_just_after_midnight_before_it_began_again() -> None:
    shown = [5.8] * 5
    away = _readings(0.1, (86_000, shown[:1]), (120, shown[1:]), (6 * 3600, [7.1]), (60, _up(7.1, 10, 0.1)))
    found = told(away, DAILY, MIDNIGHTS)
    assert total(found) == round((7.1 + 0.9) * PER_UNIT) and kinds(found) == ["scheduled"]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10**9),
    st.sampled_from(["plain", "dip", "zero", "spike", "silence", "silent_day", "freeze", "missed"]),
)
def test_what_happens_to_a_day_counter_near_midnight(seed: int, event: str) -> None:
    history = day_counter(Random(seed), event)
    found = told(history, DAILY, MIDNIGHTS, days=6)
    assert total(found) == round(history.counted * 0.1 * PER_UNIT)


@pytest.mark.parametrize("readings", [15, 30, 60, 110])
def test_what_falls_back_and_counts_on_is_not_lost(readings: int) -> None:
    """By less than an hour, without a silence, and then beyond where it was: once a fall, not many dips."""
    fell_to = 30.0 + 0.03 * (99 - readings)
    fallen = _readings(0.01, (30, _up(30.0, 100, 0.03)), (30, _up(fell_to, 250, 0.03)))
    found = told(fallen, HEAT)
    assert kinds(found) == ["rollback"]
    assert total(found) == round((99 + 249) * 0.03 * PER_UNIT)


@pytest.mark.parametrize("hours", [1.2, 2.0, 3.2])
def test_a_fall_soon_after_a_reset_does_not_hide_the_reset(hours: float) -> None:
    counted = round(hours * 60)
    again = _up(0.06 * (counted - 30), 400, 0.06)
    history = _readings(0.01, (60, _up(0.0, 370, 0.06)), (60, _up(0.0, counted, 0.06)), (60, again))
    found = told(history, HEAT)
    assert kinds(found) == ["reset", "rollback"]
    assert total(found) == round((369 + counted - 1 + 399) * 0.06 * PER_UNIT)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_day_counters_over_many_midnights(seed: int) -> None:
    """At any pace, with silences, begun again up to some minutes late: what the readings show is what was counted."""
    random = Random(seed)
    pace = random.choice([60, 300])
    can = int(40 * pace / 3600 / 0.1)
    history = History(0.1)
    now, shown, day = 40_000, random.randint(0, 50), 0
    lateness = random.randint(0, 840)
    history.read(now, shown)
    seen_today = shown
    while now < 3.5 * 86_400:
        step = random.choice([pace] * 6 + [3600, 30_000]) if len(history.time) % 5 == 0 else 3 * pace
        now += step
        due = now >= (day + 1) * 86_400 + lateness
        if due:
            day = (now - lateness) // 86_400
            most = min(int(40 * (now - day * 86_400) / 3600 / 0.1), 200)
            if now - step >= day * 86_400 or now < day * 86_400 + 900:
                # It may still be that of the day before, as it begins again late: to show no less then tells nobody.
                most = min(most, max(seen_today - 1, 0))
            shown = random.choice([number for number in range(most + 1) if number != seen_today] or [0])
            history.counted += shown
            seen_today = shown
        else:
            shown += random.randint(0, can)
            history.counted += shown - seen_today
            seen_today = shown
        history.read(step, shown)
    found = told(history, DAILY, MIDNIGHTS, days=5)
    assert total(found) == round(history.counted * 0.1 * PER_UNIT)


def test_what_comes_later_can_change_a_verdict() -> None:
    """A fall is doubted while few readings say it; the verdict is the same whenever the rest has come."""
    shown = _up(100, 10) + [0.0] * 2
    undecided = told(_readings(0.01, (30, shown)), HEAT)
    assert kinds(undecided) == ["dip"]
    dip = told(_readings(0.01, (30, [*shown, *_up(100.09, 10)])), HEAT)
    reset = told(_readings(0.01, (30, [*shown, *_up(0.0, 10)])), HEAT)
    assert (kinds(dip), total(dip)) == (["dip"], 180_000)
    assert (kinds(reset), total(reset)) == (["reset"], 180_000)


def test_verdicts_are_provisional_only_while_something_can_follow() -> None:
    history = _readings(0.01, (30, _up(100, 20)))
    time = np.array(history.time, np.int64) * SECOND + EPOCH
    shown = np.array(history.shown, np.int64) * 10_000
    bounds = Bounds(HEAT, np.zeros(0, np.int64), 0)
    flags = []
    for more in (False, True):
        day = Day(EPOCH, EPOCH + DAY, EPOCH + DAY, more)
        found = classify(time, shown, np.zeros(time.size, np.int64), bounds, [day], None)
        flags.append(int(found.increments[0]["provisional"].sum()))
    assert flags == [3, 0]
    assert all(earlier < later for earlier, later in pairwise(history.time))

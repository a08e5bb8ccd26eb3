"""The call ledger: no call more than the rules allow, whatever is restarted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.landing.ledger import CallLedger
from hp_pipeline.landing.store import Landing
from hp_pipeline.sources.budget import BudgetSpentError, Window

START = datetime(2026, 1, 10, 12, tzinfo=UTC)
DAY = Window("day", 6, timedelta(hours=24), opens_at_first_call=True, reserve=1)
SHORT = Window("10 minutes", 3, timedelta(minutes=10))
MINUTE = timedelta(minutes=1)


def test_a_sliding_window_gives_calls_back_one_by_one(tmp_path: Path) -> None:
    with Landing(tmp_path) as landing:
        ledger = CallLedger(landing, "account", [SHORT])
        for minute in (0, 2, 4):
            ledger.take("features", START + minute * MINUTE)
        with pytest.raises(BudgetSpentError) as spent:
            ledger.take("features", START + 5 * MINUTE)
        assert spent.value.until == START + 10 * MINUTE
        ledger.take("features", START + 10 * MINUTE)
        (budget,) = ledger.budget(START + 11 * MINUTE)
        assert (budget.used, budget.left, budget.resets) == (3, 0, START + 12 * MINUTE)


def test_a_window_opens_with_its_first_call_and_keeps_its_reserve_over_restarts(tmp_path: Path) -> None:
    for number in range(5):
        with Landing(tmp_path) as landing:
            CallLedger(landing, "account", [DAY]).take("features", START + number * timedelta(hours=4))
    with Landing(tmp_path) as landing:
        ledger = CallLedger(landing, "account", [DAY])
        with pytest.raises(BudgetSpentError, match="1 are kept in reserve") as spent:
            ledger.take("features", START + timedelta(hours=23))
        assert spent.value.until == START + timedelta(hours=24)
        ledger.take("features", START + timedelta(hours=25))
        assert ledger.budget(START + timedelta(hours=26))[0].left == 4
        assert ledger.budget(START + timedelta(hours=26))[0].resets == START + timedelta(hours=49)
        CallLedger(landing, "another", [DAY]).take("features", START)


def test_a_block_holds_over_restarts(tmp_path: Path) -> None:
    with Landing(tmp_path) as landing:
        CallLedger(landing, "account", [SHORT]).block(START + 30 * MINUTE, "the API said 429")
    with Landing(tmp_path) as landing:
        ledger = CallLedger(landing, "account", [SHORT])
        with pytest.raises(BudgetSpentError, match="the API said 429"):
            ledger.take("features", START + 29 * MINUTE)
        assert ledger.blocked(START) == (START + 30 * MINUTE, "the API said 429")
        ledger.take("features", START + 30 * MINUTE)
        assert ledger.blocked(START + 30 * MINUTE) is None


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=60))
def test_no_window_ever_holds_more_than_its_limit(tmp_path_factory: pytest.TempPathFactory, waits: list[int]) -> None:
    now, made = START, []
    with Landing(tmp_path_factory.mktemp("ledger")) as landing:
        ledger = CallLedger(landing, "account", [SHORT])
        for wait in waits:
            now += timedelta(seconds=wait)
            try:
                ledger.take("call", now)
                made.append(now)
            except BudgetSpentError as spent:
                assert spent.until > now
    for first in made:
        assert sum(first <= time < first + SHORT.length for time in made) <= SHORT.limit

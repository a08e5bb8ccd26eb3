"""The call ledger of metered APIs: every request is counted, durably, before it is sent.

The rules are the caller's: how many calls a window allows, how long it is, whether it slides or opens with the first
call in it, and how many calls are kept in reserve. A restart changes nothing, since only the ledger counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from hp_pipeline.landing.store import Landing, micros, moment
from hp_pipeline.sources.budget import Budget, BudgetSpentError, Window


class CallLedger:
    """Counts the calls of one account over all processes and restarts.

    Args:
        landing: where it is written.
        account: whose budget it is (no secret: it is shown).
        windows: the rules of the API.
    """

    def __init__(self, landing: Landing, account: str, windows: Sequence[Window]) -> None:
        self._landing = landing
        self.account = account
        self.windows = tuple(windows)
        self._keep = 2 * max((window.length for window in self.windows), default=timedelta(days=1))

    def take(self, what: str, now: datetime) -> None:
        """Count one call that is about to be sent. It counts whatever becomes of it.

        Args:
            what: which call, for people (no secret).

        Raises:
            BudgetSpentError: it must not be sent; nothing was counted.
        """
        with self._landing.writing() as connection:
            blocked = connection.execute(
                "SELECT until, why FROM call_blocks WHERE account = ? AND until > ?", (self.account, micros(now))
            ).fetchone()
            if blocked is not None:
                raise BudgetSpentError(self.account, moment(blocked[0]), blocked[1])
            times = self._times(now)
            for window in self.windows:
                budget = _budget(window, times, now)
                if budget.left <= 0:
                    why = f"{budget.used} of {window.limit} calls of the window {window.name!r} are used"
                    if window.reserve:
                        why += f", {window.reserve} are kept in reserve"
                    raise BudgetSpentError(self.account, budget.resets or now + window.length, why)
            connection.execute(
                "INSERT INTO calls (account, time, what) VALUES (?, ?, ?)", (self.account, micros(now), what)
            )
            connection.execute(
                "DELETE FROM calls WHERE account = ? AND time < ?", (self.account, micros(now - self._keep))
            )

    def block(self, until: datetime, why: str) -> None:
        """Allow no call before a time, such as the one that the API named in its refusal."""
        with self._landing.writing() as connection:
            connection.execute(
                "INSERT INTO call_blocks VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET until = excluded.until,"
                " why = excluded.why",
                (self.account, micros(until), why),
            )

    def budget(self, now: datetime) -> list[Budget]:
        """What is left of each window."""
        times = self._times(now)
        return [_budget(window, times, now) for window in self.windows]

    def blocked(self, now: datetime) -> tuple[datetime, str] | None:
        """Until when no call is allowed, and why; None when there is no such block."""
        rows = self._landing.rows("SELECT until, why FROM call_blocks WHERE account = ?", (self.account,))
        return (moment(rows[0][0]), rows[0][1]) if rows and rows[0][0] > micros(now) else None

    def _times(self, now: datetime) -> list[int]:
        """Counted calls, ascending. A call from the future (the clock was set back) counts as made now."""
        rows = self._landing.rows(
            "SELECT min(time, ?) FROM calls WHERE account = ? AND time >= ? ORDER BY 1",
            (micros(now), self.account, micros(now - self._keep)),
        )
        return [row[0] for row in rows]


def _budget(window: Window, times: Sequence[int], now: datetime) -> Budget:
    length = window.length // timedelta(microseconds=1)
    at = micros(now)
    if window.opens_at_first_call:
        opened: int | None = None
        used = 0
        for time in times:
            if opened is None or time >= opened + length:
                opened, used = time, 0
            used += 1
        if opened is None or at >= opened + length:
            opened, used = None, 0
        resets = None if opened is None else moment(opened + length)
    else:
        within = [time for time in times if time > at - length]
        used = len(within)
        # Once enough of the oldest have left the window there is room again.
        over = max(0, used - (window.limit - window.reserve))
        resets = moment(within[over] + length) if within and over < used else None
    return Budget(window, used, max(0, window.limit - window.reserve - used), resets)

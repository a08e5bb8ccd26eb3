"""Since when a state holds, and for how long of each day."""

from __future__ import annotations

from hp_pipeline.vocabulary.tables.table import INTERVAL, PERIOD, PROVISIONAL, TIME, Column, Table

_WHOSE = (
    Column("heat_pump", "VARCHAR", None, "Heat pump or solar heating, by its id in the settings"),
    *INTERVAL[1:],
)

RECOGNISED_STATES = {
    "mode": "mode",
    "cycle_state": "state",
    "compressor_running": "compressor_running",
    "believed_defrost": "defrost",
}
"""States that the rules recognise, beside those that the devices tell: name here, column of `operation`."""

_SIGNAL = Column(
    "signal",
    "VARCHAR",
    None,
    "A state that is told (`frames`, `solar_frames`) or, of a heat pump, recognised: mode (of the session), "
    "cycle_state (on, off, defrost), compressor_running, believed_defrost",
)
_STATE = Column("state", "VARCHAR", None, "Its word: on and off, one of its names, or what was told")


def state_tables() -> tuple[Table, ...]:
    """`state_intervals` by UTC day, `state_daily` by local day."""
    return (
        Table(
            "state_intervals",
            "Stretches in which a state did not change, cut at midnight (of UTC and of the house): rows of one "
            "`signal` and `since` are one stretch. Unknown for longer than `session_gap`, or in a gap of the frames of "
            "a solar heating, a state ends",
            (
                *_WHOSE,
                _SIGNAL,
                _STATE,
                Column(
                    "since", TIME, None, "When the state began (UTC), on whatever day; `start` where it begins here"
                ),
                Column(
                    "begin_seen", "BOOLEAN", None, "Whether its begin was seen: another state was known just before"
                ),
                Column(
                    "since_uncertainty_s",
                    "DOUBLE",
                    "s",
                    "It began between `since` minus this and `since`; null when its begin was not seen",
                ),
                Column("state_before", "VARCHAR", None, "What it was before; null when its begin was not seen"),
                Column("before_s", "DOUBLE", "s", "How long it was that; null when that begin was not seen either"),
                Column("mode", "VARCHAR", None, "Mode by the session rule when the state began; null when unknown"),
                Column("known_s", "DOUBLE", "s", "Time between `start` and `end` for which the state is known"),
                Column("last_read", TIME, None, "Last time that something was read in it (UTC)"),
                Column(
                    "gap_after",
                    "BOOLEAN",
                    None,
                    "Whether it is unknown for longer than `session_gap` after it; null for a day's last row, when the "
                    "next day must tell",
                ),
                Column("open", "BOOLEAN", None, "Whether nothing newer was read: it may last"),
                PROVISIONAL,
            ),
        ),
        Table(
            "state_daily",
            "How often and for how long each state was, by day of the house's calendar",
            (
                *_WHOSE,
                *PERIOD,
                _SIGNAL,
                _STATE,
                Column("begins", "BIGINT", None, "How often it was seen to begin on the day"),
                Column("known_s", "DOUBLE", "s", "Time for which it is known to have been so"),
                Column("share", "DOUBLE", None, "Share of the time for which the signal is known, 0…1 (duty)"),
                Column("longest_s", "DOUBLE", "s", "Its longest stretch within the day, short silences included"),
                Column("last_start", TIME, None, "When its last stretch that reaches into the day began (UTC)"),
            ),
        ),
    )

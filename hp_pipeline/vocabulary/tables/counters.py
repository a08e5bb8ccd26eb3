"""What the counters counted, what was made of readings that are not as they should be, and how far each stood."""

from __future__ import annotations

from hp_pipeline.vocabulary.tables.table import HEAT_PUMP, PROVISIONAL, TIME, Column, Table

INCREMENT_KINDS = {
    "step": "it counted on, no faster than it can",
    "late": "it stood still while it was read, and then caught up: faster than it can between two readings, no faster "
    "than it can since it last counted",
    "outage": "it counted on while its source was silent for longer than `session_gap`",
    "day_reset": "it began again at 0 at local midnight; what it shows since then",
    "year_reset": "it began again at 0 with the local year; what it shows since then",
    "reset": "it began again at 0 at another time; what it shows since then",
    "roll_over": "it passed its greatest number and began again at 0: what was left up to there and what it shows",
    "factor": "it went on in another unit (a factor of 3, 10, 100 or 1000); what it counted, in the unit before",
    "owner": "what the owner said that it has counted (`counter_verdicts`)",
    "rollback": "it fell back to an older number over a silence: 0, for what it counted meanwhile is not known",
    "jump": "it rose by more than is possible over a silence, and stayed there: 0, likewise",
    "handover": "another device was read behind a silence: 0, likewise",
}
"""What an increment is."""

LEDGER_KINDS = {
    "dip": "readings below what it showed before, made up again: not believed",
    "spike": "readings above what it showed after them: not believed",
    "torn_read": "readings off by a whole register (1, 1000 or 65536 of its units), as when two words are read apart: "
    "not believed",
    "sentinel": "readings that stand for no value (such as 32768), that are on the profile's reject list, or outside "
    "the range of the signal: not believed",
    "outage": "it counted while nothing was read: taken whole, and booked to the gap",
    "day_reset": "it began again at local midnight: what it shows since then is taken",
    "year_reset": "it began again with the local year: what it shows since then is taken",
    "reset": "it began again at another time: what it shows since then is taken",
    "roll_over": "it passed its greatest number: what was left up to there and what it shows since is taken",
    "rollback": "it fell back to an older number and went on from there: the fall is not taken, all after it is",
    "factor": "it went on in another unit: all from there is read in the unit before",
    "handover": "another device is read in its stead: counted on from what that one shows",
    "jump": "it rose by more than is possible and stayed there: the rise is not taken, all after it is",
    "doubted": "readings that the owner does not believe",
    "counted": "a rise that the owner believes: taken whole",
}
"""What was made of readings that are not those of a counter that only counts up."""

UNKNOWN, CAUGHT_UP = "unknown", "caught_up"

FREEZE_VERDICTS = {
    UNKNOWN: "what it counted meanwhile is not known: other ways tell of the energy",
    CAUGHT_UP: "what it moved by at last is what was used meanwhile: it is spread over that time by the power",
}
"""What is made of a counter that stood still although the machine ran."""

_COUNTER = (
    HEAT_PUMP,
    Column("source", "VARCHAR", None, "Source that was read"),
    Column("signal", "VARCHAR", None, "Canonical signal"),
    Column("point", "VARCHAR", None, "The source's own name of the counter"),
)
FIRST_OF_METERS = -1000
"""Precedence of the first counter of a meter: machines' own counters begin at 0."""

_PRECEDENCE = Column(
    "precedence",
    "BIGINT",
    None,
    "Order among the counters of this signal of the heat pump: the least counts, others beside it compare; those that "
    "are summed share one. Below 0 it is a meter's, else the machine's own",
)


def counter_tables() -> tuple[Table, ...]:
    """By UTC day: increments under the day of their `end`, the ledger under that of its `time`."""
    return (
        Table(
            "counters",
            "What each counter counted: one row for each increment, between the last reading that still showed the "
            "number before and the first that shows the new one; and one for each silence of which it does not tell "
            "what it counted",
            (
                *_COUNTER,
                _PRECEDENCE,
                Column("start", TIME, None, "First reading that showed the number before it (UTC)"),
                Column(
                    "last_unchanged",
                    TIME,
                    None,
                    "Last reading that still showed the number before it: it counted after this, up to `end` (UTC)",
                ),
                Column("end", TIME, None, "First reading that shows the new number (UTC)"),
                Column(
                    "increment",
                    "DOUBLE",
                    None,
                    "What was counted, in the signal's unit. 0 over a gap of which the counter tells nothing: what it "
                    "counted meanwhile is not known",
                ),
                Column("total", "DOUBLE", None, "What the counter shows, in the signal's unit"),
                Column("kind", "VARCHAR", None, _words(INCREMENT_KINDS)),
                Column(
                    "over_gap",
                    "BOOLEAN",
                    None,
                    "Whether its source was silent for longer than `session_gap` between `last_unchanged` and `end`",
                ),
                PROVISIONAL,
            ),
        ),
        Table(
            "counter_ledger",
            "What was made of readings that are not those of a counter that only counts up; the readings themselves "
            "stay as they came",
            (
                *_COUNTER,
                Column("time", TIME, None, "First reading that it is about (UTC)"),
                Column("until", TIME, None, "Last reading that it is about (UTC)"),
                Column("kind", "VARCHAR", None, _words(LEDGER_KINDS)),
                Column("before", "DOUBLE", None, "What it showed before, as believed, in the signal's unit"),
                Column("after", "DOUBLE", None, "What it showed then, in the signal's unit"),
                Column("readings", "BIGINT", None, "Number of readings that were not believed"),
                Column("increment_taken", "DOUBLE", None, "What was taken as counted, in the signal's unit"),
                Column(
                    "exact",
                    "BOOLEAN",
                    None,
                    "Whether all that was counted is known; not where it began again or fell back unseen",
                ),
                Column(
                    "reversible",
                    "BOOLEAN",
                    None,
                    "Whether the owner can say otherwise (`counter_verdicts`): not of what the profile excludes",
                ),
                Column(
                    "by_owner",
                    "BOOLEAN",
                    None,
                    "Whether it is the owner's word (`counter_verdicts`)",
                ),
                Column("note", "VARCHAR", None, "The same in words"),
                PROVISIONAL,
            ),
        ),
        Table(
            "counter_freezes",
            "Counters that stood still although the machine ran (a freeze): one row for each UTC day of it. Made with "
            "the figures, for only a power beside the counter shows it",
            (
                *_COUNTER,
                Column("start", TIME, None, "Begin of the part of the day in which it stood still (UTC)"),
                Column("end", TIME, None, "End of that part (UTC)"),
                Column("since", TIME, None, "Since when it has shown the same number, on whatever day that was (UTC)"),
                Column("moved", TIME, None, "When it moved again (UTC); null where not by the end of the next day"),
                Column("verdict", "VARCHAR", None, _words(FREEZE_VERDICTS)),
                Column("told_kwh", "DOUBLE", "kWh", "What the power tells of the energy from `start` to `end`"),
                Column("increment_kwh", "DOUBLE", "kWh", "What it moved by then"),
            ),
        ),
        Table(
            "counter_states",
            "How each counter stood at the end of each UTC day, as believed: the next day is counted on from there",
            (
                *_COUNTER,
                _PRECEDENCE,
                Column("time", TIME, None, "Last reading that was believed (UTC)"),
                Column("since", TIME, None, "First reading that showed this number (UTC)"),
                Column("shown", "DOUBLE", None, "The number that it showed, in the signal's unit"),
                Column("scale", "DOUBLE", None, "Factor by which it is read since a change of its unit; 1 without one"),
                Column("device", "VARCHAR", None, "The device that was read, where it tells itself apart"),
                Column(
                    "begun",
                    TIME,
                    None,
                    "Local midnight or new year at which it last began again, as it was due (UTC); null before the "
                    "first",
                ),
                Column("last_read", TIME, None, "Last time that anything of its source was read (UTC)"),
                Column(
                    "silent",
                    "BOOLEAN",
                    None,
                    "Whether its source was silent for longer than `session_gap` between `time` and `last_read`",
                ),
            ),
        ),
    )


def _words(kinds: dict[str, str]) -> str:
    return "; ".join(f"{kind}: {meaning}" for kind, meaning in kinds.items())

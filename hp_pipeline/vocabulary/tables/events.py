"""Sessions, cycles and defrosts, and the segments that they are merged from."""

from __future__ import annotations

from hp_pipeline.vocabulary.tables.figures import METHOD_COLUMNS, RATIO_COLUMNS, figure_columns
from hp_pipeline.vocabulary.tables.table import INTERVAL, PROVISIONAL, TIME, Column, Table

_CONFIDENCE = Column(
    "confidence",
    "DOUBLE",
    None,
    "How sure its mode is, 0.5 (a guess) to 1 (the machine tells it all through): time-weighted mean over its frames",
)


def event_tables() -> tuple[Table, ...]:
    """Each under the UTC day on which it begins."""
    figures = figure_columns()
    return (
        Table(
            "segments",
            "Pieces of sessions and cycles, cut at midnight (UTC): sessions, cycles and defrosts are merged from them",
            (
                *INTERVAL,
                Column("mode", "VARCHAR", None, "Mode by the session rule; null when unknown"),
                Column("state", "VARCHAR", None, "State of the cycle: on, off, defrost; null when unknown"),
                Column("defrost", "BOOLEAN", None, "Whether it lies in a believable defrost"),
                Column("session_start", "BOOLEAN", None, "Whether a session begins with it"),
                Column("cycle_start", "BOOLEAN", None, "Whether a cycle begins with it"),
                Column("defrost_start", "BOOLEAN", None, "Whether a defrost begins with it"),
                Column("gap", "BOOLEAN", None, "Whether a silence longer than `session_gap` lies before it"),
                Column("unseen_s", "DOUBLE", "s", "Time before its start in which the edge may lie"),
                Column(
                    "unread_s", "DOUBLE", "s", "Time between the reading before it and its start: powers change unseen"
                ),
                Column("valve_dhw_s", "DOUBLE", "s", "Time for which the three-way valve led to the tank"),
                Column("valve_space_s", "DOUBLE", "s", "Time for which the three-way valve led to the house"),
                Column(
                    "confidence_s", "DOUBLE", "s", "Time, weighed with how sure its mode is: `mode_confidence` × time"
                ),
                PROVISIONAL,
                *METHOD_COLUMNS,
                *figures[len(RATIO_COLUMNS) :],
            ),
        ),
        Table(
            "sessions",
            "Stretches of one mode (heating, dhw, cooling, standby), kept whole over the defrosts within them",
            (
                *INTERVAL,
                Column("mode", "VARCHAR", None, "standby, heating, dhw or cooling"),
                PROVISIONAL,
                _CONFIDENCE,
                Column("start_uncertainty_s", "DOUBLE", "s", "The begin lies between `start` minus this and `start`"),
                Column("end_uncertainty_s", "DOUBLE", "s", "The end lies between `end` minus this and `end`"),
                *figures,
            ),
        ),
        Table(
            "cycles",
            "Stretches of one state of the compressor within a session: on, off, defrost",
            (
                *INTERVAL,
                Column("mode", "VARCHAR", None, "Mode of the session"),
                Column("state", "VARCHAR", None, "on, off or defrost"),
                Column("session_start", TIME, None, "Begin of the session it belongs to (UTC)"),
                PROVISIONAL,
                _CONFIDENCE,
                Column("start_uncertainty_s", "DOUBLE", "s", "The begin lies between `start` minus this and `start`"),
                Column("end_uncertainty_s", "DOUBLE", "s", "The end lies between `end` minus this and `end`"),
                *figures,
            ),
        ),
        Table(
            "defrosts",
            "Defrosts of the evaporator",
            (
                *INTERVAL,
                Column("mode", "VARCHAR", None, "Mode of the session that it interrupts and that is charged for it"),
                Column("kind", "VARCHAR", None, "Where its heat came from: tank, space, or both; null when unknown"),
                Column("heat_again_s", "DOUBLE", "s", "Time from its end until heat was given again; null if unseen"),
                Column(
                    "recovery_s",
                    "DOUBLE",
                    "s",
                    "Time from its end until the flow was as warm as before it (to 0.5 K), looked for over an hour",
                ),
                Column("recovery_reason", "VARCHAR", None, "Why there is no `recovery_s`"),
                PROVISIONAL,
                Column("start_uncertainty_s", "DOUBLE", "s", "The begin lies between `start` minus this and `start`"),
                Column("end_uncertainty_s", "DOUBLE", "s", "The end lies between `end` minus this and `end`"),
                *figures,
            ),
        ),
    )

"""From readings to what the heat pump does in each frame."""

from __future__ import annotations

from collections.abc import Iterable

from hp_pipeline.vocabulary.signals import signals
from hp_pipeline.vocabulary.tables.table import INTERVAL, PROVISIONAL, TIME, Column, Table
from hp_pipeline.vocabulary.ways import DEVICE_POWER, FLOW, METER_POWER

MODES = ("standby", "heating", "dhw", "cooling")
"""What a heat pump does for the house; a defrost is an overlay. Heating a swimming pool is heating."""

CYCLE_STATES = ("on", "off", "defrost")


def _frame_columns() -> Iterable[Column]:
    for signal in signals().values():
        kind = "DOUBLE" if signal.kind in {"gauge", "counter"} else "BOOLEAN" if signal.is_flag else "VARCHAR"
        yield Column(signal.name, kind, signal.unit, signal.description)


def operation_tables() -> tuple[Table, ...]:
    """`readings`, `frames`, `operation`, each by UTC day."""
    return (
        Table(
            "readings",
            "What the sources said, as they said it: one row per source, point and time. Of live sources a row where a "
            "value changed, and each UTC day's first; at every time of the point `@poll` all points of a set were told",
            (
                Column("source", "VARCHAR", None, "Source, by its id in the settings"),
                Column("point", "VARCHAR", None, "The source's own name of the series"),
                Column("time", TIME, None, "When it was read or written (UTC)"),
                Column("value", "DOUBLE", None, "The reading, when it is a number (in the source's own unit)"),
                Column("text", "VARCHAR", None, "The reading, when it is words"),
                Column("origin", "VARCHAR", None, "history: asked for later, out of the source's memory; else unknown"),
            ),
            merged=True,
        ),
        Table(
            "frames",
            "Canonical signals of a heat pump at the times when something was read: gauges are time-weighted means "
            "over the frame, states hold from its start, unknown is null",
            (
                *INTERVAL,
                Column("last_read", TIME, None, "Last time that something was read, before its end"),
                Column(
                    "states_read", TIME, None, "Last time that a state was read before its start; null if too long ago"
                ),
                Column(
                    "changed_after",
                    TIME,
                    None,
                    "The states that change at its start did so after this; null where their source does not tell it",
                ),
                Column(
                    "electrical_way", "VARCHAR", None, f"Way to `electrical_power`: {METER_POWER} or {DEVICE_POWER}"
                ),
                Column("thermal_way", "VARCHAR", None, f"Way to `thermal_power`: these, or {FLOW}"),
                *_frame_columns(),
            ),
        ),
        Table(
            "operation",
            "What the heat pump does in each frame, by the session rule",
            (
                *INTERVAL,
                Column(
                    "unseen_s",
                    "DOUBLE",
                    "s",
                    "Time before its start in which an edge may lie: since the reading before it, or as exactly as its "
                    "source tells when states change; null after a gap",
                ),
                Column("raw_mode", "VARCHAR", None, "Mode that the machine and its valve tell, else the inferred one"),
                Column(
                    "mode_source",
                    "VARCHAR",
                    None,
                    "How `raw_mode` is known: told (the machine's word), valve (its three-way valve tells heating from "
                    "dhw), inferred (from flow rate, temperatures and power)",
                ),
                Column("mode_confidence", "DOUBLE", None, "How sure `raw_mode` is, 0.5 (a guess) to 1 (told)"),
                Column("mode", "VARCHAR", None, "Mode by the session rule: standby, heating, dhw, cooling"),
                Column("state", "VARCHAR", None, "State of the cycle: on, off, defrost; null when unknown"),
                Column("defrost", "BOOLEAN", None, "Whether it lies in a believable defrost"),
                Column(
                    "defrost_source",
                    "VARCHAR",
                    None,
                    "How it is known whether it defrosts: told, or inferred (the flow is colder than the return while "
                    "the compressor runs); null when it is not",
                ),
                Column("compressor_running", "BOOLEAN", None, "Whether the compressor runs; null when unknown"),
                Column(
                    "at_rest",
                    "BOOLEAN",
                    None,
                    "Whether neither compressor nor backup heater nor a defrost has heated for 20 min",
                ),
                Column("gap", "BOOLEAN", None, "Whether a silence longer than `session_gap` lies before it"),
                Column("session_start", "BOOLEAN", None, "Whether a session begins with it"),
                Column("cycle_start", "BOOLEAN", None, "Whether a cycle begins with it"),
                Column("defrost_start", "BOOLEAN", None, "Whether a defrost begins with it"),
                Column("compressor_start", "BOOLEAN", None, "Whether the compressor starts with it"),
                PROVISIONAL,
            ),
        ),
    )

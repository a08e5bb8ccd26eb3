"""What went wrong, and what switched the machine off."""

from __future__ import annotations

from hp_pipeline.vocabulary.tables.table import HEAT_PUMP, PROVISIONAL, TIME, Column, Table

FAULT_KINDS = {
    "fault": "the device says that something is wrong",
    "switch_off": "the control stopped the machine, for a reason that need not be a fault",
}


def fault_tables() -> tuple[Table, ...]:
    """`faults` by the UTC day of their `time`."""
    return (
        Table(
            "faults",
            "Faults and switch-offs without end: each once, however often a device's list of the last five was read "
            "and long after that has forgotten it, with what ran",
            (
                HEAT_PUMP,
                Column("source", "VARCHAR", None, "Source that told it; null when several tell faults"),
                Column("time", TIME, None, "When it happened, by the device's clock where that tells it (UTC)"),
                Column("start", TIME, None, "The same by our clock: `time` minus `clock_drift_s` (UTC)"),
                Column("clock_drift_s", "DOUBLE", "s", "How far the device's clock was ahead of ours; null if untold"),
                Column(
                    "end",
                    TIME,
                    None,
                    "When the device stopped saying it (UTC); null while it says it, when that was not seen or not "
                    "within 31 days, and for events of a list, which have no end",
                ),
                Column("kind", "VARCHAR", None, "; ".join(f"{kind}: {words}" for kind, words in FAULT_KINDS.items())),
                Column("machine", "BIGINT", None, "1, or 2 for the second machine of a pair"),
                Column("code", "VARCHAR", None, "The device's own number or word of it"),
                Column("text", "VARCHAR", None, "What it means, in plain words; the device's own where nobody knows"),
                Column(
                    "first_seen",
                    TIME,
                    None,
                    "When it was first read (UTC); null when that was not until the end of the next UTC day",
                ),
                Column("stopped", TIME, None, "Stop of the compressor that came with it (UTC); null without one"),
                Column("mode", "VARCHAR", None, "Mode by the session rule in which it happened, just before `stopped`"),
                Column("session_start", TIME, None, "Begin of that session (UTC)"),
                Column("compressor_running", "BOOLEAN", None, "Whether the compressor ran, just before `stopped`"),
                Column("compressor_since", TIME, None, "Since when it ran or rested (UTC)"),
                PROVISIONAL,
            ),
        ),
    )

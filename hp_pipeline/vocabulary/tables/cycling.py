"""How the compressor cycles: each run with the pause before it, and each day with its verdict."""

from __future__ import annotations

from hp_pipeline.vocabulary.tables.table import INTERVAL, PERIOD, PROVISIONAL, TIME, Column, Table

SHORT_CYCLING = {
    "none": "no short cycling on the day",
    "watch": "short cycling on the day",
    "alarm": "short cycling on this day and on those before it, `short_cycling_days` running",
}
"""The verdicts on a day."""


def _spread(name: str, what: str) -> tuple[Column, ...]:
    return (
        Column(f"{name}_least_s", "DOUBLE", "s", f"Shortest {what}"),
        Column(f"{name}_p10_s", "DOUBLE", "s", f"A tenth of them are not longer than this: {what}"),
        Column(f"{name}_median_s", "DOUBLE", "s", f"Median {what}"),
        Column(f"{name}_p90_s", "DOUBLE", "s", f"Nine tenths of them are not longer than this: {what}"),
    )


def cycling_tables() -> tuple[Table, ...]:
    """`compressor_runs` by the UTC day on which a run begins, `cycling_daily` by local day."""
    return (
        Table(
            "compressor_runs",
            "Stretches in which the compressor ran, whatever the mode: a change of mode is no start. The pause before "
            "a run belongs to it",
            (
                *INTERVAL,
                Column("mode", "VARCHAR", None, "Mode in which it ran the longest; null when unknown"),
                Column("run_s", "DOUBLE", "s", "How long it ran; at least so long where begin or end were not seen"),
                Column("pause_s", "DOUBLE", "s", "How long it had rested before; null when that was not seen whole"),
                Column(
                    "period_s", "DOUBLE", "s", "Time from the start before it to its start; null when not seen whole"
                ),
                Column("start_seen", "BOOLEAN", None, "Whether its start was seen: known to rest just before"),
                Column("end_seen", "BOOLEAN", None, "Whether its end was seen: known to rest just after"),
                Column("start_uncertainty_s", "DOUBLE", "s", "The start lies between `start` minus this and `start`"),
                Column("end_uncertainty_s", "DOUBLE", "s", "The end lies between `end` minus this and `end`"),
                Column("heating_s", "DOUBLE", "s", "Time of it in mode heating"),
                Column("dhw_s", "DOUBLE", "s", "Time of it in mode dhw"),
                Column("cooling_s", "DOUBLE", "s", "Time of it in mode cooling"),
                Column("defrosts", "BIGINT", None, "Defrosts that began while it ran"),
                Column(
                    "after_defrost",
                    "BOOLEAN",
                    None,
                    "Whether the pause before it was that of a defrost: a start, but no cycle of the control",
                ),
                Column(
                    "pause_too_short",
                    "BOOLEAN",
                    None,
                    "Whether the pause was shorter than `minimum_off`, even if all that was not seen of it is added; "
                    "null when the pause is unknown, or that of a defrost",
                ),
                Column("starts_60min", "BIGINT", None, "Starts within the 60 minutes up to its own, which counts too"),
                PROVISIONAL,
            ),
        ),
        Table(
            "cycling_daily",
            "How the compressor cycled on a day of the house's calendar, by the runs that began on it, and what the "
            "device's own counters say of it (an increment is of the day on which it is first shown)",
            (
                *INTERVAL,
                *PERIOD,
                Column("starts", "BIGINT", None, "Starts that were seen, of all modes"),
                Column("starts_heating", "BIGINT", None, "Of them for heating or cooling, not after a defrost"),
                Column("starts_dhw", "BIGINT", None, "Of them for hot water, not after a defrost"),
                Column("starts_after_defrost", "BIGINT", None, "Of them behind the pause of a defrost"),
                Column("running_s", "DOUBLE", "s", "Time for which the compressor is known to have run"),
                Column("known_s", "DOUBLE", "s", "Time for which it is known whether the compressor ran"),
                Column("starts_per_hour", "DOUBLE", "1/h", "Starts ÷ time for which it is known whether it ran"),
                Column("runs", "BIGINT", None, "Runs that began on the day and were seen from start to end"),
                *_spread("run", "run that was seen whole"),
                *_spread("pause", "pause that was seen whole, those of defrosts left out"),
                Column("pauses_too_short", "BIGINT", None, "Pauses shorter than `minimum_off` (not of defrosts)"),
                Column("most_starts_60min", "BIGINT", None, "Most starts for heating or cooling within 60 minutes"),
                Column("most_starts_from", TIME, None, "First start of those 60 minutes (UTC)"),
                Column("period_median_s", "DOUBLE", "s", "Median time from start to start, of `starts_heating`"),
                Column(
                    "short_cycling_day",
                    "BOOLEAN",
                    None,
                    "Whether there were `short_cycling_starts` within 60 minutes and the median period was at most "
                    "`short_cycling_period`: both, for either alone is normal for many machines",
                ),
                Column(
                    "short_cycling",
                    "VARCHAR",
                    None,
                    "; ".join(f"{word}: {meaning}" for word, meaning in SHORT_CYCLING.items()),
                ),
                Column("short_cycling_reason", "VARCHAR", None, "What it is judged from, or why it is not judged"),
                Column("device_starts", "DOUBLE", None, "Starts that the device's own counter counted on the day"),
                Column("starts_difference", "DOUBLE", None, "`starts` minus `device_starts`"),
                Column("device_running_s", "DOUBLE", "s", "Running time that the device's own counter counted"),
                Column(
                    "running_difference_s",
                    "DOUBLE",
                    "s",
                    "`running_s` minus `device_running_s`; a counter of whole hours moves a whole hour at a time",
                ),
                Column(
                    "device_reason",
                    "VARCHAR",
                    None,
                    "Why the device's counters say nothing of the day, or what they counted while nothing was read",
                ),
            ),
        ),
    )
